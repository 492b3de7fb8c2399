#include "wire.h"

#include <string.h>

struct bs_rd
bs_rd_init(const void *data, size_t len)
{
	return (struct bs_rd){ .p = data, .left = len, .failed = false };
}

const uint8_t *
bs_rd_bytes(struct bs_rd *rd, size_t len)
{
	const uint8_t *p = rd->p;

	if (rd->failed || len > rd->left) {
		rd->failed = true;
		return NULL;
	}
	rd->p += len;
	rd->left -= len;
	return p;
}

void
bs_rd_copy(struct bs_rd *rd, void *dst, size_t len)
{
	const uint8_t *p = bs_rd_bytes(rd, len);

	if (p != NULL)
		memcpy(dst, p, len);
	else
		memset(dst, 0, len);
}

static uint64_t
rd_uint(struct bs_rd *rd, size_t len)
{
	const uint8_t *p = bs_rd_bytes(rd, len);
	uint64_t v = 0;

	for (size_t i = 0; p != NULL && i < len; i++)
		v = v << 8 | p[i];
	return v;
}

uint8_t
bs_rd_u8(struct bs_rd *rd)
{
	return (uint8_t)rd_uint(rd, 1);
}

uint16_t
bs_rd_u16(struct bs_rd *rd)
{
	return (uint16_t)rd_uint(rd, 2);
}

uint32_t
bs_rd_u24(struct bs_rd *rd)
{
	return (uint32_t)rd_uint(rd, 3);
}

uint32_t
bs_rd_u32(struct bs_rd *rd)
{
	return (uint32_t)rd_uint(rd, 4);
}

uint64_t
bs_rd_u64(struct bs_rd *rd)
{
	return rd_uint(rd, 8);
}

static const uint8_t *
rd_str(struct bs_rd *rd, size_t prefix_len, size_t *len)
{
	size_t n = (size_t)rd_uint(rd, prefix_len);
	const uint8_t *p = bs_rd_bytes(rd, n);

	*len = p == NULL ? 0 : n;
	return p;
}

const uint8_t *
bs_rd_str16(struct bs_rd *rd, size_t *len)
{
	return rd_str(rd, 2, len);
}

const uint8_t *
bs_rd_str32(struct bs_rd *rd, size_t *len)
{
	return rd_str(rd, 4, len);
}

void
bs_rd_cstr16(struct bs_rd *rd, char *dst, size_t size)
{
	size_t len;
	const uint8_t *p = bs_rd_str16(rd, &len);

	if (p == NULL || len >= size || memchr(p, 0, len) != NULL) {
		rd->failed = true;
		return;
	}
	memcpy(dst, p, len);
	dst[len] = '\0';
}

bool
bs_rd_done(const struct bs_rd *rd)
{
	return !rd->failed && rd->left == 0;
}

struct bs_wr
bs_wr_init(void *data, size_t size)
{
	return (struct bs_wr){ .base = data, .len = 0, .size = size, .failed = false };
}

void
bs_wr_bytes(struct bs_wr *wr, const void *data, size_t len)
{
	if (wr->failed || len > wr->size - wr->len) {
		wr->failed = true;
		return;
	}
	if (len > 0)
		memcpy(wr->base + wr->len, data, len);
	wr->len += len;
}

static void
wr_uint(struct bs_wr *wr, uint64_t v, size_t len)
{
	uint8_t be[8];

	if (len < 8 && v >> (8 * len) != 0) {
		wr->failed = true;
		return;
	}
	for (size_t i = 0; i < len; i++)
		be[i] = (uint8_t)(v >> (8 * (len - 1 - i)));
	bs_wr_bytes(wr, be, len);
}

void
bs_wr_u8(struct bs_wr *wr, uint8_t v)
{
	wr_uint(wr, v, 1);
}

void
bs_wr_u16(struct bs_wr *wr, uint16_t v)
{
	wr_uint(wr, v, 2);
}

void
bs_wr_u24(struct bs_wr *wr, uint32_t v)
{
	wr_uint(wr, v, 3);
}

void
bs_wr_u32(struct bs_wr *wr, uint32_t v)
{
	wr_uint(wr, v, 4);
}

void
bs_wr_u64(struct bs_wr *wr, uint64_t v)
{
	wr_uint(wr, v, 8);
}

void
bs_wr_str16(struct bs_wr *wr, const void *data, size_t len)
{
	wr_uint(wr, len, 2);
	bs_wr_bytes(wr, data, len);
}

void
bs_wr_str32(struct bs_wr *wr, const void *data, size_t len)
{
	wr_uint(wr, len, 4);
	bs_wr_bytes(wr, data, len);
}
