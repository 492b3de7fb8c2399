#include "ring.h"

#include <stdlib.h>
#include <string.h>

TAILQ_HEAD(ring_list, ring);

struct rings {
	struct arena *arena;
	struct ring **buckets;
	size_t mask;
	size_t count;
	int64_t linger_ms;
	struct ring_list idle; /* the longest idle first */
	struct due due;        /* the same rings */
};

/* FNV-1a. Only enrolled names get here: nobody can aim for one bucket. */
static size_t
hash_name(const char *name)
{
	uint64_t h = 14695981039346656037u;

	for (; *name != '\0'; name++)
		h = (h ^ (uint8_t)*name) * 1099511628211u;
	return (size_t)(h ^ h >> 32);
}

struct rings *
rings_new(struct arena *arena, size_t expected, int64_t linger_ms)
{
	struct rings *rings = calloc(1, sizeof(*rings));
	size_t size = 64;

	if (rings == NULL)
		return NULL;
	while (size < expected)
		size *= 2;
	rings->buckets = calloc(size, sizeof(struct ring *));
	if (rings->buckets == NULL) {
		free(rings);
		return NULL;
	}
	rings->mask = size - 1;
	rings->arena = arena;
	rings->linger_ms = linger_ms;
	TAILQ_INIT(&rings->idle);
	return rings;
}

void
rings_free(struct rings *rings)
{
	if (rings == NULL)
		return;
	for (size_t i = 0; i <= rings->mask; i++) {
		while (rings->buckets[i] != NULL)
			rings_close(rings, rings->buckets[i]);
	}
	due_clear(&rings->due);
	free(rings->buckets);
	free(rings);
}

struct ring *
rings_find(struct rings *rings, const char *name)
{
	struct ring *ring = rings->buckets[hash_name(name) & rings->mask];

	while (ring != NULL && strcmp(ring->name, name) != 0)
		ring = ring->hash_next;
	return ring;
}

static void
release_cells(struct arena *arena, struct ring_cell *cell)
{
	while (cell != NULL) {
		struct ring_cell *next = cell->next;

		arena_release(arena, cell);
		cell = next;
	}
}

static bool
is_idle(const struct ring *ring)
{
	return ring->sessions == 0 && ring->tokens == 0;
}

static void
become_idle(struct rings *rings, struct ring *ring, int64_t now)
{
	ring->idle_since_ms = now;
	ring->due_ms = now + ring->linger_ms;
	TAILQ_INSERT_TAIL(&rings->idle, ring, idle);
	due_add(&rings->due, ring);
}

static void
end_idle(struct rings *rings, struct ring *ring)
{
	TAILQ_REMOVE(&rings->idle, ring, idle);
	due_remove(&rings->due, ring);
}

/* Cells for the master key and n keys; makes room by closing rings that nobody holds, but never keep. */
static struct ring_cell *
take_cells(struct rings *rings, size_t n, const struct ring *keep)
{
	struct ring_cell *list = NULL, *cell;
	struct ring *oldest;

	while (n > 0) {
		cell = arena_alloc(rings->arena);
		if (cell != NULL) {
			cell->next = list;
			list = cell;
			n--;
			continue;
		}
		oldest = TAILQ_FIRST(&rings->idle);
		if (oldest == keep && oldest != NULL)
			oldest = TAILQ_NEXT(oldest, idle);
		if (oldest == NULL) {
			release_cells(rings->arena, list);
			return NULL;
		}
		rings_close(rings, oldest);
	}
	return list;
}

static struct ring *
new_ring(struct rings *rings, const struct bs_record *rec, int64_t now)
{
	struct ring *ring = due_reserve(&rings->due, rings->count + 1) == BS_OK ? calloc(1, sizeof(*ring)) : NULL;
	size_t bucket = hash_name(rec->name) & rings->mask;

	if (ring == NULL)
		return NULL;
	memcpy(ring->name, rec->name, sizeof(ring->name));
	memcpy(ring->account_id, rec->account_id, BS_ID_LEN);
	ring->allowance = RING_BURST;
	ring->allowance_ms = now;
	ring->hash_next = rings->buckets[bucket];
	rings->buckets[bucket] = ring;
	rings->count++;
	ring->opened_ms = ring->used_ms = now;
	ring->linger_ms = rings->linger_ms;
	LIST_INIT(&ring->conns);
	become_idle(rings, ring, now);
	return ring;
}

static void
fill(struct ring *ring, const struct bs_keyset *ks, const uint8_t amk[BS_KEY_LEN], const struct bs_ring_key *keys,
    size_t key_count)
{
	struct ring_cell *cell = ring->cells;

	memcpy(cell->u.root.amk, amk, BS_KEY_LEN);
	for (size_t i = 0; i < key_count; i++) {
		cell = cell->next;
		cell->u.key = keys[i];
	}
	ring->generation = ks->record.generation;
	ring->flags = ks->record.flags;
	memcpy(ring->record, ks->record_bytes, ks->record_len);
	ring->record_len = ks->record_len;
	ring->warm = false;
}

enum bs_err
rings_open(struct rings *rings, const struct bs_keyset *ks, const uint8_t amk[BS_KEY_LEN],
    const struct bs_ring_key *keys, size_t key_count, int64_t now, struct ring **out)
{
	struct ring *ring = rings_find(rings, ks->record.name);
	struct ring_cell *cells = take_cells(rings, 1 + key_count, ring);

	if (cells == NULL)
		return BS_ERR_BUSY;
	if (ring == NULL)
		ring = new_ring(rings, &ks->record, now);
	if (ring == NULL) {
		release_cells(rings->arena, cells);
		return BS_ERR_NOMEM;
	}
	release_cells(rings->arena, ring->cells);
	ring->cells = cells;
	fill(ring, ks, amk, keys, key_count);
	*out = ring;
	return BS_OK;
}

void
rings_close(struct rings *rings, struct ring *ring)
{
	struct ring **at = &rings->buckets[hash_name(ring->name) & rings->mask];

	while (*at != ring)
		at = &(*at)->hash_next;
	*at = ring->hash_next;
	if (is_idle(ring))
		end_idle(rings, ring);
	release_cells(rings->arena, ring->cells);
	free(ring);
	rings->count--;
}

void
rings_expire(struct rings *rings, int64_t now)
{
	struct ring *ring;

	while ((ring = due_first(&rings->due)) != NULL && ring->due_ms <= now)
		rings_close(rings, ring);
}

size_t
rings_count(const struct rings *rings)
{
	return rings->count;
}

size_t
rings_buckets(const struct rings *rings)
{
	return rings->mask + 1;
}

const struct ring *
rings_bucket(const struct rings *rings, size_t i)
{
	return i <= rings->mask ? rings->buckets[i] : NULL;
}

void
rings_linger_since(struct rings *rings, struct ring *ring, int64_t since_ms, int64_t linger_ms)
{
	due_remove(&rings->due, ring);
	ring->linger_ms = linger_ms;
	ring->idle_since_ms = since_ms;
	ring->due_ms = since_ms + linger_ms;
	due_add(&rings->due, ring);
}

enum bs_err
rings_each(const struct rings *rings, bool held, rings_fn fn, void *arg)
{
	const struct ring *ring;
	enum bs_err err = BS_OK;

	if (!held) {
		TAILQ_FOREACH(ring, &rings->idle, idle) {
			err = fn(arg, ring);
			if (err != BS_OK)
				return err;
		}
		return BS_OK;
	}
	for (size_t i = 0; i <= rings->mask && err == BS_OK; i++) {
		for (ring = rings->buckets[i]; ring != NULL && err == BS_OK; ring = ring->hash_next)
			err = is_idle(ring) ? BS_OK : fn(arg, ring);
	}
	return err;
}

void
rings_set_linger(struct rings *rings, struct ring *ring, int64_t linger_ms, int64_t now)
{
	ring->linger_ms = linger_ms;
	if (!is_idle(ring))
		return;
	due_remove(&rings->due, ring);
	ring->due_ms = ring->idle_since_ms + linger_ms;
	due_add(&rings->due, ring);
	if (ring->due_ms <= now)
		rings_close(rings, ring);
}

int64_t
ring_linger_left(const struct ring *ring, int64_t now)
{
	int64_t left = is_idle(ring) ? ring->due_ms - now : ring->linger_ms;

	return left < 0 ? 0 : left;
}

/* The counters themselves are the caller's: a hold for a session, or one for a token. */
void
ring_hold(struct rings *rings, struct ring *ring, unsigned *counter)
{
	if (is_idle(ring))
		end_idle(rings, ring);
	(*counter)++;
}

void
ring_release(struct rings *rings, struct ring *ring, unsigned *counter, int64_t now)
{
	(*counter)--;
	if (!is_idle(ring))
		return;
	become_idle(rings, ring, now);
	if (ring->linger_ms == 0)
		rings_close(rings, ring);
}

const uint8_t *
ring_amk(const struct ring *ring)
{
	return ring->cells->u.root.amk;
}

const struct bs_ring_key *
ring_key(const struct ring *ring, const uint8_t key_id[BS_ID_LEN])
{
	const struct ring_cell *cell = ring->cells->next;

	while (cell != NULL && memcmp(cell->u.key.key_id, key_id, BS_ID_LEN) != 0)
		cell = cell->next;
	return cell == NULL ? NULL : &cell->u.key;
}

void
ring_set_warm(struct ring *ring, const uint8_t slot_id[BS_ID_LEN], const uint8_t hash[BS_HASH_LEN])
{
	memcpy(ring->warm_slot, slot_id, BS_ID_LEN);
	memcpy(ring->cells->u.root.warm_hash, hash, BS_HASH_LEN);
	ring->warm = true;
}

bool
ring_is_warm(const struct ring *ring, const uint8_t slot_id[BS_ID_LEN], const uint8_t hash[BS_HASH_LEN])
{
	return ring->warm && memcmp(ring->warm_slot, slot_id, BS_ID_LEN) == 0
	    && bs_equal(ring->cells->u.root.warm_hash, hash, BS_HASH_LEN);
}

bool
ring_allow(struct ring *ring, unsigned n, int64_t now)
{
	int64_t grown = (now - ring->allowance_ms) * RING_PER_S / 1000;

	if (grown > 0) {
		ring->allowance = ring->allowance + grown > RING_BURST ? RING_BURST : ring->allowance + grown;
		ring->allowance_ms = now;
	}
	if (ring->allowance < (int64_t)n)
		return false;
	ring->allowance -= n;
	ring->unwraps += n;
	return true;
}
