/*
 * unreadable: the one way in which a mail that can't be read says so, damaged or locked.
 *
 * Its content is a tagged NO, always: MAIL_ERROR_INVALIDDATA for what stays so (damaged, sealed to a key that is gone, of
 * another account, no key in this process), after which imap goes on; MAIL_ERROR_UNAVAILABLE (pop3: _TEMP) for what may be
 * better soon: keyd is away, the file can't be read now. Copying
 * within the account, flags and expunging need no reading and still work. Each mail is logged once a session, with its
 * file and the reason. What a listing shows in its place, imap only, is substitute.h.
 */
#ifndef BASALT_UNREADABLE_H
#define BASALT_UNREADABLE_H

#include "sealed.h"

/* message_id may be NULL, when not even that could be read. Returns -1. */
int basalt_unreadable(struct mail *mail, struct basalt_user *bu, const uint8_t *message_id, const char *file, enum bs_err err);
/*
 * Dovecot's own functions have just failed: true if that is because something else stands where the mail's file should (a
 * folder, a loop of links). Then the error becomes MAIL_ERROR_INVALIDDATA: for what Dovecot takes for a passing fault imap ends
 * the session when a client asks again. A file without permission or on a disk that gives errors is a passing fault: false, and the
 * client is told so.
 */
bool basalt_unreadable_file(struct mail *mail);
/* True for a mail of which that was true before in this session, the error set: no need to have Dovecot log it again. */
bool basalt_unreadable_known(struct mail *mail);
/* basalt_unreadable() in the middle of a stream, where Dovecot itself reports: logs, and remembers the mail for later sessions. */
void basalt_unreadable_midway(struct basalt_sealed *sm, const char *file, enum bs_err err);
/* What the client is told, one line; and in two words what a program may look for ("damaged", "locked", ...). */
const char *basalt_unreadable_text(const struct basalt_user *bu, enum bs_err err);
const char *basalt_unreadable_kind(const struct basalt_user *bu, enum bs_err err);
/* A mail that can be read by anybody, plaintext or suite 0: if the account is sealed, the first of a session is logged. */
void basalt_in_the_clear(struct mail *mail, struct basalt_user *bu, const char *file);

#endif
