#include "milterclient.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sock.h"

#define ANSWER_MAX (1024 * 1024)
#define READ_SIZE 4096

struct milterclient {
	int fd;
	int64_t deadline_ms;
	size_t len;
	char answer[ANSWER_MAX];
};

enum bs_err
milterclient_open(const char *path, int timeout_ms, struct milterclient **out)
{
	struct milterclient *client = malloc(sizeof(*client));
	enum bs_err err;

	if (client == NULL)
		return BS_ERR_NOMEM;
	client->len = 0;
	client->deadline_ms = bs_now_ms() + timeout_ms;
	err = bs_sock_connect(path, client->deadline_ms, &client->fd);
	if (err != BS_OK) {
		free(client);
		return err;
	}
	*out = client;
	return BS_OK;
}

void
milterclient_close(struct milterclient *client)
{
	if (client == NULL)
		return;
	close(client->fd);
	free(client);
}

enum bs_err
milterclient_send(struct milterclient *client, const void *data, size_t len)
{
	return bs_sock_write(client->fd, data, len, client->deadline_ms);
}

/* In one write: whoever answers a line may hang up right after it. */
enum bs_err
milterclient_say(struct milterclient *client, json_t *take)
{
	char *line = take != NULL ? json_dumps(take, JSON_COMPACT) : NULL;
	size_t len = line != NULL ? strlen(line) : 0;
	enum bs_err err = BS_ERR_NOMEM;

	if (line != NULL) {
		line[len] = '\n';
		err = milterclient_send(client, line, len + 1);
	}
	free(line);
	json_decref(take);
	return err;
}

/* What a daemon said: its own object, with "ok" in it. */
json_t *
milterclient_parse(const char *text, size_t len)
{
	json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);

	if (!json_is_object(json)) {
		json_decref(json);
		return json_pack("{s:b, s:s}", "ok", 0, "error", "its answer is no JSON object");
	}
	if (json_object_get(json, "ok") == NULL)
		json_object_set_new(json, "ok", json_true());
	return json;
}

enum bs_err
milterclient_hear(struct milterclient *client, json_t **out)
{
	enum bs_err err = BS_OK;

	client->len = 0;
	while (err == BS_OK && client->len < ANSWER_MAX) {
		err = bs_sock_read(client->fd, client->answer + client->len, 1, client->deadline_ms);
		if (err == BS_OK && client->answer[client->len++] == '\n')
			break;
	}
	if (err == BS_OK)
		*out = milterclient_parse(client->answer, client->len);
	return err;
}

enum bs_err
milterclient_ask(struct milterclient *client, json_t *take, json_t **out)
{
	enum bs_err err = milterclient_say(client, take);

	return err == BS_OK ? milterclient_hear(client, out) : err;
}

json_t *
milterclient_trouble(const struct ctl *ctl, const char *name, const char *path, enum bs_err err)
{
	char text[2048];

	snprintf(text, sizeof(text),
	    "%.500s: %s; does basalt-%s run, and is its %s.control what ctl.%s_control in %.500s says?", path, bs_err_text(err), name,
	    name, name, ctl->conf_path);
	return json_string(text);
}
