/*
 * keyclient: a synchronous client of basalt-keyd for the Dovecot plugin and basaltctl: one connection, a deadline a call.
 *
 * Password and key bytes pass through wiped memory. Errors are keyd's own, or BS_ERR_UNAVAIL, BS_ERR_TIMEOUT, BS_ERR_IO,
 * BS_ERR_FORMAT of the connection, which keyd may answer as well (its database hangs): bs_keyclient_is_dead() tells them
 * apart. A dead one is of no more use: free it. One thread at a time.
 *
 *     err = bs_keyclient_connect("/run/basalt/mail", 5000, &kc);
 *     err = bs_keyclient_attach(kc, token, "alice@example.org", "imap", &info);
 *     err = bs_keyclient_unwrap(kc, &prefix, 1, &status, &data_key);
 */
#ifndef BS_KEYCLIENT_H
#define BS_KEYCLIENT_H

#include "keyproto.h"

struct bs_keyclient;

struct bs_session_info {
	uint8_t account_id[BS_ID_LEN];
	bool sealed;
	uint8_t record[BS_RECORD_MAX]; /* signed; bs_record_open() it */
	size_t record_len;
};

/* path: one of keyd's sockets. timeout_ms counts for every call. */
enum bs_err bs_keyclient_connect(const char *path, int timeout_ms, struct bs_keyclient **out) BS_MUST_USE;
/* Closes; ends the session. NULL is legal. */
void bs_keyclient_free(struct bs_keyclient *kc);
int bs_keyclient_fd(const struct bs_keyclient *kc);
bool bs_keyclient_is_dead(const struct bs_keyclient *kc);
/* Of a session that keyd has ended (its descriptor can be read though nothing was asked) or that is dead: why. It is dead afterwards. */
enum bs_ended bs_keyclient_ended(struct bs_keyclient *kc);

enum bs_err bs_keyclient_attach(struct bs_keyclient *kc, const uint8_t token[BS_TOKEN_LEN], const char *user,
    const char *service, struct bs_session_info *out) BS_MUST_USE;
/* n prefixes (1 .. BS_UNWRAP_MAX); status and data_keys have n places; a key counts only where its status is BS_OK. */
enum bs_err bs_keyclient_unwrap(struct bs_keyclient *kc, const struct bs_msg_prefix *prefixes, size_t n,
    enum bs_err *status, uint8_t (*data_keys)[BS_KEY_LEN]) BS_MUST_USE;
enum bs_err bs_keyclient_subkey(struct bs_keyclient *kc, uint8_t purpose, const uint8_t mailbox_guid[16], uint64_t epoch,
    uint8_t out[BS_KEY_LEN]) BS_MUST_USE;
/* out holds BS_RECORD_MAX. */
enum bs_err bs_keyclient_record(struct bs_keyclient *kc, const char *user, uint8_t *out, size_t *out_len) BS_MUST_USE;
/* *out is malloced, the caller frees. */
enum bs_err bs_keyclient_keyset(struct bs_keyclient *kc, uint8_t **out, size_t *out_len) BS_MUST_USE;
/* The same without a session, on the socket delivery. BS_ERR_PERM: an older keyd, which closes. */
enum bs_err bs_keyclient_keyset_of(struct bs_keyclient *kc, const char *user, uint8_t **out, size_t *out_len) BS_MUST_USE;
/* A token that begins this session again, once; and what makes it good for nothing. */
enum bs_err bs_keyclient_resume_token(struct bs_keyclient *kc, uint8_t token[BS_TOKEN_LEN]) BS_MUST_USE;
enum bs_err bs_keyclient_drop_token(struct bs_keyclient *kc, const uint8_t token[BS_TOKEN_LEN]) BS_MUST_USE;
/* Is the key in the ring of the session, or a kept keyset's active one? BS_ERR_NOKEY: no. */
enum bs_err bs_keyclient_holds(struct bs_keyclient *kc, const uint8_t key_id[BS_ID_LEN]) BS_MUST_USE;
enum bs_err bs_keyclient_exists(struct bs_keyclient *kc, const char *user) BS_MUST_USE;

/* The control socket's. Passwords are at most BS_PASSWORD_MAX bytes and borrowed. */
enum bs_err bs_keyclient_login(struct bs_keyclient *kc, const char *user, const char *password, const char *service,
    uint8_t flags, uint8_t token[BS_TOKEN_LEN]) BS_MUST_USE;
/* A token by a password, recovery code or escrow key, for a session that no login begins. */
enum bs_err bs_keyclient_open(struct bs_keyclient *kc, const char *user, const char *secret, const char *service,
    uint8_t token[BS_TOKEN_LEN]) BS_MUST_USE;
enum bs_err bs_keyclient_enrol(struct bs_keyclient *kc, const char *user, const char *password, uint32_t record_flags,
    uint8_t account_id[BS_ID_LEN]) BS_MUST_USE;
enum bs_err bs_keyclient_passwd(struct bs_keyclient *kc, const char *user, const char *old_password,
    const char *new_password) BS_MUST_USE;
enum bs_err bs_keyclient_set_flags(struct bs_keyclient *kc, const char *user, const char *password,
    uint32_t record_flags) BS_MUST_USE;
enum bs_err bs_keyclient_remove(struct bs_keyclient *kc, const char *user) BS_MUST_USE;
/* A JSON object as text; *out is malloced, the caller frees. */
enum bs_err bs_keyclient_status(struct bs_keyclient *kc, char **out) BS_MUST_USE;

#endif
