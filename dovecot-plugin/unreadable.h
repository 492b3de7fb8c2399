/*
 * unreadable: the one way in which a mail that can't be read says so.
 *
 * Damaged, sealed to a key that is gone, of another account, no key in this process: MAIL_ERROR_INVALIDDATA, which imap
 * answers with a tagged NO and goes on; copying within the account, flags and expunging need no reading and still work.
 * keyd away: MAIL_ERROR_UNAVAILABLE. Each mail is logged once a session, with its file and the reason.
 */
#ifndef BASALT_UNREADABLE_H
#define BASALT_UNREADABLE_H

#include "sealed.h"

/* message_id may be NULL, when not even that could be read. Returns -1. */
int basalt_unreadable(struct mail *mail, struct basalt_user *bu, const uint8_t *message_id, const char *file, enum bs_err err);
/* The same in the middle of a stream, where Dovecot itself reports: logs, and remembers the mail for later sessions. */
void basalt_unreadable_midway(struct basalt_sealed *sm, const char *file, enum bs_err err);
/* A mail that can be read by anybody, plaintext or suite 0: if the account is sealed, the first of a session is logged. */
void basalt_in_the_clear(struct mail *mail, struct basalt_user *bu, const char *file);

#endif
