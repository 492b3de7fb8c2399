/*
 * newpass: may this be an account's new password? The one place that decides it; basaltctl explains (ctl/ctl.c).
 *
 * Refused: below 8 characters (code points); bytes that are not UTF-8, and control characters, which not every mail client can send; the
 * account's address or its local part, what has the form of an app password or recovery code, and a few passwords that every guesser tries first (letter case aside). No system
 * call, no allocation, no copy.
 *
 *     if (!newpass_is_good(job->user, job->sec->password, job->sec->password_len))
 *         return BS_ERR_WEAK;
 */
#ifndef KEYD_NEWPASS_H
#define KEYD_NEWPASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NEWPASS_MIN 8

/* Not empty, and nothing that keyd makes up itself: app passwords, recovery codes, escrow keys. All that is asked of one that the site's
 * own passdb has judged. */
bool newpass_is_password(const uint8_t *password, size_t len);
bool newpass_is_good(const char *user, const uint8_t *password, size_t len);

#endif
