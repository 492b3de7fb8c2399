#include "fields.h"

#include <string.h>
#include <strings.h>

void
fields_init(struct fields *f, enum bs_err (*on_field)(void *ctx, const struct field_piece *piece),
    enum bs_err (*on_end)(void *ctx, const uint8_t *blank_line, size_t len), void *ctx)
{
	f->on_field = on_field;
	f->on_end = on_end;
	f->ctx = ctx;
	f->ended = f->streaming = false;
	f->line_start = true;
	f->held = 0;
}

static enum bs_err
put_out(struct fields *f, bool last)
{
	struct field_piece piece = { .data = f->hold, .len = f->held, .first = !f->streaming, .last = last };

	if (f->held == 0 && !f->streaming)
		return BS_OK;
	f->held = 0;
	f->streaming = !last;
	return f->on_field(f->ctx, &piece);
}

static enum bs_err
end(struct fields *f, const char *blank_line)
{
	f->ended = true;
	return f->on_end(f->ctx, (const uint8_t *)blank_line, strlen(blank_line));
}

/* One byte, which is not the end of the header. */
static enum bs_err
keep(struct fields *f, uint8_t c)
{
	enum bs_err err = BS_OK;

	if (f->held == sizeof(f->hold))
		err = put_out(f, false);
	if (err == BS_OK)
		f->hold[f->held++] = c;
	f->line_start = c == '\n';
	return err;
}

static enum bs_err
feed_byte(struct fields *f, uint8_t c)
{
	enum bs_err err = BS_OK;

	/* A line of CR and LF alone. The CR is kept until it is known whether it is one. */
	if (c == '\n' && f->held == 1 && f->hold[0] == '\r' && !f->streaming) {
		f->held = 0;
		return end(f, "\r\n");
	}
	if (f->line_start && c != ' ' && c != '\t') {
		err = put_out(f, true);
		if (err == BS_OK && c == '\n')
			return end(f, "\n");
	}
	return err == BS_OK ? keep(f, c) : err;
}

enum bs_err
fields_feed(struct fields *f, const uint8_t *data, size_t len, size_t *used)
{
	size_t i = 0;
	enum bs_err err = BS_OK;

	while (i < len && !f->ended && err == BS_OK)
		err = feed_byte(f, data[i++]);
	*used = i;
	return err;
}

enum bs_err
fields_finish(struct fields *f)
{
	enum bs_err err = BS_OK;

	if (f->ended)
		return BS_OK;
	if (f->held > 0 || f->streaming)
		err = put_out(f, true);
	return err == BS_OK ? end(f, "") : err;
}

bool
field_is(const struct field_piece *piece, const char *name)
{
	size_t len = strlen(name);

	if (!piece->first || piece->len <= len || strncasecmp((const char *)piece->data, name, len) != 0)
		return false;
	while (len < piece->len && (piece->data[len] == ' ' || piece->data[len] == '\t'))
		len++;
	return len < piece->len && piece->data[len] == ':';
}

size_t
field_value_at(const struct field_piece *piece)
{
	const uint8_t *colon = memchr(piece->data, ':', piece->len);

	return colon == NULL ? piece->len : (size_t)(colon - piece->data) + 1;
}
