/*
 * home: what Basalt keeps in an account's mail home, folder basalt/: a copy of the signed public record and of the sealed
 * keyset (and of others, which keyd's does not hold), so that mail and keys are backed up and restored together, and so that an old database is noticed; and the
 * list of large mails that turned out damaged in the middle of being read.
 *
 * Where a record lies, keysets lie that hold its key: they are written first, by deliveries as keyset.ahead.HEX beside the copy, since without a session
 * nobody knows whether the copy may go.
 *
 * Files appear whole: temporary name, fsync, rename, fsync of the folder. All run as the mail user.
 * On failure reason_r (data stack) is for the log.
 */
#ifndef BASALT_HOME_H
#define BASALT_HOME_H

#include "plugin.h"

/*
 * rec, with its bytes, was just verified. BS_ERR_ROLLBACK when the home has a newer one; BS_ERR_ACCOUNT when it has one of other keys; BS_ERR_AUTH when the copy there is
 * not to be trusted. A newer record is written, and before that its keyset, which keyd is asked for; when that fails the mail must wait, too. Neither is
 * by imap and pop3 without a session, in another account's folder say: keyd tells them none, and the next delivery or login does it.
 */
enum bs_err basalt_home_check_record(struct basalt_user *bu, const struct bs_record *rec, const uint8_t *bytes, size_t len,
    const char **reason_r) BS_MUST_USE;
/* The copy, verified. Says nothing of keyd's, which may be newer. */
enum bs_err basalt_home_record(struct basalt_user *bu, struct bs_record *out) BS_MUST_USE;
bool basalt_home_has_record(struct basalt_user *bu);
/* There is nothing by which this account ever had keys. False also when that can't be found out. */
bool basalt_home_never_had_keys(struct basalt_user *bu);
/*
 * Written when it differs from what is there. Whatever lies there and is not known to be held by keyd's, a newer keyset that an old database
 * has overtaken say, is renamed to keyset.other.HEX first, with an alarm; such a file goes when keyd holds its keys again. So does a keyset.ahead.HEX, or it becomes an other.
 * Within a session.
 */
enum bs_err basalt_home_keep_keyset(struct basalt_user *bu, const uint8_t *blob, size_t len, const char **reason_r) BS_MUST_USE;

/* Remembers a damaged mail beyond this session; at most some thousands of them. */
void basalt_home_note_damaged(struct basalt_user *bu, const uint8_t message_id[BS_ID_LEN]);
bool basalt_home_is_damaged(struct basalt_user *bu, const uint8_t message_id[BS_ID_LEN]);

#endif
