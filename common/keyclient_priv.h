/*
 * keyclient_priv: how keyclient's files make a call; nobody else includes it.
 *
 * A call that gave BS_OK leaves its reply in the connection's buffer, where *rd reads it; bs_keyclient_end_call() must
 * follow: it judges whether all was read, and wipes.
 *
 *     bs_keyclient_write_name(&wr, user);
 *     err = bs_keyclient_call_written(kc, BS_OP_RECORD, &wr, &rd);
 *     record = bs_rd_str16(&rd, &len);
 *     err = bs_keyclient_end_call(kc, &rd);
 */
#ifndef BS_KEYCLIENT_PRIV_H
#define BS_KEYCLIENT_PRIV_H

#include "keyclient.h"

/* Every request but unwrap: at most two passwords, a user, a service and some numbers. */
#define REQUEST_MAX (2 * (2 + BS_PASSWORD_MAX) + 1024)

/* Sends a request and reads its reply. An error before anything was sent leaves the connection alive. */
enum bs_err bs_keyclient_call(struct bs_keyclient *kc, uint8_t op, const void *payload, size_t payload_len,
    struct bs_rd *rd) BS_MUST_USE;
/* The same with a request that was written on the caller's stack, which is wiped. BS_ERR_LIMIT: it did not fit. */
enum bs_err bs_keyclient_call_written(struct bs_keyclient *kc, uint8_t op, struct bs_wr *wr,
    struct bs_rd *rd) BS_MUST_USE;
/* A request that is a user's name alone. */
enum bs_err bs_keyclient_call_user(struct bs_keyclient *kc, uint8_t op, const char *user, struct bs_rd *rd) BS_MUST_USE;
/* A request whose reply is one str32: malloced, with a NUL behind it that *out_len does not count. user NULL: it has no fields. */
enum bs_err bs_keyclient_call_blob(struct bs_keyclient *kc, uint8_t op, const char *user, uint8_t **out, size_t *out_len) BS_MUST_USE;
/* BS_ERR_FORMAT unless all fields of the reply were there and nothing else. */
enum bs_err bs_keyclient_end_call(struct bs_keyclient *kc, const struct bs_rd *rd) BS_MUST_USE;

/* A str16 of a C string; a password longer than BS_PASSWORD_MAX fails the writer. */
void bs_keyclient_write_name(struct bs_wr *wr, const char *text);
void bs_keyclient_write_password(struct bs_wr *wr, const char *password);

#endif
