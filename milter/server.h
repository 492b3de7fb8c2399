/*
 * server: many clients of one UNIX socket on one thread: framed requests, one at a time a client, answers at once or when
 * a job of the pool is done, each with a deadline.
 *
 * The thread never waits for anything but poll(2), so a database that hangs costs each request its deadline and nobody
 * anything else. Clients are bounded: a new one takes the place of the one that has been idle longest; if all are busy it
 * is turned away. A client that sends half a request has idle_ms to send the rest.
 *
 *     static const struct server_handler handler = { .frame = ..., .begin = ..., .finish = ... };
 *     err = server_start(fd, &handler, ctx, pool, &server);
 *     server_stop(server);
 */
#ifndef MILTER_SERVER_H
#define MILTER_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "pool.h"

struct server;

/* One request under way. */
struct server_request {
	const uint8_t *data; /* the frame's payload; at begin only */
	size_t len;
	int64_t deadline_ms;
	int notify_fd;         /* to hand to pool_submit() */
	unsigned kind;         /* the handler's own note from begin to finish */
	struct pool_job *job;  /* set by begin: to wait for */
	bool hand_over;        /* set by begin: the handler's take() gets the connection, and the server forgets it */
	struct bs_buf *reply;  /* to append to */
};

struct server_handler {
	const char *name;
	size_t request_max; /* bytes of a frame, its own framing included */
	size_t reply_max;
	unsigned clients_max;
	int idle_ms;
	int request_ms; /* deadline of one request */
	/*
	 * Finds the first request in data: *start and *len of its payload, *used bytes of the whole frame. BS_ERR_SHORT: not
	 * whole yet. Anything else: the client is dropped.
	 */
	enum bs_err (*frame)(const uint8_t *data, size_t data_len, size_t *start, size_t *len, size_t *used);
	/* Writes the reply, or sets request->job. An error drops the client. */
	enum bs_err (*begin)(void *ctx, struct server_request *request);
	/* The job is done with err (BS_ERR_TIMEOUT: its deadline passed first). Releases it and writes the reply. */
	enum bs_err (*finish)(void *ctx, struct server_request *request, enum bs_err err);
	/* After begin set hand_over: fd is taken, rest is what came behind the request. May be NULL. */
	void (*take)(void *ctx, int fd, const uint8_t *rest, size_t rest_len);
};

/* listen_fd is taken. handler, ctx and pool are borrowed until server_stop(). */
enum bs_err server_start(int listen_fd, const struct server_handler *handler, void *ctx, struct pool *pool,
    struct server **out) BS_MUST_USE;
/* Drops all clients and ends the thread. NULL is legal. */
void server_stop(struct server *server);

#endif
