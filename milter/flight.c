#include "flight.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "jail.h"

#define SUSPECT_S ((int64_t)24 * 3600)
#define HELD_S ((int64_t)5 * 24 * 3600)
#define HELD_STRIKES 2
#define ALT_STACK ((size_t)16 * 1024)

enum { SLOT_FREE, SLOT_IDLE, SLOT_BUSY };

struct flight_slot {
	atomic_uint state;
	atomic_bool hit; /* by a signal that ends the process */
	uint8_t id[FLIGHT_ID_LEN];
};

struct entry {
	atomic_uint strikes; /* 0: free */
	int64_t last_s;
	uint8_t id[FLIGHT_ID_LEN];
};

/* The worker writes slots, and sets strikes to 0; all else is written while there is no worker. */
struct flight {
	atomic_uint listed; /* entries that may be in use: 0 spares the search */
	atomic_uint crashes;
	unsigned n_slots;
	struct entry list[FLIGHT_LIST_MAX];
	struct flight_slot aside; /* idle for ever */
	struct flight_slot slots[];
};

/* What this thread works on, for the signal handler; and a stack for it, since the thread's own may be what ran out. */
static __thread struct flight_slot *mine;
static __thread uint8_t alt_stack[ALT_STACK];

static int64_t
now_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec;
}

enum bs_err
flight_new(unsigned slots, struct flight **out)
{
	size_t size = sizeof(struct flight) + slots * sizeof(struct flight_slot);
	struct flight *flight = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (flight == MAP_FAILED)
		return BS_ERR_NOMEM;
	flight->n_slots = slots;
	*out = flight;
	return BS_OK;
}

/* --- the worker --- */

static void
on_crash(int sig)
{
	if (mine != NULL)
		atomic_store(&mine->hit, true);
	(void)raise(sig); /* the handler is gone by now: SA_RESETHAND */
}

void
flight_catch_crashes(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
	struct sigaction action = { .sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND | SA_NODEFER | SA_ONSTACK };

	if (bs_jail_sanitized())
		return; /* it has its own */
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)sigaction(signals[i], &action, NULL);
}

struct flight_slot *
flight_enter(struct flight *flight)
{
	for (unsigned i = 0; i < flight->n_slots; i++) {
		struct flight_slot *slot = &flight->slots[i];
		unsigned state = SLOT_FREE;

		if (atomic_load(&slot->state) == SLOT_FREE && atomic_compare_exchange_strong(&slot->state, &state, SLOT_IDLE))
			return slot;
	}
	return NULL;
}

void
flight_leave(struct flight_slot *slot)
{
	flight_forget(slot);
	if (slot != NULL)
		atomic_store(&slot->state, SLOT_FREE);
}

static void
use_alt_stack(void)
{
	const stack_t stack = { .ss_sp = alt_stack, .ss_size = sizeof(alt_stack) };
	static __thread bool done;

	if (!done && !bs_jail_sanitized())
		(void)sigaltstack(&stack, NULL);
	done = true;
}

void
flight_note(struct flight_slot *slot, const uint8_t id[FLIGHT_ID_LEN])
{
	if (slot == NULL)
		return;
	atomic_store(&slot->state, SLOT_IDLE);
	memcpy(slot->id, id, FLIGHT_ID_LEN);
	atomic_store(&slot->state, SLOT_BUSY);
}

void
flight_attend(struct flight_slot *slot)
{
	use_alt_stack();
	mine = slot;
}

void
flight_forget(struct flight_slot *slot)
{
	if (slot != NULL)
		atomic_store(&slot->state, SLOT_IDLE);
}

struct flight_slot *
flight_aside(struct flight *flight)
{
	return &flight->aside;
}

static bool
is_old(const struct entry *entry, unsigned strikes)
{
	return now_s() - entry->last_s > (strikes >= HELD_STRIKES ? HELD_S : SUSPECT_S);
}

static struct entry *
find(struct flight *flight, const uint8_t id[FLIGHT_ID_LEN])
{
	for (unsigned i = 0; i < atomic_load(&flight->listed); i++) {
		struct entry *entry = &flight->list[i];
		unsigned strikes = atomic_load(&entry->strikes);

		if (strikes > 0 && memcmp(entry->id, id, FLIGHT_ID_LEN) == 0 && !is_old(entry, strikes))
			return entry;
	}
	return NULL;
}

enum flight_standing
flight_standing(struct flight *flight, const uint8_t id[FLIGHT_ID_LEN])
{
	const struct entry *entry = find(flight, id);

	if (entry == NULL)
		return FLIGHT_CLEAN;
	return atomic_load(&entry->strikes) >= HELD_STRIKES ? FLIGHT_HELD : FLIGHT_SUSPECT;
}

void
flight_acquit(struct flight *flight, const uint8_t id[FLIGHT_ID_LEN])
{
	struct entry *entry = find(flight, id);
	unsigned one = 1;

	if (entry != NULL)
		(void)atomic_compare_exchange_strong(&entry->strikes, &one, 0);
}

/* --- the supervisor --- */

/* True when a is to make room rather than b: free, then suspects, then the held; the oldest of each. */
static bool
goes_first(const struct entry *a, const struct entry *b)
{
	unsigned of_a = atomic_load(&a->strikes), of_b = atomic_load(&b->strikes);

	if (of_a > 0 && is_old(a, of_a))
		of_a = 0;
	return of_a != of_b ? of_a < of_b : a->last_s < b->last_s;
}

static struct entry *
make_entry(struct flight *flight, const uint8_t id[FLIGHT_ID_LEN])
{
	unsigned n = atomic_load(&flight->listed);
	struct entry *place = &flight->list[0];

	if (n < FLIGHT_LIST_MAX) {
		place = &flight->list[n];
		atomic_store(&flight->listed, n + 1);
	} else {
		for (unsigned i = 1; i < n; i++)
			if (goes_first(&flight->list[i], place))
				place = &flight->list[i];
	}
	memcpy(place->id, id, FLIGHT_ID_LEN);
	atomic_store(&place->strikes, 0);
	return place;
}

/* True when this was the strike that holds it. */
static bool
strike(struct flight *flight, const uint8_t id[FLIGHT_ID_LEN])
{
	struct entry *entry = find(flight, id);

	if (entry == NULL)
		entry = make_entry(flight, id);
	entry->last_s = now_s();
	return atomic_fetch_add(&entry->strikes, 1) + 1 == HELD_STRIKES;
}

/* Whether the handler could tell which thread it was. */
static bool
any_hit(const struct flight *flight)
{
	if (atomic_load(&flight->aside.hit))
		return true;
	for (unsigned i = 0; i < flight->n_slots; i++)
		if (atomic_load(&flight->slots[i].hit) && atomic_load(&flight->slots[i].state) == SLOT_BUSY)
			return true;
	return false;
}

unsigned
flight_blame(struct flight *flight)
{
	bool known = any_hit(flight);
	unsigned held = 0;

	atomic_fetch_add(&flight->crashes, 1);
	for (unsigned i = 0; i < flight->n_slots; i++) {
		struct flight_slot *slot = &flight->slots[i];

		if (atomic_load(&slot->state) == SLOT_BUSY && (!known || atomic_load(&slot->hit)))
			held += strike(flight, slot->id);
		atomic_store(&slot->hit, false);
		atomic_store(&slot->state, SLOT_FREE);
	}
	atomic_store(&flight->aside.hit, false);
	return held;
}

void
flight_stats(struct flight *flight, struct flight_stats *out)
{
	*out = (struct flight_stats){ .crashes = atomic_load(&flight->crashes) };
	for (unsigned i = 0; i < atomic_load(&flight->listed); i++) {
		unsigned strikes = atomic_load(&flight->list[i].strikes);

		if (strikes == 0 || is_old(&flight->list[i], strikes))
			continue;
		if (strikes >= HELD_STRIKES)
			out->held++;
		else
			out->suspects++;
	}
}
