/*
 * buf: a growing byte buffer with a hard maximum from birth, wiped when it is freed or shrinks.
 *
 * The buffer owns its bytes; what bs_buf_data() returns is valid until the next call that appends.
 * Reading is by a cursor: bs_buf_consume() takes bytes off the front. One thread at a time.
 * Errors: BS_ERR_LIMIT past the maximum, BS_ERR_NOMEM.
 *
 *     struct bs_buf *buf = bs_buf_new(65536);
 *     err = bs_buf_append(buf, "hello", 5);
 *     bs_buf_free(buf);
 */
#ifndef BS_BUF_H
#define BS_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct bs_buf;

/* A new empty buffer that never holds more than max bytes; NULL when out of memory. */
struct bs_buf *bs_buf_new(size_t max);
/* Wipes and frees; NULL is legal. */
void bs_buf_free(struct bs_buf *buf);

enum bs_err bs_buf_append(struct bs_buf *buf, const void *data, size_t len) BS_MUST_USE;
/* Makes room for len more bytes and returns where they go; bs_buf_commit() says how many were written. */
enum bs_err bs_buf_reserve(struct bs_buf *buf, size_t len, uint8_t **out) BS_MUST_USE;
void bs_buf_commit(struct bs_buf *buf, size_t len);

const uint8_t *bs_buf_data(const struct bs_buf *buf);
size_t bs_buf_len(const struct bs_buf *buf);
/* How many bytes may still be appended. */
size_t bs_buf_room(const struct bs_buf *buf);
/* Takes len bytes (at most bs_buf_len()) off the front and wipes them. */
void bs_buf_consume(struct bs_buf *buf, size_t len);
/* Empties and wipes, keeps the memory. */
void bs_buf_reset(struct bs_buf *buf);

#endif
