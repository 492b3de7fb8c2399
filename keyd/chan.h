/*
 * chan: the bytes of one non-blocking descriptor on their way in and out, in bounded buffers that are wiped as they empty.
 *
 * Owns the descriptor. Idle channels hold no buffer memory: there may be 50,000 of them. One thread at a time.
 * Errors: BS_ERR_SHORT (nothing to read now), BS_ERR_IO (closed or broken: free it), BS_ERR_LIMIT (buffer full), BS_ERR_NOMEM.
 *
 *     struct chan ch;
 *     chan_init(&ch, fd, 65536, 1 << 20);
 *     err = chan_read(&ch);                 // then look at chan_in(), chan_consume()
 *     err = chan_write(&ch, data, len);     // queues
 *     err = chan_flush(&ch);                // sends what the peer takes
 */
#ifndef KEYD_CHAN_H
#define KEYD_CHAN_H

#include "buf.h"

struct chan {
	int fd;
	struct bs_buf *in, *out; /* NULL while empty */
	size_t in_max, out_max;
};

/* Takes fd, which it makes non-blocking. */
void chan_init(struct chan *ch, int fd, size_t in_max, size_t out_max);
/* Closes and wipes. */
void chan_clear(struct chan *ch);
/* One read(2). BS_ERR_SHORT also when the input buffer is full: take something out first. */
enum bs_err chan_read(struct chan *ch) BS_MUST_USE;
/* The same, sleeping until there is something. */
enum bs_err chan_read_wait(struct chan *ch) BS_MUST_USE;
const uint8_t *chan_in(const struct chan *ch, size_t *len);
void chan_consume(struct chan *ch, size_t len);
/* Appends to what was read: bytes that another process has read. */
enum bs_err chan_unread(struct chan *ch, const void *data, size_t len) BS_MUST_USE;
/* Queues all of it or nothing. */
enum bs_err chan_write(struct chan *ch, const void *data, size_t len) BS_MUST_USE;
/* Writes until the peer takes no more; BS_OK even if something stays queued. */
enum bs_err chan_flush(struct chan *ch) BS_MUST_USE;
/* The same, sleeping until all is gone. */
enum bs_err chan_flush_wait(struct chan *ch) BS_MUST_USE;
/* The same until a deadline of sock.h: BS_ERR_TIMEOUT. */
enum bs_err chan_flush_until(struct chan *ch, int64_t deadline_ms) BS_MUST_USE;
size_t chan_queued(const struct chan *ch);
/* What is queued, chan_queued() bytes of it. */
const uint8_t *chan_out(const struct chan *ch);

#endif
