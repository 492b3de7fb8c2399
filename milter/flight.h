/*
 * flight: which messages were in work when the process that works on them died, and which must not be worked on again.
 *
 * A table in memory that the supervisor and its worker share. Each thread of the worker notes the identity of what it
 * works on; when the worker dies, the supervisor gives each of those a strike: the crashing thread's alone, where a signal
 * handler could tell which one it was, else all. Work that is no message's (a dry run) is told apart in the same way: when its
 * thread crashes, nobody gets a strike. With one strike an identity is a suspect, with two it is held. An
 * identity that was worked on without harm is acquitted. FLIGHT_LIST_MAX identities are remembered, for a day (suspects) or
 * five (held: the time that a sender tries), as long as the supervisor lives; the oldest suspect makes room first.
 *
 * flight_enter() to flight_acquit(): any thread of the worker. flight_blame(): the supervisor, while there is no worker.
 *
 *     err = flight_new(sessions_max, &flight);          // before the fork
 *     struct flight_slot *slot = flight_enter(flight);
 *     if (flight_standing(flight, id) != FLIGHT_HELD) {
 *         flight_note(slot, id);
 *         flight_attend(slot);                          // on each thread that takes part
 *         work();
 *         flight_attend(NULL);
 *         flight_forget(slot);
 *     }
 *     flight_leave(slot);
 */
#ifndef MILTER_FLIGHT_H
#define MILTER_FLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

#define FLIGHT_ID_LEN 32 /* a SHA-256 */
#define FLIGHT_LIST_MAX 256

struct flight;
struct flight_slot;

enum flight_standing { FLIGHT_CLEAN, FLIGHT_SUSPECT, FLIGHT_HELD };

struct flight_stats {
	unsigned crashes, suspects, held;
};

/* slots: threads at the same time. The mapping stays for the life of the process. */
enum bs_err flight_new(unsigned slots, struct flight **out) BS_MUST_USE;
/* In the worker, once: signals that end it mark the thread that they hit. */
void flight_catch_crashes(void);

/* NULL: all slots are taken; the functions below take that and do nothing. */
struct flight_slot *flight_enter(struct flight *flight);
void flight_leave(struct flight_slot *slot);
/* From now on id is worked on, until it is forgotten. */
void flight_note(struct flight_slot *slot, const uint8_t id[FLIGHT_ID_LEN]);
/* What this thread does from now on is that slot's work; NULL: nobody's. */
void flight_attend(struct flight_slot *slot);
void flight_forget(struct flight_slot *slot);
/* The slot to attend to for what is no message's work; threads share it, it is neither entered nor left. */
struct flight_slot *flight_aside(struct flight *flight);
enum flight_standing flight_standing(struct flight *flight, const uint8_t id[FLIGHT_ID_LEN]);
/* It was worked on and nothing happened: no suspect any more. */
void flight_acquit(struct flight *flight, const uint8_t id[FLIGHT_ID_LEN]);

/* A worker died: strikes for what was in flight. Returns how many identities are held from now on. */
unsigned flight_blame(struct flight *flight);
void flight_stats(struct flight *flight, struct flight_stats *out);

#endif
