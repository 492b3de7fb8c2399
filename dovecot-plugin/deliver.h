/*
 * deliver: what Sieve leaves beside a sealed account's mail is kept in memory.
 *
 * Sieve's duplicate database (Message-IDs, addresses that were answered or redirected to) is ~/.dovecot.lda-dupes by
 * Dovecot's own choice; here it lies in a private folder below mail_temp_dir, which is a tmpfs. A reboot forgets it: a
 * vacation answer may be sent once more. Addresses in what Sieve logs of a delivery are left out.
 */
#ifndef BASALT_DELIVER_H
#define BASALT_DELIVER_H

#include "compat.h"

/* In lmtp and dovecot-lda, when the plugins are there: takes part in deliveries if Sieve (or the like) does. */
void basalt_deliver_hook(void);

#endif
