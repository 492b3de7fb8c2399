/*
 * client: one connection of a front: its bytes, its frames, its deadlines. Owned by front.c's table.
 *
 * Errors: BS_ERR_SHORT (nothing whole yet), BS_ERR_IO (gone), and those of bs_keyproto_parse(): all but SHORT end it.
 *
 *     err = client_next_frame(cl, sock->frame_max, now, &frame);
 */
#ifndef KEYD_CLIENT_H
#define KEYD_CLIENT_H

#include "chan.h"
#include "keydconf.h"

struct client {
	struct chan ch;
	uint64_t id;         /* 0: the place is free */
	uint32_t next_free;
	uint32_t epoll_mask; /* what epoll watches for now */
	unsigned requests;   /* without a reply yet */
	bool session;        /* attached: may be silent */
	bool ending;         /* send what is queued, then close */
	int64_t opened_ms;
	int64_t partial_ms;  /* since when a frame is incomplete; 0: none is */
	int64_t stalled_ms;  /* since when replies wait without progress; 0: none do */
	bool spoke;          /* sent a whole frame */
};

void client_open(struct client *cl, int fd, uint64_t id, size_t frame_max, int64_t now);
/* The next whole frame in the buffer; its bytes are frame->payload - BS_FRAME_HEADER_LEN on. Minds the deadlines. */
enum bs_err client_next_frame(struct client *cl, size_t frame_max, int64_t now, struct bs_frame *frame) BS_MUST_USE;
/* Sends what the peer takes, and minds the stall. BS_ERR_IO. */
enum bs_err client_flush(struct client *cl, int64_t now) BS_MUST_USE;
/* Nobody looked at it until now, and that is not its fault: what it has to do in time it has all that time for. */
void client_begin_anew(struct client *cl, int64_t now);
/* A word for the log when a deadline has passed; NULL: none has. */
const char *client_overdue(const struct client *cl, const struct keyd_socket *sock, int64_t now);
/* What epoll should watch for: EPOLLIN unless it has too much under way, EPOLLOUT while replies wait. */
uint32_t client_events(const struct client *cl, const struct keyd_socket *sock, bool vault_is_full);

#endif
