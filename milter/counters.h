/*
 * counters: what the process has done since its start; each is only ever added to, from any thread.
 *
 *     atomic_fetch_add(&counters->messages, 1);
 */
#ifndef MILTER_COUNTERS_H
#define MILTER_COUNTERS_H

#include <stdatomic.h>

struct counters {
	atomic_ullong sessions;
	atomic_ullong sessions_open; /* now */
	atomic_ullong sessions_waited; /* found all places taken */
	atomic_ullong messages;      /* transactions that came to an end, in any way */
	atomic_ullong accepted, rejected, deferred, discarded, aborted;
	atomic_ullong held; /* not looked at: they killed the process before */
	atomic_ullong recipients_accepted, recipients_rejected, recipients_deferred;
	atomic_ullong headers_removed;
	atomic_ullong map_requests, map_found, map_not_found, map_temporary, map_malformed;
};

#endif
