/*
 * session: a mail user's side of basalt-keyd.
 *
 * A login brings a token (userdb field basalt_pass_token); it is traded for a session on keyd's mail socket when the
 * mail user is created, and the open connection is the session until the user goes. Processes without a login (lmtp,
 * lda, doveadm) only ask for public records, and for sealed keysets where those changed (records.h).
 *
 *     if (basalt_session_start(bu, &error) != BS_OK) user->error = error;
 *     err = basalt_session_record(bu, &rec, &reason);    // to save
 *     err = basalt_session_unwrap(bu, &prefix, key);      // to read
 */
#ifndef BASALT_SESSION_H
#define BASALT_SESSION_H

#include "plugin.h"

#define BASALT_TOKEN_FIELD "basalt_pass_token=" /* with "pass" in its name Dovecot does not log it */

/* False without a session. Whether keyd has ended it is looked at ten times a second at most, without asking. */
bool basalt_session_lives(struct basalt_user *bu);
/* There is something to read on the connection: if that is its end, the client is told (bye.h). */
void basalt_session_readable(struct basalt_user *bu);
/* No token is BS_OK too: then there is no session. error_r (static or data stack) is set on failure. */
enum bs_err basalt_session_start(struct basalt_user *bu, const char **error_r) BS_MUST_USE;
/* A token by which another process can begin this session again, once; BS_ERR_CONF: keyd.conf has that off. */
enum bs_err basalt_session_resume_token(struct basalt_user *bu, uint8_t token[BS_TOKEN_LEN]) BS_MUST_USE;
/* It is not needed after all. */
void basalt_session_drop_token(struct basalt_user *bu, const uint8_t token[BS_TOKEN_LEN]);
/* Does keyd have the key, in the session's ring or shut away beside it? BS_ERR_NOKEY: no; else it can't be found out now. */
enum bs_err basalt_session_holds(struct basalt_user *bu, const uint8_t key_id[BS_ID_LEN]) BS_MUST_USE;
/* False of imap and pop3 without a session of the account: keyd tells them none. */
bool basalt_session_may_have_keyset(const struct basalt_user *bu);
/* The account's keyset as keyd has it now, all sealed, malloced; over the session, if there is one. BS_ERR_PERM: keyd is older and knows no such
 * question (records.h). */
enum bs_err basalt_session_keyset(struct basalt_user *bu, uint8_t **blob_r, size_t *len_r) BS_MUST_USE;
/* Ends the session and forgets the user's data keys. */
void basalt_session_end(struct basalt_user *bu);

/*
 * The verified public record: signed by the site key, of this account, and not older than the copy in the mail home.
 * Asked of keyd at most once a minute, of a plain account at each save. On failure reason_r says what an admin must know; nothing may be saved then.
 */
enum bs_err basalt_session_record(struct basalt_user *bu, const struct bs_record **rec_r, const char **reason_r)
    BS_MUST_USE;

/* The data key of a message. BS_ERR_PERM: this process has no session; BS_ERR_UNAVAIL: it is lost; or keyd's answer. */
enum bs_err basalt_session_unwrap(struct basalt_user *bu, const struct bs_msg_prefix *prefix, uint8_t data_key[BS_KEY_LEN])
    BS_MUST_USE;

/* The same for up to BS_UNWRAP_MAX messages in one request; a key counts where its status is BS_OK. */
enum bs_err basalt_session_unwrap_many(struct basalt_user *bu, const struct bs_msg_prefix *prefixes, size_t n,
    enum bs_err *status, uint8_t (*data_keys)[BS_KEY_LEN]) BS_MUST_USE;
/* The account's subkey for the index cache. Errors as of _unwrap. */
enum bs_err basalt_session_cache_key(struct basalt_user *bu, uint8_t key[BS_KEY_LEN]) BS_MUST_USE;

enum basalt_account { BASALT_ACCOUNT_UNKNOWN, BASALT_ACCOUNT_PLAIN, BASALT_ACCOUNT_SEALED };
/* What the account is by the newest record at hand, which may be the mail home's. Asks keyd nothing, but for the keyset of a record that a delivery
 * came with and that the mail home does not have. */
enum basalt_account basalt_session_kind(struct basalt_user *bu);

/* True when the process remembers the key of just this file. */
bool basalt_session_has_key(struct basalt_user *bu, const struct bs_msg_prefix *prefix, uint8_t data_key[BS_KEY_LEN]);

/* The key of this message will be wanted soon: it is asked for with the next one. prefix stays where it is until _unexpect. */
void basalt_session_expect(struct basalt_user *bu, const struct bs_msg_prefix *prefix);
void basalt_session_unexpect(struct basalt_user *bu, const struct bs_msg_prefix *prefix);

#endif
