/*
 * tally: what the process has done since its start; each number is only ever added to, from any thread.
 *
 *     tally_add(&tally->rejected);
 */
#ifndef LMTP_TALLY_H
#define LMTP_TALLY_H

#include <stdatomic.h>

struct tally {
	atomic_ullong sessions, sessions_refused;
	atomic_ullong sessions_open; /* now */
	atomic_ullong messages, messages_lost;
	atomic_ullong delivered, filed, dropped, rejected; /* recipients, by what their verdict said */
	atomic_ullong unlisted;                            /* recipients that the verdict did not name */
	atomic_ullong deferred, refused;                   /* recipients, by the backend or for want of one */
	atomic_ullong verdict_ok, verdict_absent, verdict_expired, verdict_unknown_key, verdict_bad;
};

static inline void
tally_add(atomic_ullong *number)
{
	(void)atomic_fetch_add_explicit(number, 1, memory_order_relaxed);
}

#endif
