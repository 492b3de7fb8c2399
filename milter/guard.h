/*
 * guard: stands between a transport and the dialogue and keeps a message that kills the process from doing it for ever.
 *
 * Each message has an identity that is the same when its sender tries again: its sender, the recipients that were
 * accepted, and its Message-ID, or without one the first 8 KiB of its header. Headers are kept back until it is known. Before
 * that, sender and recipient stand for themselves. The identity is noted (flight) before the dialogue, and so any check,
 * sees what it is made of. After a crash:
 * - a suspect is served alone, as far as other suspects go, so that only the guilty gets a second strike; one that waits too
 *   long for its turn gets 451, and who comes through is acquitted;
 * - one that is held never reaches the dialogue: it is accepted into the server's hold queue with a reason, and without
 *   any Authentication-Results, since nobody looked at which of them are forged.
 *
 * inner may answer at connect, helo, rcpt and end. Threads: as the transport's.
 *
 *     guard_init(&guard, &events, app, flight, &counters);
 *     err = transport->run(engine, &guard.events, &guard);
 */
#ifndef MILTER_GUARD_H
#define MILTER_GUARD_H

#include <semaphore.h>

#include "counters.h"
#include "flight.h"
#include "transport.h"

struct guard {
	struct transport_events events; /* for the transport; its app is the guard */
	const struct transport_events *inner;
	void *inner_app;
	struct flight *flight;
	struct counters *counters;
	sem_t turn; /* of the suspect that is served; no mutex: libmilter may go on with a session on another thread */
};

/* All but guard is borrowed for its life. */
void guard_init(struct guard *guard, const struct transport_events *inner, void *inner_app, struct flight *flight,
    struct counters *counters);

#endif
