/*
 * compress: LZO1X, the fast algorithm with the fast decoder (liblzo2). One block in, one block out, no headers.
 *
 * The compressor's working memory belongs to the caller: BS_COMPRESS_WORK_LEN bytes, for one thread at a time, with
 * nothing in it to initialise or keep. The decoder needs none and never reads or writes outside what it is given.
 *
 *     size_t len = bs_compress(work, in, in_len, out, out_size);
 *     if (len == 0) store(in, in_len); else store(out, len);
 */
#ifndef BS_COMPRESS_H
#define BS_COMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define BS_COMPRESS_WORK_LEN (16384 * sizeof(void *))
/* The most that len bytes can grow to. */
#define BS_COMPRESS_BOUND(len) ((len) + (len) / 16 + 64 + 3)

/* Readies the library; safe to call again. BS_ERR_INTERNAL: it was compiled for another machine. */
enum bs_err bs_compress_init(void) BS_MUST_USE;
/* The compressed length, or 0 when out_size is less than BS_COMPRESS_BOUND(in_len) or the library failed. */
size_t bs_compress(void *work, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_size);
/* Exactly out_len bytes come out of exactly in_len bytes, or BS_ERR_FORMAT and nothing of out may be used. */
enum bs_err bs_decompress(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len) BS_MUST_USE;

#endif
