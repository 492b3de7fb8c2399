#include "proxyctl.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "json_text.h"
#include "proxyconf.h"
#include "sock.h"
#include "stream.h"
#include "threads.h"

#define CLIENT_MS 1000
#define STACK 262144

struct proxyctl {
	int fd;
	struct tally *tally;
	int64_t started_ms;
};

static json_t *
counters_json(struct tally *t)
{
	const struct {
		const char *name;
		atomic_ullong *number;
	} rows[] = {
		{ "sessions", &t->sessions }, { "sessions_open", &t->sessions_open }, { "sessions_refused", &t->sessions_refused },
		{ "messages", &t->messages }, { "messages_lost", &t->messages_lost }, { "delivered", &t->delivered },
		{ "filed", &t->filed }, { "dropped", &t->dropped }, { "rejected", &t->rejected }, { "unlisted", &t->unlisted },
		{ "deferred", &t->deferred }, { "refused", &t->refused }, { "verdict_ok", &t->verdict_ok },
		{ "verdict_absent", &t->verdict_absent }, { "verdict_expired", &t->verdict_expired },
		{ "verdict_unknown_key", &t->verdict_unknown_key }, { "verdict_bad", &t->verdict_bad },
	};
	json_t *object = json_object();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		(void)json_object_set_new(object, rows[i].name, json_integer((json_int_t)atomic_load(rows[i].number)));
	return object;
}

static json_t *
status_json(const struct proxyctl *ctl)
{
	json_t *object = json_pack("{s:b, s:s, s:s, s:I}", "ok", 1, "program", "basalt-lmtp", "version", LMTP_VERSION, "uptime_s",
	    (json_int_t)((bs_now_ms() - ctl->started_ms) / 1000));

	(void)json_object_set_new(object, "counters", counters_json(ctl->tally));
	return object;
}

static void
answer(const struct proxyctl *ctl, struct stream *io)
{
	char line[4096], *text;
	json_t *question, *reply;
	const char *op;
	enum bs_err err;

	if (stream_line(io, line, sizeof(line), bs_now_ms() + CLIENT_MS) != BS_OK)
		return;
	question = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	op = json_string_value(json_object_get(question, "op"));
	if (op != NULL && strcmp(op, "status") == 0)
		reply = status_json(ctl);
	else
		reply = json_pack("{s:b, s:s}", "ok", 0, "error", "a JSON object with the \"op\" \"status\" is expected");
	json_decref(question);
	text = json_dumps(reply, JSON_COMPACT);
	json_decref(reply);
	if (text == NULL)
		return;
	stream_put(io, "%s\n", text);
	free(text);
	err = stream_flush(io, bs_now_ms() + CLIENT_MS);
	(void)err; /* who went does not want to know */
}

static void *
run(void *arg)
{
	struct proxyctl *ctl = arg;

	for (;;) {
		struct pollfd pfd = { .fd = ctl->fd, .events = POLLIN };
		struct stream *io = NULL;
		int fd = -1;

		if (poll(&pfd, 1, -1) <= 0 || bs_sock_accept(ctl->fd, &fd) != BS_OK || stream_new(fd, &io) != BS_OK)
			continue;
		answer(ctl, io);
		stream_free(io);
	}
	return NULL;
}

enum bs_err
proxyctl_start(int fd, struct tally *tally)
{
	struct proxyctl *ctl = calloc(1, sizeof(*ctl));

	if (ctl == NULL)
		return BS_ERR_NOMEM;
	*ctl = (struct proxyctl){ .fd = fd, .tally = tally, .started_ms = bs_now_ms() };
	if (bs_thread_start(STACK, run, ctl))
		return BS_OK;
	free(ctl);
	return BS_ERR_NOMEM;
}
