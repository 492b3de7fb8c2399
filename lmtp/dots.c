#include "dots.h"

#include <string.h>

/* What follows a byte of a line's text. */
static enum dots_state
after(enum dots_state before, uint8_t c)
{
	if (c == '\n')
		return before == DOTS_CR ? DOTS_CRLF : DOTS_LF;
	return c == '\r' ? DOTS_CR : DOTS_TEXT;
}

/* Bytes up to the next line end go through together. */
static size_t
run_of_text(const uint8_t *data, size_t len)
{
	const uint8_t *lf = memchr(data, '\n', len);
	size_t n = lf == NULL ? len : (size_t)(lf - data);

	while (n > 0 && data[n - 1] == '\r')
		n--;
	return n;
}

/* One byte where more than text is possible; returns how many were written. */
static size_t
step(struct dots *d, uint8_t c, uint8_t *out)
{
	size_t n = 0;

	switch (d->state) {
	case DOTS_CRLF:
		if (c == '.') {
			d->state = DOTS_DOT;
			return 0;
		}
		break;
	case DOTS_LF:
		if (c == '.')
			out[n++] = '.';
		break;
	case DOTS_DOT:
		if (c == '\r') {
			d->state = DOTS_DOT_CR;
			return 0;
		}
		out[n++] = '.';
		if (c == '\n')
			out[n++] = '.';
		break;
	case DOTS_DOT_CR:
		if (c == '\n') {
			d->state = DOTS_ENDED;
			return 0;
		}
		out[n++] = '.';
		out[n++] = '\r';
		d->state = DOTS_CR;
		break;
	default:
		break;
	}
	out[n++] = c;
	d->state = after(d->state, c);
	return n;
}

size_t
dots_feed(struct dots *d, const uint8_t *data, size_t len, uint8_t *out, size_t *used)
{
	size_t n = 0, i = 0;

	while (i < len && d->state != DOTS_ENDED) {
		if (d->state == DOTS_TEXT) {
			size_t run = run_of_text(data + i, len - i);

			memcpy(out + n, data + i, run);
			n += run;
			i += run;
			if (i == len)
				break;
		}
		n += step(d, data[i++], out + n);
	}
	*used = i;
	return n;
}

bool
dots_ended(const struct dots *d)
{
	return d->state == DOTS_ENDED;
}
