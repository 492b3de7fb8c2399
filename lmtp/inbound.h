/*
 * inbound: the dialogue with one client (Postfix's lmtp), from the server's side of the protocol: RFC 2033 with
 * PIPELINING, ENHANCEDSTATUSCODES, 8BITMIME, DSN (so that the original recipient comes along), XFORWARD (for the queue id),
 * and SMTPUTF8 where the backend has it.
 *
 * Recipients are accepted as they come; what becomes of each is said behind the message, since their verdicts are in it.
 * A thread runs inbound_run() until the client goes or stop_fd becomes readable between two messages.
 *
 *     inbound_run(&site, fd);
 */
#ifndef LMTP_INBOUND_H
#define LMTP_INBOUND_H

#include "delivery.h"

struct inbound_site {
	struct delivery_site delivery;
	size_t recipients_max;
	int64_t idle_ms;  /* longest wait for a command */
	int64_t reply_ms; /* longest wait for the client to take an answer */
	int stop_fd;      /* -1: none */
};

/* What one message was to whom: proxylog.h. */
struct inbound_message {
	const struct envelope *env;
	const struct delivery_summary *summary;
	const char *queue_id; /* as the client gave it, or "" */
	bool lost;            /* the client went before its end */
	int64_t ms;
};

/* Takes fd. */
void inbound_run(const struct inbound_site *site, int fd);

#endif
