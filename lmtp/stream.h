/*
 * stream: one connection, read and written through buffers of fixed size; every wait has a deadline of bs_now_ms().
 *
 * One thread. Errors: BS_ERR_TIMEOUT, BS_ERR_IO (lost, or the peer closed it), BS_ERR_LIMIT (a line that is too long; it is
 * passed over), BS_ERR_NOMEM.
 *
 *     err = stream_new(fd, &s);
 *     err = stream_line(s, line, sizeof(line), bs_now_ms() + 60000);
 *     stream_put(s, "250 2.0.0 Ok\r\n");
 *     err = stream_flush(s, bs_now_ms() + 60000);
 */
#ifndef LMTP_STREAM_H
#define LMTP_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define STREAM_IN 32768
#define STREAM_OUT 65536

struct stream;

/* Takes fd. */
enum bs_err stream_new(int fd, struct stream **out) BS_MUST_USE;
/* Closes the connection; what was not flushed is lost. NULL is legal. */
void stream_free(struct stream *s);

/* Reads until there is input that nobody took, or stop_fd (-1: none) is readable: then BS_ERR_UNAVAIL. */
enum bs_err stream_wait(struct stream *s, int stop_fd, int64_t deadline_ms) BS_MUST_USE;
/* A line without its CR LF or LF, as a C string; a NUL in it becomes '?'. */
enum bs_err stream_line(struct stream *s, char *line, size_t size, int64_t deadline_ms) BS_MUST_USE;
/* The input that was read and not taken yet: *data of *len bytes; stream_take() takes from its front. */
void stream_input(const struct stream *s, const uint8_t **data, size_t *len);
void stream_take(struct stream *s, size_t len);

/* Adds to the output; a failure shows at the next flush. */
void stream_put(struct stream *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void stream_put_bytes(struct stream *s, const void *data, size_t len);
enum bs_err stream_flush(struct stream *s, int64_t deadline_ms) BS_MUST_USE;
/* Flushes several, each as it can, and waits for the slowest; errs[i] is each one's result. NULL in streams: passed over. */
void stream_flush_all(struct stream *const *streams, enum bs_err *errs, size_t n, int64_t deadline_ms);
/* How much output waits, and how much more has room. */
size_t stream_room(const struct stream *s);

#endif
