#include "socketmap.h"

#include <stdio.h>
#include <string.h>

#include "netstring.h"

#define FRAME_MAX (SOCKETMAP_PAYLOAD_MAX + 8)
#define REPLY_MAX 65536 /* Postfix takes 100,000 */
#define CLIENTS_MAX 1000
#define IDLE_MS (10 * 60 * 1000)

static const char *const names[] = { "domains", "recipients", "aliases", "senders" };
#define N_NAMES (sizeof(names) / sizeof(names[0]))

static enum bs_err
map_frame(const uint8_t *data, size_t data_len, size_t *start, size_t *len, size_t *used)
{
	return netstring_parse(data, data_len, SOCKETMAP_PAYLOAD_MAX, start, len, used);
}

enum bs_err
socketmap_parse(const uint8_t *data, size_t len, struct socketmap_query *out)
{
	const uint8_t *space = memchr(data, ' ', len);
	size_t name_len, key_len;

	if (space == NULL || len > SOCKETMAP_PAYLOAD_MAX || memchr(data, '\0', len) != NULL)
		return BS_ERR_FORMAT;
	name_len = (size_t)(space - data);
	key_len = len - name_len - 1;
	for (size_t i = 0; i < N_NAMES; i++) {
		if (strlen(names[i]) != name_len || memcmp(names[i], data, name_len) != 0)
			continue;
		out->name = (enum socketmap_name)i;
		memcpy(out->key, space + 1, key_len);
		out->key[key_len] = '\0';
		return BS_OK;
	}
	return BS_ERR_NOENT;
}

static enum bs_err
say(struct bs_buf *reply, const char *text)
{
	return netstring_append(reply, text, strlen(text));
}

static enum bs_err
say_logins(struct bs_buf *reply, const char *logins)
{
	struct bs_buf *line = bs_buf_new(REPLY_MAX);
	enum bs_err err = line != NULL ? bs_buf_append(line, "OK ", 3) : BS_ERR_NOMEM;

	if (err == BS_OK)
		err = bs_buf_append(line, logins, strlen(logins));
	if (err == BS_OK)
		err = netstring_append(reply, bs_buf_data(line), bs_buf_len(line));
	bs_buf_free(line);
	return err;
}

static enum bs_err
say_targets(struct bs_buf *reply, const struct resolution *res)
{
	struct bs_buf *line = bs_buf_new(REPLY_MAX);
	enum bs_err err = line != NULL ? bs_buf_append(line, "OK ", 3) : BS_ERR_NOMEM;

	for (size_t i = 0; err == BS_OK && i < res->n; i++) {
		if (i > 0)
			err = bs_buf_append(line, ", ", 2);
		if (err == BS_OK)
			err = bs_buf_append(line, res->targets[i].address, strlen(res->targets[i].address));
	}
	if (err == BS_OK)
		err = netstring_append(reply, bs_buf_data(line), bs_buf_len(line));
	bs_buf_free(line);
	return err;
}

enum bs_err
socketmap_answer(enum socketmap_name name, const struct resolution *res, struct bs_buf *reply)
{
	char why[100];
	bool found = false;

	if (res->state == RESOLVE_BROKEN) {
		(void)snprintf(why, sizeof(why), "TEMP %s", res->why);
		return say(reply, why);
	}
	switch (name) {
	case SOCKETMAP_ALIASES:
		if (res->state == RESOLVE_ALIAS)
			return say_targets(reply, res);
		break;
	case SOCKETMAP_SENDERS:
		if (res->logins != NULL)
			return say_logins(reply, res->logins);
		break;
	case SOCKETMAP_DOMAINS:
		found = res->state == RESOLVE_DOMAIN;
		break;
	case SOCKETMAP_RECIPIENTS:
		found = res->state == RESOLVE_ACCOUNT || res->state == RESOLVE_DISABLED;
		break;
	}
	return say(reply, found ? "OK 1" : "NOTFOUND ");
}

/* Counts what the reply says, by its first letter behind the length. */
static void
count(struct counters *counters, const struct bs_buf *reply)
{
	const uint8_t *colon = memchr(bs_buf_data(reply), ':', bs_buf_len(reply));

	if (colon == NULL || (size_t)(colon + 1 - bs_buf_data(reply)) >= bs_buf_len(reply))
		return;
	atomic_fetch_add(colon[1] == 'O' ? &counters->map_found :
	                 colon[1] == 'N' ? &counters->map_not_found : &counters->map_temporary, 1);
}

static enum bs_err
answer(struct socketmap *map, struct server_request *request, struct resolution *res)
{
	enum bs_err err = socketmap_answer((enum socketmap_name)request->kind, res, request->reply);

	resolution_unref(res);
	count(map->counters, request->reply);
	return err;
}

static enum bs_err
say_trouble(struct socketmap *map, struct bs_buf *reply, enum bs_err err)
{
	char text[100];

	atomic_fetch_add(&map->counters->map_temporary, 1);
	(void)snprintf(text, sizeof(text), "TEMP policy store: %s", bs_err_text(err));
	return say(reply, text);
}

/* Keys that need no look-up: the catch-all forms that Postfix tries, and an address where a domain belongs. */
static bool
is_never_found(const struct socketmap_query *query)
{
	const char *at = strchr(query->key, '@');

	if (query->name == SOCKETMAP_DOMAINS)
		return at != NULL;
	return at == NULL || at == query->key;
}

static enum bs_err
map_begin(void *ctx, struct server_request *request)
{
	struct socketmap *map = ctx;
	struct socketmap_query query;
	struct resolution *res = NULL;
	enum bs_err err = socketmap_parse(request->data, request->len, &query);

	atomic_fetch_add(&map->counters->map_requests, 1);
	if (err != BS_OK) {
		atomic_fetch_add(&map->counters->map_malformed, 1);
		return say(request->reply, err == BS_ERR_NOENT ? "PERM no such map" : "PERM malformed request");
	}
	request->kind = query.name;
	if (is_never_found(&query)) {
		atomic_fetch_add(&map->counters->map_not_found, 1);
		return say(request->reply, "NOTFOUND ");
	}
	err = resolver_begin(map->resolver, query.key, request->deadline_ms, request->notify_fd, &res, &request->job);
	if (err == BS_ERR_ARG)
		return say(request->reply, "NOTFOUND ");
	if (err != BS_OK)
		return say_trouble(map, request->reply, err);
	return res != NULL ? answer(map, request, res) : BS_OK;
}

static enum bs_err
map_finish(void *ctx, struct server_request *request, enum bs_err err)
{
	struct socketmap *map = ctx;
	struct resolution *res = NULL;

	err = resolver_take(map->resolver, request->job, err, &res);
	return err == BS_OK ? answer(map, request, res) : say_trouble(map, request->reply, err);
}

static const struct server_handler handler = {
	.name = "socketmap",
	.request_max = FRAME_MAX,
	.reply_max = REPLY_MAX,
	.clients_max = CLIENTS_MAX,
	.idle_ms = IDLE_MS,
	.request_ms = SOCKETMAP_REQUEST_MS,
	.frame = map_frame,
	.begin = map_begin,
	.finish = map_finish,
};

enum bs_err
socketmap_start(int listen_fd, struct socketmap *map, struct server **out)
{
	return server_start(listen_fd, &handler, map, map->pool, out);
}
