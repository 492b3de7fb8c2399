#include "group.h"

#include <stdio.h>
#include <string.h>

#include "sock.h"

/* So many commands go out before their answers are read: the answers fit into any socket's buffer meanwhile. */
#define PIPELINE 50

const char *
recipient_folder(const struct recipient *rcpt)
{
	if (rcpt->part == NULL)
		return "";
	if (rcpt->part->folder[0] != '\0')
		return rcpt->part->folder;
	return rcpt->part->keep_detail && bs_verdict_folder_ok(rcpt->detail) ? rcpt->detail : "";
}

void
group_init(struct group *g, const struct bs_verdict_part *part)
{
	memset(g, 0, sizeof(*g));
	g->part = *part;
	rewrite_init(&g->rewrite, part->label, part->label_subject, part->note);
}

bool
group_fits(const struct group *g, const struct bs_verdict_part *part)
{
	return strcmp(g->part.label, part->label) == 0 && strcmp(g->part.note, part->note) == 0
	    && (g->part.label_subject == part->label_subject || part->label[0] == '\0');
}

/* Of this group, and without an answer. */
static bool
is_open(const struct group *g, const struct recipient *rcpt)
{
	return rcpt->done != NULL && rcpt->group == g->index && rcpt->reply.code[0] == '\0';
}

static const char *
failure_text(enum bs_err err)
{
	switch (err) {
	case BS_ERR_UNAVAIL:
		return "4.4.1 Mailbox server is not available";
	case BS_ERR_TIMEOUT:
		return "4.4.2 Mailbox server does not answer";
	case BS_ERR_NOMEM:
		return "4.3.0 Out of memory";
	default:
		return "4.4.2 Connection with mailbox server was lost";
	}
}

/* All that have no answer are deferred; the connection is cut without the message's end, so that nothing is stored. */
static void
fail(struct group *g, struct envelope *env, enum bs_err err)
{
	g->failed = err;
	for (size_t i = 0; i < env->n_recipients; i++)
		if (is_open(g, env->recipients[i]))
			reply_set(&env->recipients[i]->reply, "451", failure_text(err));
	backend_free(g->backend, false);
	g->backend = NULL;
}

/* An answer of the backend becomes the recipient's; 421 says that the connection ends, which ours does not. */
static void
pass_on(struct recipient *rcpt, const struct reply *reply)
{
	rcpt->reply = *reply;
	if (reply->code[0] != '2' && reply->code[0] != '4' && reply->code[0] != '5')
		reply_set(&rcpt->reply, "451", "4.3.0 Mailbox server gave an answer that is none");
	else if (strcmp(reply->code, "421") == 0)
		(void)snprintf(rcpt->reply.code, sizeof(rcpt->reply.code), "451");
}

static void
put_mail(struct backend *b, const struct envelope *env)
{
	stream_put(b->io, "MAIL FROM:<%s>", env->sender);
	if ((b->caps & BACKEND_8BITMIME) != 0 && env->body_8bit)
		stream_put(b->io, " BODY=8BITMIME");
	if ((b->caps & BACKEND_SMTPUTF8) != 0 && env->smtputf8)
		stream_put(b->io, " SMTPUTF8");
	if ((b->caps & BACKEND_DSN) != 0 && env->ret[0] != '\0')
		stream_put(b->io, " RET=%s", env->ret);
	if ((b->caps & BACKEND_DSN) != 0 && env->envid[0] != '\0')
		stream_put(b->io, " ENVID=%s", env->envid);
	stream_put(b->io, "\r\n");
}

static enum bs_err
say_mail(struct backend *b, const struct envelope *env, const char *xforward, int64_t deadline_ms, struct reply *reply)
{
	bool forward = (b->caps & BACKEND_XFORWARD) != 0 && xforward[0] != '\0';
	enum bs_err err;

	if (forward)
		stream_put(b->io, "XFORWARD %s\r\n", xforward);
	if (forward && (b->caps & BACKEND_PIPELINING) == 0) {
		err = stream_flush(b->io, deadline_ms);
		if (err == BS_OK)
			err = backend_reply(b, deadline_ms, reply);
		if (err != BS_OK)
			return err;
		forward = false;
	}
	put_mail(b, env);
	err = stream_flush(b->io, deadline_ms);
	if (err == BS_OK && forward)
		err = backend_reply(b, deadline_ms, reply); /* whatever it says: the log line is ours, too */
	return err == BS_OK ? backend_reply(b, deadline_ms, reply) : err;
}

/* False: the address cannot be made, and the recipient has his answer. */
static bool
put_rcpt(struct backend *b, struct recipient *rcpt)
{
	char address[3 * PATH_MAX_LEN];

	if (envelope_address(rcpt, recipient_folder(rcpt), address, sizeof(address)) != BS_OK) {
		reply_set(&rcpt->reply, "451", "4.3.0 Address is too long with its folder");
		return false;
	}
	stream_put(b->io, "RCPT TO:<%s>", address);
	if ((b->caps & BACKEND_DSN) != 0 && rcpt->notify[0] != '\0')
		stream_put(b->io, " NOTIFY=%s", rcpt->notify);
	if ((b->caps & BACKEND_DSN) != 0 && rcpt->raw_orcpt[0] != '\0')
		stream_put(b->io, " ORCPT=%s", rcpt->raw_orcpt);
	stream_put(b->io, "\r\n");
	return true;
}

/* The answers to the recipients between from and to who were named. */
static enum bs_err
read_rcpts(struct group *g, struct envelope *env, size_t from, size_t to, int64_t deadline_ms)
{
	for (size_t i = from; i < to; i++) {
		struct recipient *rcpt = env->recipients[i];
		struct reply reply;
		enum bs_err err;

		if (!is_open(g, rcpt))
			continue;
		err = backend_reply(g->backend, deadline_ms, &reply);
		if (err != BS_OK)
			return err;
		if (reply.code[0] != '2')
			pass_on(rcpt, &reply);
	}
	return BS_OK;
}

static enum bs_err
say_rcpts(struct group *g, struct envelope *env, int64_t deadline_ms)
{
	size_t from = 0, named = 0, most = (g->backend->caps & BACKEND_PIPELINING) != 0 ? PIPELINE : 1;
	enum bs_err err = BS_OK;

	for (size_t i = 0; err == BS_OK && i < env->n_recipients; i++) {
		if (!is_open(g, env->recipients[i]) || !put_rcpt(g->backend, env->recipients[i]))
			continue;
		if (++named < most)
			continue;
		err = stream_flush(g->backend->io, deadline_ms);
		if (err == BS_OK)
			err = read_rcpts(g, env, from, i + 1, deadline_ms);
		from = i + 1;
		named = 0;
	}
	if (err == BS_OK && named > 0)
		err = stream_flush(g->backend->io, deadline_ms);
	return err == BS_OK && named > 0 ? read_rcpts(g, env, from, env->n_recipients, deadline_ms) : err;
}

static bool
anybody_waits(const struct group *g, const struct envelope *env)
{
	for (size_t i = 0; i < env->n_recipients; i++)
		if (is_open(g, env->recipients[i]))
			return true;
	return false;
}

/* A refusal that stands for all of the group: of MAIL or DATA. */
static void
refuse(struct group *g, struct envelope *env, const struct reply *reply)
{
	for (size_t i = 0; i < env->n_recipients; i++)
		if (is_open(g, env->recipients[i]))
			pass_on(env->recipients[i], reply);
}

/* BS_OK: the backend waits for the message, or everybody has an answer. */
static enum bs_err
begin(struct group *g, struct envelope *env, int64_t deadline_ms)
{
	struct reply reply;
	enum bs_err err = say_rcpts(g, env, deadline_ms);

	if (err != BS_OK || !anybody_waits(g, env))
		return err;
	stream_put(g->backend->io, "DATA\r\n");
	err = stream_flush(g->backend->io, deadline_ms);
	if (err == BS_OK)
		err = backend_reply(g->backend, deadline_ms, &reply);
	if (err == BS_OK && strcmp(reply.code, "354") != 0)
		refuse(g, env, &reply);
	return err;
}

/* A connection on which MAIL was accepted. A spare one may have been closed meanwhile: then a new one is tried. */
static enum bs_err
connect_and_say_mail(struct group *g, const struct delivery_site *site, const struct envelope *env, const char *xforward,
    int64_t deadline_ms, struct backend **spare, struct reply *reply)
{
	enum bs_err err;

	g->backend = *spare;
	*spare = NULL;
	if (g->backend != NULL) {
		err = say_mail(g->backend, env, xforward, deadline_ms, reply);
		if (err == BS_OK && strcmp(reply->code, "421") != 0)
			return BS_OK;
		backend_free(g->backend, false);
		g->backend = NULL;
	}
	err = backend_open(&site->where, deadline_ms, &g->backend);
	return err == BS_OK ? say_mail(g->backend, env, xforward, deadline_ms, reply) : err;
}

void
group_open(struct group *g, const struct delivery_site *site, struct envelope *env, size_t index, const char *xforward,
    int64_t deadline_ms, struct backend **spare)
{
	struct reply reply;
	enum bs_err err;

	g->index = index;
	err = connect_and_say_mail(g, site, env, xforward, deadline_ms, spare, &reply);
	if (err == BS_OK && reply.code[0] != '2')
		refuse(g, env, &reply);
	else if (err == BS_OK)
		err = begin(g, env, deadline_ms);
	if (err == BS_OK && anybody_waits(g, env))
		return;
	if (err != BS_OK) {
		fail(g, env, err);
		return;
	}
	g->failed = BS_ERR_NOENT; /* nobody is left here */
	backend_free(g->backend, true);
	g->backend = NULL;
}

void
groups_flush(struct group *groups, size_t n, struct envelope *env, int64_t deadline_ms)
{
	struct stream *streams[GROUPS_MAX] = { NULL };
	enum bs_err errs[GROUPS_MAX] = { BS_OK };

	for (size_t i = 0; i < n; i++)
		if (groups[i].failed == BS_OK)
			streams[i] = groups[i].backend->io;
	stream_flush_all(streams, errs, n, deadline_ms);
	for (size_t i = 0; i < n; i++)
		if (streams[i] != NULL && errs[i] != BS_OK)
			fail(&groups[i], env, errs[i]);
}

/* One answer for each that was accepted, in their order (RFC 2033 4.2). */
static enum bs_err
read_answers(struct group *g, struct envelope *env, int64_t deadline_ms)
{
	for (size_t i = 0; i < env->n_recipients; i++) {
		struct reply reply;
		enum bs_err err;

		if (!is_open(g, env->recipients[i]))
			continue;
		err = backend_reply(g->backend, deadline_ms, &reply);
		if (err != BS_OK)
			return err;
		pass_on(env->recipients[i], &reply);
	}
	return BS_OK;
}

void
groups_finish(struct group *groups, size_t n, struct envelope *env, int64_t deadline_ms, struct backend **spare)
{
	for (size_t i = 0; i < n; i++)
		if (groups[i].failed == BS_OK)
			stream_put(groups[i].backend->io, ".\r\n");
	groups_flush(groups, n, env, deadline_ms);
	for (size_t i = 0; i < n; i++) {
		struct group *g = &groups[i];
		enum bs_err err = g->failed == BS_OK ? read_answers(g, env, deadline_ms) : BS_OK;

		if (err != BS_OK)
			fail(g, env, err);
		if (g->failed != BS_OK)
			continue;
		if (*spare == NULL)
			*spare = g->backend;
		else
			backend_free(g->backend, true);
		g->backend = NULL;
	}
}

void
group_clear(struct group *g)
{
	backend_free(g->backend, false);
	g->backend = NULL;
}
