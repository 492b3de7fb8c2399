/*
 * ring: the accounts whose keys are open now. Secrets lie in the arena, one cell for the account master key and what
 * recognises a warm login, one for each X25519 key; everything else is public.
 *
 * A ring is held by sessions and by tokens (ring_hold, ring_release). Held by nobody it lingers, each as long as it is told
 * (rings_set_linger), then is wiped; when the arena is full the one that has lingered longest goes first. One thread.
 * Errors: BS_ERR_BUSY (all cells are in use), BS_ERR_NOMEM.
 *
 *     err = rings_open(rings, &ks, amk, keys, key_count, now, &ring);
 *     ring_hold(rings, ring, &ring->sessions);  ...  ring_release(rings, ring, &ring->sessions, now);
 *     rings_expire(rings, now);
 */
#ifndef KEYD_RING_H
#define KEYD_RING_H

#include <stdint.h>
#include <sys/queue.h>

#include "arena.h"
#include "due.h"
#include "keyset.h"

struct conn;
LIST_HEAD(conn_list, conn);

/* One cell of the arena. */
struct ring_cell {
	struct ring_cell *next;
	union {
		struct {
			uint8_t amk[BS_KEY_LEN];
			uint8_t warm_hash[BS_HASH_LEN]; /* HMAC(boot key, account id, slot id, password) */
		} root;
		struct bs_ring_key key;
	} u;
};

struct ring {
	struct ring *hash_next;
	TAILQ_ENTRY(ring) idle; /* while held by nobody */
	char name[BS_ACCOUNT_NAME_MAX + 1];
	uint8_t account_id[BS_ID_LEN];
	uint64_t generation;
	uint32_t flags; /* BS_RECORD_FLAG_* */
	uint8_t record[BS_RECORD_MAX];
	size_t record_len;
	uint8_t warm_slot[BS_ID_LEN]; /* of which slot the warm hash speaks */
	bool warm;
	uint64_t pruned; /* the generation whose forerunners are gone from the database */
	struct ring_cell *cells; /* the root cell, then the keys */
	unsigned sessions, tokens;
	struct conn_list conns; /* conn.c's: the sessions */
	int64_t opened_ms, used_ms, idle_since_ms;
	int64_t linger_ms;
	int64_t due_ms; /* due.h's: while held by nobody */
	size_t due_at;
	int64_t allowance, allowance_ms; /* of data keys: ring_allow() */
	uint64_t unwraps;
};

struct rings;

/* expected: about how many accounts. arena's cells are struct ring_cell. linger_ms: of a ring that is told nothing else; may be 0. */
struct rings *rings_new(struct arena *arena, size_t expected, int64_t linger_ms);
/* Wipes all. NULL is legal. */
void rings_free(struct rings *rings);
/* NULL when the account's keys are not open. */
struct ring *rings_find(struct rings *rings, const char *name);
/* Opens an account's keys, or takes those of a newer generation into an open ring. A ring of another account id under
 * the same name must have been closed before. */
enum bs_err rings_open(struct rings *rings, const struct bs_keyset *ks, const uint8_t amk[BS_KEY_LEN],
    const struct bs_ring_key *keys, size_t key_count, int64_t now, struct ring **out) BS_MUST_USE;
/* Wipes and frees, whoever holds it: the caller has ended the sessions and dropped the tokens. */
void rings_close(struct rings *rings, struct ring *ring);
/* Wipes what lingered long enough. */
void rings_expire(struct rings *rings, int64_t now);
size_t rings_count(const struct rings *rings);
/* To look at all: buckets 0 .. n - 1, each a chain by hash_next, NULL where it ends. */
size_t rings_buckets(const struct rings *rings);
const struct ring *rings_bucket(const struct rings *rings, size_t i);
/* From now on; a ring that has lingered so long already is wiped, and *ring is gone. */
void rings_set_linger(struct rings *rings, struct ring *ring, int64_t linger_ms, int64_t now);
/* Of a ring that comes from another vault, before anybody holds it: it has lingered since then, and does for linger_ms in all. */
void rings_linger_since(struct rings *rings, struct ring *ring, int64_t since_ms, int64_t linger_ms);
/* fn for all that are held, in no order (held), or for all that linger, who does longest before the others. */
typedef enum bs_err (*rings_fn)(void *arg, const struct ring *ring);
enum bs_err rings_each(const struct rings *rings, bool held, rings_fn fn, void *arg) BS_MUST_USE;
/* So long the keys stay if nobody comes. */
int64_t ring_linger_left(const struct ring *ring, int64_t now);

/* counter: &ring->sessions or &ring->tokens. */
void ring_hold(struct rings *rings, struct ring *ring, unsigned *counter);
/* Undoes one ring_hold(); the ring may be gone afterwards. */
void ring_release(struct rings *rings, struct ring *ring, unsigned *counter, int64_t now);
const uint8_t *ring_amk(const struct ring *ring);
/* NULL: BS_ERR_NOKEY. */
const struct bs_ring_key *ring_key(const struct ring *ring, const uint8_t key_id[BS_ID_LEN]);
/* Remembers the hash that recognises a password of slot slot_id. */
void ring_set_warm(struct ring *ring, const uint8_t slot_id[BS_ID_LEN], const uint8_t hash[BS_HASH_LEN]);
/* Constant time in the hash. */
bool ring_is_warm(const struct ring *ring, const uint8_t slot_id[BS_ID_LEN], const uint8_t hash[BS_HASH_LEN]);
/* Takes n data keys out of the account's allowance (RING_BURST at first, RING_PER_S more each second). */
#define RING_BURST 100000
#define RING_PER_S 10000
bool ring_allow(struct ring *ring, unsigned n, int64_t now);

#endif
