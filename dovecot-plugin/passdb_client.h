/*
 * passdb_client: basalt-keyd's auth socket for Dovecot's auth process: asynchronous, many requests under way on one
 * connection, told apart by their ids, each with a deadline.
 *
 * The connection is made at the first request and again after it was lost. Passwords pass through wiped memory.
 * Every request gets exactly one callback, never from inside passdb_client_send(). Errors as callback status: keyd's own,
 * BS_ERR_UNAVAIL (no connection, or lost), BS_ERR_TIMEOUT, BS_ERR_BUSY (too much under way).
 *
 *     client = passdb_client_new("/run/basalt/auth");
 *     passdb_client_send(client, BS_OP_EXISTS, payload, len, 10000, answered, ctx);
 */
#ifndef BASALT_PASSDB_CLIENT_H
#define BASALT_PASSDB_CLIENT_H

#include "keyproto.h"

struct passdb_client;

/* payload is valid during the call; NULL unless status is BS_OK. */
typedef void (*passdb_client_fn)(void *ctx, enum bs_err status, const uint8_t *payload, size_t len);

struct passdb_client *passdb_client_new(const char *path);
/* Requests under way are answered with BS_ERR_UNAVAIL first. */
void passdb_client_free(struct passdb_client *client);
/* False before the first request and from the moment on in which the event loop sees that keyd is gone. */
bool passdb_client_is_connected(const struct passdb_client *client);
void passdb_client_send(struct passdb_client *client, enum bs_op op, const void *payload, size_t len,
    unsigned int timeout_ms, passdb_client_fn fn, void *ctx);

#endif
