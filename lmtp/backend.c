#include "backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sock.h"

#define LINE_SIZE 2048
#define LINES_MAX 100 /* of one reply */

enum bs_err
backend_connect(const struct backend_where *where, int64_t deadline_ms, int *fd)
{
	return bs_sock_addr_connect(&where->addr, deadline_ms, fd);
}

static void
note_capability(struct backend *b, const char *line)
{
	static const struct {
		const char *name;
		unsigned cap;
	} table[] = {
		{ "PIPELINING", BACKEND_PIPELINING },
		{ "8BITMIME", BACKEND_8BITMIME },
		{ "SMTPUTF8", BACKEND_SMTPUTF8 },
		{ "DSN", BACKEND_DSN },
		{ "XFORWARD", BACKEND_XFORWARD },
		{ "ENHANCEDSTATUSCODES", BACKEND_STATUSCODES },
	};
	size_t len = strcspn(line, " ");

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strlen(table[i].name) == len && strncasecmp(table[i].name, line, len) == 0)
			b->caps |= table[i].cap;
}

static bool
is_reply_line(const char *line)
{
	return line[0] >= '2' && line[0] <= '5' && strspn(line, "0123456789") == 3
	    && (line[3] == ' ' || line[3] == '-' || line[3] == '\0');
}

/* Calls note_capability() for the lines if wanted. */
static enum bs_err
read_reply(struct backend *b, int64_t deadline_ms, bool capabilities, struct reply *out)
{
	char line[LINE_SIZE];

	for (int i = 0; i < LINES_MAX; i++) {
		enum bs_err err = stream_line(b->io, line, sizeof(line), deadline_ms);

		if (err != BS_OK)
			return err == BS_ERR_LIMIT ? BS_ERR_FORMAT : err;
		if (!is_reply_line(line))
			return BS_ERR_FORMAT;
		if (capabilities && line[3] != '\0')
			note_capability(b, line + 4);
		if (line[3] == '-')
			continue;
		(void)snprintf(out->code, sizeof(out->code), "%.3s", line);
		(void)snprintf(out->text, sizeof(out->text), "%.*s", (int)sizeof(out->text) - 1, line[3] == '\0' ? "" : line + 4);
		for (char *p = out->text; *p != '\0'; p++)
			if ((unsigned char)*p < ' ' || *p == 0x7f)
				*p = ' ';
		return BS_OK;
	}
	return BS_ERR_FORMAT;
}

enum bs_err
backend_reply(struct backend *b, int64_t deadline_ms, struct reply *out)
{
	return read_reply(b, deadline_ms, false, out);
}

static enum bs_err
greet(struct backend *b, const char *name, int64_t deadline_ms)
{
	struct reply reply;
	enum bs_err err = backend_reply(b, deadline_ms, &reply);

	if (err == BS_OK && reply.code[0] != '2')
		err = BS_ERR_UNAVAIL;
	if (err != BS_OK)
		return err;
	stream_put(b->io, "LHLO %s\r\n", name);
	err = stream_flush(b->io, deadline_ms);
	if (err == BS_OK)
		err = read_reply(b, deadline_ms, true, &reply);
	return err == BS_OK && reply.code[0] != '2' ? BS_ERR_UNAVAIL : err;
}

enum bs_err
backend_open(const struct backend_where *where, int64_t deadline_ms, struct backend **out)
{
	int64_t soon_ms = bs_now_ms() + where->open_ms;
	struct backend *b = calloc(1, sizeof(*b));
	int fd = -1;
	enum bs_err err;

	if (soon_ms < deadline_ms)
		deadline_ms = soon_ms;
	err = b == NULL ? BS_ERR_NOMEM : where->connect(where, deadline_ms, &fd);

	if (err == BS_OK)
		err = stream_new(fd, &b->io);
	if (err == BS_OK)
		err = greet(b, where->name, deadline_ms);
	if (err != BS_OK) {
		backend_free(b, false);
		return err;
	}
	*out = b;
	return BS_OK;
}

void
backend_free(struct backend *b, bool polite)
{
	if (b == NULL)
		return;
	if (polite && b->io != NULL) {
		enum bs_err err = BS_OK;

		stream_put(b->io, "QUIT\r\n");
		stream_flush_all(&b->io, &err, 1, 0); /* what does not go at once does not matter */
	}
	stream_free(b->io);
	free(b);
}
