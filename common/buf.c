#include "buf.h"

#include <stdlib.h>
#include <string.h>

struct bs_buf {
	uint8_t *base;
	size_t start; /* first byte that was not consumed */
	size_t end;   /* one past the last byte */
	size_t size;  /* allocated */
	size_t max;
};

struct bs_buf *
bs_buf_new(size_t max)
{
	struct bs_buf *buf = calloc(1, sizeof(*buf));

	if (buf != NULL)
		buf->max = max;
	return buf;
}

void
bs_buf_free(struct bs_buf *buf)
{
	if (buf == NULL)
		return;
	if (buf->base != NULL)
		explicit_bzero(buf->base, buf->size);
	free(buf->base);
	free(buf);
}

/* Grows to hold need bytes beyond start, by a wiped copy: realloc would leave the old bytes behind. */
static enum bs_err
grow(struct bs_buf *buf, size_t need)
{
	size_t len = buf->end - buf->start;
	size_t size = buf->size < 256 ? 256 : buf->size;
	uint8_t *base;

	while (size < need)
		size *= 2;
	base = malloc(size);
	if (base == NULL)
		return BS_ERR_NOMEM;
	if (buf->base != NULL) {
		memcpy(base, buf->base + buf->start, len);
		explicit_bzero(buf->base, buf->size);
	}
	free(buf->base);
	buf->base = base;
	buf->size = size;
	buf->start = 0;
	buf->end = len;
	return BS_OK;
}

enum bs_err
bs_buf_reserve(struct bs_buf *buf, size_t len, uint8_t **out)
{
	size_t used = buf->end - buf->start;
	enum bs_err err;

	if (len > buf->max - used)
		return BS_ERR_LIMIT;
	if (buf->size - buf->end < len || buf->base == NULL) {
		err = grow(buf, used + len);
		if (err != BS_OK)
			return err;
	}
	*out = buf->base + buf->end;
	return BS_OK;
}

void
bs_buf_commit(struct bs_buf *buf, size_t len)
{
	if (len > buf->size - buf->end)
		abort();
	buf->end += len;
}

enum bs_err
bs_buf_append(struct bs_buf *buf, const void *data, size_t len)
{
	uint8_t *p;
	enum bs_err err = bs_buf_reserve(buf, len, &p);

	if (err != BS_OK)
		return err;
	if (len > 0)
		memcpy(p, data, len);
	buf->end += len;
	return BS_OK;
}

const uint8_t *
bs_buf_data(const struct bs_buf *buf)
{
	static const uint8_t empty[1];

	return buf->base == NULL ? empty : buf->base + buf->start;
}

size_t
bs_buf_len(const struct bs_buf *buf)
{
	return buf->end - buf->start;
}

size_t
bs_buf_room(const struct bs_buf *buf)
{
	return buf->max - (buf->end - buf->start);
}

void
bs_buf_consume(struct bs_buf *buf, size_t len)
{
	if (len > buf->end - buf->start)
		abort();
	if (len > 0)
		explicit_bzero(buf->base + buf->start, len);
	buf->start += len;
	if (buf->start == buf->end)
		buf->start = buf->end = 0;
}

void
bs_buf_reset(struct bs_buf *buf)
{
	bs_buf_consume(buf, bs_buf_len(buf));
}
