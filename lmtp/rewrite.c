#include "rewrite.h"

#include <stdio.h>
#include <string.h>

#include "base64.h"
#include "utf8.h"

#define WORD_BYTES 45 /* of text in one encoded-word: 60 characters of base64, and 12 around them make 72 */
#define TEXT_BYTES 202 /* the longest note, a blank and a NUL */

/* May it stand as it is? */
static bool
is_plain(const char *text)
{
	for (const char *p = text; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			return false;
	return strstr(text, "=?") == NULL;
}

void
rewrite_encode(const char *text, bool tail, char out[REWRITE_TEXT_MAX])
{
	char whole[TEXT_BYTES], word[BS_BASE64_LEN(WORD_BYTES)];
	size_t len, at = 0, n = 0;

	if (is_plain(text)) {
		(void)snprintf(out, REWRITE_TEXT_MAX, "%s", text);
		return;
	}
	(void)snprintf(whole, sizeof(whole), "%s%s", text, tail ? " " : "");
	len = strlen(whole);
	out[0] = '\0';
	while (at < len) {
		size_t take = 0, one;

		while ((one = bs_utf8_char(whole + at + take, len - at - take)) > 0 && take + one <= WORD_BYTES)
			take += one;
		if (take == 0)
			break; /* not UTF-8, which the verdict's reader has excluded */
		n += (size_t)snprintf(out + n, REWRITE_TEXT_MAX - n, "%s=?UTF-8?B?%.*s?=", at == 0 ? "" : "\r\n ",
		    (int)bs_base64_encode(whole + at, take, word), word);
		at += take;
	}
}

void
rewrite_init(struct rewrite *r, const char *label, bool in_subject, const char *note)
{
	rewrite_encode(label, false, r->label);
	rewrite_encode(label, true, r->joined);
	rewrite_encode(note, false, r->note);
	r->in_subject = in_subject;
	r->done = !in_subject || label[0] == '\0';
}

static enum bs_err
put_line(rewrite_out out, void *ctx, const char *name, const char *value)
{
	char line[REWRITE_TEXT_MAX + 64];
	int n = snprintf(line, sizeof(line), "%s: %s\r\n", name, value);

	return out(ctx, line, (size_t)n);
}

enum bs_err
rewrite_begin(struct rewrite *r, rewrite_out out, void *ctx)
{
	enum bs_err err = BS_OK;

	if (!r->in_subject && r->label[0] != '\0')
		err = put_line(out, ctx, BS_VERDICT_LABEL_FIELD, r->label);
	if (err == BS_OK && r->note[0] != '\0')
		err = put_line(out, ctx, BS_VERDICT_NOTE_FIELD, r->note);
	return err;
}

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Does the value say this label first, as a word of its own? */
static bool
begins_with(const uint8_t *value, size_t len, const char *label)
{
	size_t n = strlen(label);

	return len >= n && memcmp(value, label, n) == 0 && (len == n || is_blank(value[n]));
}

static enum bs_err
put_subject(struct rewrite *r, const struct field_piece *piece, rewrite_out out, void *ctx)
{
	size_t at = field_value_at(piece), text = at;
	const char *label = r->label;
	enum bs_err err;

	r->done = true;
	while (text < piece->len && is_blank(piece->data[text]))
		text++;
	if (begins_with(piece->data + text, piece->len - text, r->label)
	    || begins_with(piece->data + text, piece->len - text, r->joined))
		return out(ctx, piece->data, piece->len);
	/* Between two encoded-words a blank does not count (RFC 2047 6.2). */
	if (piece->len - text >= 2 && memcmp(piece->data + text, "=?", 2) == 0)
		label = r->joined;
	err = out(ctx, piece->data, at);
	if (err == BS_OK)
		err = out(ctx, " ", 1);
	if (err == BS_OK)
		err = out(ctx, label, strlen(label));
	if (err == BS_OK && at < piece->len && !is_blank(piece->data[at]))
		err = out(ctx, " ", 1);
	return err == BS_OK ? out(ctx, piece->data + at, piece->len - at) : err;
}

enum bs_err
rewrite_field(struct rewrite *r, const struct field_piece *piece, rewrite_out out, void *ctx)
{
	if (!r->done && field_is(piece, "Subject"))
		return put_subject(r, piece, out, ctx);
	return out(ctx, piece->data, piece->len);
}

enum bs_err
rewrite_end(struct rewrite *r, rewrite_out out, void *ctx)
{
	if (r->done)
		return BS_OK;
	r->done = true;
	return put_line(out, ctx, "Subject", r->label);
}
