#include "inbound.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proxylog.h"
#include "sock.h"

#define LINE_SIZE 4096
#define BAD_MAX 20 /* commands in a row that are none: such a client is no mail server */

struct inbound {
	const struct inbound_site *site;
	struct stream *io;
	struct envelope env;
	struct backend *spare;
	unsigned caps; /* of the backend */
	bool greeted;
	char xforward[LINE_SIZE]; /* arguments of the last XFORWARD */
	char queue_id[64];
	unsigned bad;
	bool over;
};

static void
answer(struct inbound *in, const char *text)
{
	if (stream_room(in->io) < LINE_SIZE && stream_flush(in->io, bs_now_ms() + in->site->reply_ms) != BS_OK)
		in->over = true;
	stream_put(in->io, "%s\r\n", text);
}

static void
lhlo(struct inbound *in, const char *args)
{
	const struct backend_where *where = &in->site->delivery.where;

	if (args[0] == '\0') {
		answer(in, "501 5.5.4 LHLO needs a name");
		return;
	}
	envelope_clear(&in->env);
	/* It is asked what it can do, and used for the first message. If it is not there, that is said of each recipient later. */
	if (in->spare == NULL && backend_open(where, bs_now_ms() + where->open_ms, &in->spare) == BS_OK)
		in->caps = in->spare->caps;
	in->greeted = true;
	stream_put(in->io, "250-%s\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n", where->name);
	if ((in->caps & BACKEND_SMTPUTF8) != 0)
		stream_put(in->io, "250-SMTPUTF8\r\n");
	answer(in, "250 XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT");
}

/* "IDENT=xtext" among the arguments: the queue id. */
static void
take_queue_id(struct inbound *in, const char *args)
{
	const char *at = strstr(args, "IDENT=");
	char word[64];

	if (at == NULL || snprintf(word, sizeof(word), "%.*s", (int)strcspn(at + 6, " "), at + 6) >= (int)sizeof(word)
	    || !envelope_xtext(word, in->queue_id, sizeof(in->queue_id)))
		return;
	if (strcmp(in->queue_id, "[UNAVAILABLE]") == 0)
		in->queue_id[0] = '\0';
}

static void
xforward(struct inbound *in, const char *args)
{
	take_queue_id(in, args);
	(void)snprintf(in->xforward, sizeof(in->xforward), "%s", args);
	answer(in, "250 2.0.0 Ok");
}

static void
mail(struct inbound *in, const char *args)
{
	if (!in->greeted)
		answer(in, "503 5.5.1 LHLO first");
	else if (in->env.open)
		answer(in, "503 5.5.1 There is a sender already");
	else if (strncasecmp(args, "FROM:", 5) != 0)
		answer(in, "501 5.5.4 MAIL FROM:<address>");
	else if (envelope_mail(&in->env, args + 5 + strspn(args + 5, " ")) != BS_OK)
		answer(in, "501 5.5.4 Sender or parameter is not understood");
	else
		answer(in, "250 2.1.0 Ok");
}

static void
rcpt(struct inbound *in, const char *args)
{
	if (!in->env.open) {
		answer(in, "503 5.5.1 MAIL first");
		return;
	}
	if (strncasecmp(args, "TO:", 3) != 0) {
		answer(in, "501 5.5.4 RCPT TO:<address>");
		return;
	}
	switch (envelope_rcpt(&in->env, args + 3 + strspn(args + 3, " "), in->site->recipients_max)) {
	case BS_OK:
		answer(in, "250 2.1.5 Ok");
		break;
	case BS_ERR_LIMIT:
		answer(in, "452 4.5.3 Too many recipients");
		break;
	case BS_ERR_NOMEM:
		answer(in, "451 4.3.0 Out of memory");
		break;
	default:
		answer(in, "501 5.1.3 Recipient or parameter is not understood");
	}
}

static void
answer_recipients(struct inbound *in)
{
	for (size_t i = 0; i < in->env.n_recipients; i++) {
		const struct reply *reply = &in->env.recipients[i]->reply;
		char text[REPLY_MAX + 8];

		(void)snprintf(text, sizeof(text), "%s %s", reply->code, reply->text);
		answer(in, text);
	}
}

static void
data(struct inbound *in)
{
	struct delivery_summary summary = { .verdict = BS_ERR_SHORT };
	struct inbound_message message = { .env = &in->env, .summary = &summary, .queue_id = in->queue_id };
	int64_t began_ms = bs_now_ms();
	enum bs_err err;

	if (in->env.n_recipients == 0) {
		answer(in, in->env.open ? "554 5.5.1 No recipients" : "503 5.5.1 MAIL first");
		return;
	}
	answer(in, "354 End with a line of one dot");
	err = stream_flush(in->io, bs_now_ms() + in->site->reply_ms);
	if (err == BS_OK)
		err = delivery_run(&in->site->delivery, in->io, &in->env, in->xforward, &in->spare, &summary);
	message.lost = err != BS_OK;
	message.ms = bs_now_ms() - began_ms;
	proxylog_message(&message);
	tally_add(err == BS_OK ? &in->site->delivery.tally->messages : &in->site->delivery.tally->messages_lost);
	if (err == BS_OK)
		answer_recipients(in);
	else
		in->over = true; /* no one listens, or we cannot go on; nothing was stored */
	envelope_clear(&in->env);
	in->xforward[0] = in->queue_id[0] = '\0';
}

/* True for a command with nothing but itself, or with arguments behind a blank. */
static bool
is_command(const char *line, const char *name, const char **args)
{
	size_t len = strlen(name);

	if (strncasecmp(line, name, len) != 0 || (line[len] != '\0' && line[len] != ' '))
		return false;
	*args = line + len + strspn(line + len, " ");
	return true;
}

static void
command(struct inbound *in, const char *line)
{
	const char *args;

	in->bad++;
	if (is_command(line, "LHLO", &args))
		lhlo(in, args);
	else if (is_command(line, "XFORWARD", &args))
		xforward(in, args);
	else if (is_command(line, "MAIL", &args))
		mail(in, args);
	else if (is_command(line, "RCPT", &args))
		rcpt(in, args);
	else if (is_command(line, "DATA", &args))
		data(in);
	else if (is_command(line, "RSET", &args)) {
		envelope_clear(&in->env);
		in->xforward[0] = in->queue_id[0] = '\0';
		answer(in, "250 2.0.0 Ok");
	} else if (is_command(line, "NOOP", &args))
		answer(in, "250 2.0.0 Ok");
	else if (is_command(line, "VRFY", &args))
		answer(in, "252 2.0.0 Send it, and see");
	else if (is_command(line, "QUIT", &args)) {
		answer(in, "221 2.0.0 Bye");
		in->over = true;
	} else {
		answer(in, "500 5.5.2 Not a command of LMTP");
		if (in->bad >= BAD_MAX)
			in->over = true;
		return;
	}
	in->bad = 0;
}

/* Answers go out when the client has said all that it wanted to say (RFC 2920). */
static enum bs_err
next_line(struct inbound *in, char *line, size_t size)
{
	const uint8_t *data;
	size_t len;
	enum bs_err err = BS_OK;

	stream_input(in->io, &data, &len);
	if (memchr(data, '\n', len) == NULL)
		err = stream_flush(in->io, bs_now_ms() + in->site->reply_ms);
	/* Told to stop: not in the middle of a message. */
	if (err == BS_OK && len == 0)
		err = stream_wait(in->io, in->env.open ? -1 : in->site->stop_fd, bs_now_ms() + in->site->idle_ms);
	return err == BS_OK ? stream_line(in->io, line, size, bs_now_ms() + in->site->idle_ms) : err;
}

static void
serve(struct inbound *in)
{
	char line[LINE_SIZE];

	stream_put(in->io, "220 %s Basalt LMTP\r\n", in->site->delivery.where.name);
	while (!in->over) {
		enum bs_err err = next_line(in, line, sizeof(line));

		if (err == BS_OK)
			command(in, line);
		else if (err == BS_ERR_LIMIT)
			answer(in, "500 5.5.2 Line is too long");
		else {
			if (err == BS_ERR_UNAVAIL || err == BS_ERR_TIMEOUT)
				answer(in, err == BS_ERR_TIMEOUT ? "421 4.4.2 Waited too long" : "421 4.3.2 Stopping");
			break;
		}
	}
	if (stream_flush(in->io, bs_now_ms() + in->site->reply_ms) != BS_OK)
		in->over = true;
}

void
inbound_run(const struct inbound_site *site, int fd)
{
	struct inbound *in = calloc(1, sizeof(*in));
	struct stream *io = NULL;

	if (stream_new(fd, &io) != BS_OK || in == NULL) {
		stream_free(io);
		free(in);
		return;
	}
	in->site = site;
	in->io = io;
	serve(in);
	envelope_clear(&in->env);
	backend_free(in->spare, true);
	stream_free(io);
	free(in);
}
