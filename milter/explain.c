#include "explain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "rfc5322.h"
#include "sock.h"
#include "threads.h"

#define READ_SIZE 65536
#define CHANGES_MAX 2000
#define STACK_BYTES (512 * 1024)

/* One dry run. line comes first: the dialogue's changes come back through it. */
struct run {
	struct transport_session line;
	struct explain *explain;
	struct report_request request;
	struct dialogue dialogue; /* a copy that is dry, counts apart and tells us */
	struct counters counters;
	struct transport_events events;
	void *session;
	struct report_change *changes;
	size_t n_changes;
	char *answer; /* once the message has come to its end */
	int fd;
	int64_t deadline_ms;
	uint8_t *rest;
	size_t rest_len;
};

/* --- the line that records --- */

static const char *
record_macro(struct transport_session *line, const char *name)
{
	const struct run *run = (const struct run *)line;

	if (run->request.login[0] == '\0')
		return NULL;
	if (strcmp(name, "{auth_authen}") == 0)
		return run->request.login;
	return strcmp(name, "{auth_type}") == 0 ? "PLAIN" : NULL;
}

static enum bs_err
record(struct transport_session *line, const char *what, unsigned index, const char *name, const char *value)
{
	struct run *run = (struct run *)line;
	struct report_change *change;

	if (run->changes == NULL)
		run->changes = calloc(CHANGES_MAX, sizeof(*run->changes));
	if (run->changes == NULL || run->n_changes == CHANGES_MAX)
		return BS_ERR_NOMEM;
	change = &run->changes[run->n_changes];
	change->what = what;
	change->index = index;
	change->name = strdup(name);
	change->value = value != NULL ? strdup(value + strspn(value, " \t")) : NULL;
	run->n_changes++;
	return change->name != NULL && (value == NULL || change->value != NULL) ? BS_OK : BS_ERR_NOMEM;
}

static enum bs_err
record_insert(struct transport_session *line, int index, const char *name, const char *value)
{
	return record(line, "insert", (unsigned)index, name, value);
}

static enum bs_err
record_delete(struct transport_session *line, const char *name, unsigned index)
{
	return record(line, "delete", index, name, NULL);
}

static enum bs_err
record_change(struct transport_session *line, const char *name, unsigned index, const char *value)
{
	return record(line, "change", index, name, value);
}

static enum bs_err
record_hold(struct transport_session *line, const char *reason)
{
	return record(line, "hold", 0, "", reason);
}

static enum bs_err
record_progress(struct transport_session *line)
{
	(void)line;
	return BS_OK;
}

static const struct transport_line recorder = {
	.macro = record_macro,
	.insert_header = record_insert,
	.delete_header = record_delete,
	.change_header = record_change,
	.quarantine = record_hold,
	.progress = record_progress,
};

/* --- the message's way --- */

static void
tell(void *ctx, const struct session *session, enum report_outcome outcome, const struct verdict *verdict)
{
	struct run *run = ctx;

	free(run->answer);
	run->answer = report_explain(session, outcome, verdict, run->changes, run->n_changes);
}

static void
on_header(void *ctx, const char *name, const char *value)
{
	struct run *run = ctx;
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };

	run->events.header(run->session, name, value, &answer);
}

static void
on_body(void *ctx, const uint8_t *data, size_t len)
{
	struct run *run = ctx;
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };

	if ((run->events.want & TRANSPORT_BODY) != 0)
		run->events.body(run->session, data, len, &answer);
}

/* The envelope; true when some recipient was accepted, so that the message would be asked for. */
static bool
envelope(struct run *run)
{
	const struct report_request *request = &run->request;
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };
	char size[32], *args[] = { size, NULL };
	char address[330];
	bool accepted = false;

	run->events.connect(run->session, request->client_name[0] != '\0' ? request->client_name : "unknown",
	    request->client, &answer);
	run->events.helo(run->session, request->helo, &answer);
	(void)snprintf(address, sizeof(address), "<%s>", request->from);
	/* Most clients say it, and a mailbox may be too full for so much. */
	(void)snprintf(size, sizeof(size), "SIZE=%llu", (unsigned long long)request->size);
	run->events.mail(run->session, &run->line, address, args, &answer);
	for (size_t i = 0; i < request->n_rcpt; i++) {
		answer = (struct transport_answer){ .action = TRANSPORT_CONTINUE };
		(void)snprintf(address, sizeof(address), "<%s>", request->rcpt[i]);
		run->events.rcpt(run->session, &run->line, address, NULL, &answer);
		accepted = accepted || answer.action == TRANSPORT_CONTINUE;
	}
	return accepted;
}

/* The next bytes of the message: what came with the request, then what the socket brings. */
static enum bs_err
next_bytes(struct run *run, uint8_t *buf, size_t want)
{
	size_t n = run->rest_len < want ? run->rest_len : want;

	memcpy(buf, run->rest, n);
	memmove(run->rest, run->rest + n, run->rest_len - n);
	run->rest_len -= n;
	return n < want ? bs_sock_read(run->fd, buf + n, want - n, run->deadline_ms) : BS_OK;
}

static enum bs_err
content(struct run *run, struct rfc5322 *split, bool accepted)
{
	uint8_t *buf = malloc(READ_SIZE);
	uint64_t left = run->request.size;
	enum bs_err err = buf == NULL ? BS_ERR_NOMEM : BS_OK;

	while (left > 0 && err == BS_OK) {
		size_t n = left < READ_SIZE ? (size_t)left : READ_SIZE;

		err = next_bytes(run, buf, n);
		if (err == BS_OK && accepted)
			err = rfc5322_feed(split, buf, n);
		left -= n;
	}
	free(buf);
	return err == BS_OK && accepted ? rfc5322_end(split) : err;
}

static enum bs_err
message(struct run *run)
{
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };
	struct rfc5322 *split = rfc5322_new(&(struct rfc5322_sink){ .ctx = run, .header = on_header, .body = on_body });
	bool accepted;
	enum bs_err err;

	if (split == NULL)
		return BS_ERR_NOMEM;
	accepted = envelope(run);
	err = content(run, split, accepted);
	if (err == BS_OK && accepted)
		run->events.end(run->session, &run->line, &answer);
	else if (err == BS_OK)
		run->events.abort(run->session);
	rfc5322_free(split);
	return err;
}

static void
answer(struct run *run, enum bs_err err)
{
	char *line = err == BS_OK ? run->answer : report_error(
	    err == BS_ERR_LIMIT ? "a header field of the message is too long" :
	    err == BS_ERR_BUSY ? "too many dry runs at a time" : bs_err_text(err));

	run->answer = err == BS_OK ? NULL : run->answer;
	if (line != NULL && bs_sock_write(run->fd, line, strlen(line), run->deadline_ms) == BS_OK &&
	    bs_sock_write(run->fd, "\n", 1, run->deadline_ms) != BS_OK)
		bs_log(BS_LOG_DEBUG, "explain: nobody reads the answer");
	free(line);
}

static void
run_free(struct run *run)
{
	for (size_t i = 0; i < run->n_changes; i++) {
		free(run->changes[i].name);
		free(run->changes[i].value);
	}
	free(run->changes);
	free(run->answer);
	free(run->rest);
	(void)close(run->fd);
	free(run);
}

static void *
run_main(void *arg)
{
	struct run *run = arg;
	struct explain *explain = run->explain;
	enum bs_err err = BS_ERR_NOMEM;

	flight_attend(flight_aside(explain->flight));
	run->session = run->events.open(&run->dialogue);
	if (run->session != NULL) {
		err = message(run);
		run->events.close(run->session);
	}
	answer(run, err);
	run_free(run);
	atomic_fetch_sub(&explain->running, 1);
	return NULL;
}

static struct run *
run_new(struct explain *explain, const struct report_request *request, int fd, const uint8_t *rest, size_t rest_len)
{
	struct run *run = calloc(1, sizeof(*run));

	if (run == NULL)
		return NULL;
	run->rest = malloc(rest_len + 1);
	if (run->rest == NULL) {
		free(run);
		return NULL;
	}
	if (rest_len > 0)
		memcpy(run->rest, rest, rest_len);
	run->rest_len = rest_len;
	run->line.does = &recorder;
	run->explain = explain;
	run->request = *request;
	run->dialogue = *explain->dialogue;
	run->dialogue.counters = &run->counters;
	run->dialogue.tell = tell;
	run->dialogue.tell_ctx = run;
	run->dialogue.dry = true;
	run->dialogue.at_s = request->at_s;
	dialogue_events(&run->events);
	run->fd = fd;
	run->deadline_ms = bs_now_ms() + EXPLAIN_MS;
	return run;
}

void
explain_begin(struct explain *explain, const struct report_request *request, int fd, const uint8_t *rest, size_t rest_len)
{
	struct run *run = run_new(explain, request, fd, rest, rest_len);
	bool room = atomic_fetch_add(&explain->running, 1) < EXPLAIN_MAX;

	if (run == NULL) {
		(void)close(fd);
	} else if (!room || !bs_thread_start(STACK_BYTES, run_main, run)) {
		/* On the control socket's thread, which never waits: this fits into the socket's buffer, or is lost. */
		run->deadline_ms = bs_now_ms();
		answer(run, BS_ERR_BUSY);
		run_free(run);
	} else {
		return;
	}
	atomic_fetch_sub(&explain->running, 1);
}
