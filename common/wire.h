/*
 * wire: numbers and byte strings of formats and protocols, big-endian, field by field.
 *
 * The reader and the writer borrow memory that the caller owns and never step outside it. Both are sticky:
 * after the first failure every later call does nothing, so a parser reads all its fields and asks once.
 * No allocation, no locale, any thread.
 *
 *     struct bs_rd rd = bs_rd_init(data, data_len);
 *     uint16_t kind = bs_rd_u16(&rd);
 *     const uint8_t *id = bs_rd_bytes(&rd, 16);
 *     if (!bs_rd_done(&rd)) return BS_ERR_FORMAT;    // something was missing, or bytes were left over
 */
#ifndef BS_WIRE_H
#define BS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bs_rd {
	const uint8_t *p;
	size_t left;
	bool failed;
};

struct bs_rd bs_rd_init(const void *data, size_t len);
uint8_t bs_rd_u8(struct bs_rd *rd);
uint16_t bs_rd_u16(struct bs_rd *rd);
uint32_t bs_rd_u24(struct bs_rd *rd);
uint32_t bs_rd_u32(struct bs_rd *rd);
uint64_t bs_rd_u64(struct bs_rd *rd);
/* The next len bytes, inside the input; NULL when there are not so many. */
const uint8_t *bs_rd_bytes(struct bs_rd *rd, size_t len);
/* Copies the next len bytes; when there are not so many, zeroes dst. */
void bs_rd_copy(struct bs_rd *rd, void *dst, size_t len);
/* A u16 length and so many bytes. On failure NULL and *len = 0. */
const uint8_t *bs_rd_str16(struct bs_rd *rd, size_t *len);
/* A u32 length and so many bytes. On failure NULL and *len = 0. */
const uint8_t *bs_rd_str32(struct bs_rd *rd, size_t *len);
/* Copies a u16 string into dst as a C string; fails on a NUL inside or when size is too small. */
void bs_rd_cstr16(struct bs_rd *rd, char *dst, size_t size);
/* True when nothing failed and nothing is left. */
bool bs_rd_done(const struct bs_rd *rd);

struct bs_wr {
	uint8_t *base;
	size_t len; /* bytes written */
	size_t size;
	bool failed;
};

struct bs_wr bs_wr_init(void *data, size_t size);
void bs_wr_u8(struct bs_wr *wr, uint8_t v);
void bs_wr_u16(struct bs_wr *wr, uint16_t v);
void bs_wr_u24(struct bs_wr *wr, uint32_t v);
void bs_wr_u32(struct bs_wr *wr, uint32_t v);
void bs_wr_u64(struct bs_wr *wr, uint64_t v);
void bs_wr_bytes(struct bs_wr *wr, const void *data, size_t len);
/* Fails when len does not fit its length field. */
void bs_wr_str16(struct bs_wr *wr, const void *data, size_t len);
void bs_wr_str32(struct bs_wr *wr, const void *data, size_t len);

#endif
