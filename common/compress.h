/*
 * compress: the two ways to make a chunk of mail smaller. One block in, one block out, of one thread.
 *
 * LZO1X (liblzo2, compress.c): the quickest for a few hundred bytes; no headers. The compressor's working memory belongs to
 * the caller: BS_COMPRESS_WORK_LEN bytes, for one thread at a time, with nothing in it to initialise or keep.
 * Zstandard (libzstd, compress_zstd.c; RFC 8878): a third smaller than LZO1X on text, and quicker to open. Its contexts cost
 * more than a small block does, so they are an object that serves many; it holds pieces of what it did last.
 * No decoder ever reads or writes outside what it is given.
 *
 *     size_t len = bs_compress(work, in, in_len, out, out_size);
 *     if (len == 0) store(in, in_len); else store(out, len);
 *
 *     struct bs_zstd *zstd = bs_zstd_new();
 *     len = bs_zstd_compress(zstd, in, in_len, out, out_size);
 *     err = bs_zstd_decompress(zstd, out, len, in, in_len);
 */
#ifndef BS_COMPRESS_H
#define BS_COMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define BS_COMPRESS_WORK_LEN (16384 * sizeof(void *))
/* The most that len bytes can grow to, by either. */
#define BS_COMPRESS_BOUND(len) ((len) + (len) / 16 + 64 + 3)

/* Readies the library; safe to call again. BS_ERR_INTERNAL: it was compiled for another machine. */
enum bs_err bs_compress_init(void) BS_MUST_USE;
/* The compressed length, or 0 when out_size is less than BS_COMPRESS_BOUND(in_len) or the library failed. */
size_t bs_compress(void *work, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_size);
/* Exactly out_len bytes come out of exactly in_len bytes, or BS_ERR_FORMAT and nothing of out may be used. */
enum bs_err bs_decompress(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len) BS_MUST_USE;

struct bs_zstd;

/* Memory (some 500 KB) is taken when it is needed. NULL: there is none. */
struct bs_zstd *bs_zstd_new(void);
void bs_zstd_free(struct bs_zstd *zstd);
/* One frame, which states its content's size. 0: it does not fit, there is no memory, or in is of the kind in which no
 * byte is frequent (base64 of a compressed file), which a look at some of it tells at little cost. */
size_t bs_zstd_compress(struct bs_zstd *zstd, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_size);
/* in is one frame, without a dictionary, that says it holds out_len bytes, and does: or BS_ERR_FORMAT, and nothing of out
 * may be used. BS_ERR_NOMEM. */
enum bs_err bs_zstd_decompress(struct bs_zstd *zstd, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len) BS_MUST_USE;

#endif
