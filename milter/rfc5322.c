#include "rfc5322.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"

#define BODY_CHUNK 65536

struct rfc5322 {
	struct rfc5322_sink sink;
	struct bs_buf *line;  /* of the header, up to now */
	struct bs_buf *field; /* the field that may go on in the next line */
	struct bs_buf *body;  /* collected with CRLF */
	bool in_body;
	bool cr; /* the last byte was a CR */
};

struct rfc5322 *
rfc5322_new(const struct rfc5322_sink *sink)
{
	struct rfc5322 *split = calloc(1, sizeof(*split));

	if (split == NULL)
		return NULL;
	split->sink = *sink;
	split->line = bs_buf_new(RFC5322_FIELD_MAX);
	split->field = bs_buf_new(RFC5322_FIELD_MAX);
	split->body = bs_buf_new(BODY_CHUNK + 2);
	if (split->line != NULL && split->field != NULL && split->body != NULL)
		return split;
	rfc5322_free(split);
	return NULL;
}

void
rfc5322_free(struct rfc5322 *split)
{
	if (split == NULL)
		return;
	bs_buf_free(split->line);
	bs_buf_free(split->field);
	bs_buf_free(split->body);
	free(split);
}

/* Does this line begin a field: a name, perhaps blanks, a colon (RFC 5322 sections 2.2 and 4.5)? */
static bool
is_field(const uint8_t *line, size_t len)
{
	size_t n = 0;

	while (n < len && line[n] > 0x20 && line[n] < 0x7f && line[n] != ':')
		n++;
	if (n == 0)
		return false;
	while (n < len && (line[n] == ' ' || line[n] == '\t'))
		n++;
	return n < len && line[n] == ':';
}

static enum bs_err
end_field(struct rfc5322 *split)
{
	size_t len = bs_buf_len(split->field), n;
	char *text;

	if (len == 0)
		return BS_OK;
	text = malloc(len + 1);
	if (text == NULL)
		return BS_ERR_NOMEM;
	memcpy(text, bs_buf_data(split->field), len);
	text[len] = '\0';
	n = strcspn(text, ":");
	text[n] = '\0';
	split->sink.header(split->sink.ctx, text, text + n + 1);
	free(text);
	bs_buf_reset(split->field);
	return BS_OK;
}

static void
flush_body(struct rfc5322 *split)
{
	if (bs_buf_len(split->body) > 0)
		split->sink.body(split->sink.ctx, bs_buf_data(split->body), bs_buf_len(split->body));
	bs_buf_reset(split->body);
}

static enum bs_err
body_bytes(struct rfc5322 *split, const uint8_t *data, size_t len)
{
	enum bs_err err = BS_OK;

	for (size_t i = 0; i < len && err == BS_OK; i++) {
		if (data[i] == '\n' && !split->cr)
			err = bs_buf_append(split->body, "\r", 1);
		if (err == BS_OK)
			err = bs_buf_append(split->body, &data[i], 1);
		split->cr = data[i] == '\r';
		if (bs_buf_len(split->body) >= BODY_CHUNK)
			flush_body(split);
	}
	return err;
}

/* The line is whole. */
static enum bs_err
end_line(struct rfc5322 *split)
{
	const uint8_t *line = bs_buf_data(split->line);
	size_t len = bs_buf_len(split->line);
	enum bs_err err;

	if (len > 0 && line[len - 1] == '\r')
		len--;
	if (len > 0 && (line[0] == ' ' || line[0] == '\t') && bs_buf_len(split->field) > 0) {
		err = bs_buf_append(split->field, "\n", 1);
		return err == BS_OK ? bs_buf_append(split->field, line, len) : err;
	}
	err = end_field(split);
	if (err != BS_OK)
		return err;
	if (is_field(line, len))
		return bs_buf_append(split->field, line, len);
	split->in_body = true;
	if (len == 0)
		return BS_OK;
	err = body_bytes(split, line, len);
	return err == BS_OK ? body_bytes(split, (const uint8_t *)"\n", 1) : err;
}

/* Up to the next line end; *used of data. */
static enum bs_err
header_bytes(struct rfc5322 *split, const uint8_t *data, size_t len, size_t *used)
{
	const uint8_t *lf = memchr(data, '\n', len);
	size_t n = lf != NULL ? (size_t)(lf - data) : len;
	enum bs_err err = bs_buf_append(split->line, data, n);

	*used = lf != NULL ? n + 1 : n;
	if (err != BS_OK || lf == NULL)
		return err;
	err = end_line(split);
	bs_buf_reset(split->line);
	return err;
}

enum bs_err
rfc5322_feed(struct rfc5322 *split, const uint8_t *data, size_t len)
{
	enum bs_err err = BS_OK;

	while (len > 0 && err == BS_OK) {
		size_t used = len;

		err = split->in_body ? body_bytes(split, data, len) : header_bytes(split, data, len, &used);
		data += used;
		len -= used;
	}
	return err;
}

enum bs_err
rfc5322_end(struct rfc5322 *split)
{
	enum bs_err err = BS_OK;

	if (!split->in_body) {
		if (bs_buf_len(split->line) > 0)
			err = end_line(split);
		if (err == BS_OK)
			err = end_field(split);
	}
	flush_body(split);
	return err;
}

const char *
rfc5322_skip_comment(const char *p)
{
	unsigned depth = 0;

	for (; *p != '\0'; p++) {
		if (*p == '\\' && p[1] != '\0')
			p++;
		else if (*p == '(')
			depth++;
		else if (*p == ')' && --depth == 0)
			return p + 1;
	}
	return NULL;
}
