/*
 * backend: one connection to the LMTP server that has the mailboxes, from the client's side of the protocol (RFC 2033).
 *
 * One thread. A connection that failed in any way is fit for nothing but backend_free(). Errors: BS_ERR_UNAVAIL (nobody
 * listens, or it refuses us), BS_ERR_TIMEOUT, BS_ERR_IO (lost), BS_ERR_FORMAT (what it says is no LMTP), BS_ERR_NOMEM.
 *
 *     err = backend_open(&where, deadline_ms, &b);
 *     stream_put(b->io, "MAIL FROM:<%s>\r\n", sender);
 *     err = stream_flush(b->io, deadline_ms);
 *     err = backend_reply(b, deadline_ms, &reply);
 */
#ifndef LMTP_BACKEND_H
#define LMTP_BACKEND_H

#include "envelope.h"
#include "sock_addr.h"
#include "stream.h"

enum {
	BACKEND_PIPELINING = 1,
	BACKEND_8BITMIME = 2,
	BACKEND_SMTPUTF8 = 4,
	BACKEND_DSN = 8,
	BACKEND_XFORWARD = 16,
	BACKEND_STATUSCODES = 32,
};

struct backend_where {
	/* How a connection is made: bs_sock_addr_connect() with addr, or a test's own. */
	enum bs_err (*connect)(const struct backend_where *where, int64_t deadline_ms, int *fd);
	struct bs_sock_addr addr;
	const char *name; /* what we say at LHLO */
	int64_t open_ms;  /* connect, greeting and LHLO together */
};

struct backend {
	struct stream *io;
	unsigned caps;
};

enum bs_err backend_connect(const struct backend_where *where, int64_t deadline_ms, int *fd) BS_MUST_USE;
/* Until where->open_ms are over, or deadline_ms. */
enum bs_err backend_open(const struct backend_where *where, int64_t deadline_ms, struct backend **out) BS_MUST_USE;
/* Says QUIT without waiting for its answer if polite. NULL is legal. */
void backend_free(struct backend *b, bool polite);
/* One reply; of several lines the last. Control characters become blanks. */
enum bs_err backend_reply(struct backend *b, int64_t deadline_ms, struct reply *out) BS_MUST_USE;

#endif
