/* ring, token, seen: what the vault remembers of accounts, without a vault around them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "keyd/ring.h"
#include "keyd/seen.h"
#include "keyd/token.h"

#define CELLS 8
#define LINGER_MS 1000
#define LIFE_MS 500

struct world {
	struct arena *arena;
	struct rings *rings;
	struct tokens *tokens;
};

static int
make_world(void **state, int64_t linger_ms)
{
	struct world *w = calloc(1, sizeof(*w));

	if (w == NULL || bs_crypto_init() != BS_OK || arena_new(sizeof(struct ring_cell), CELLS, &w->arena) != BS_OK)
		return -1;
	w->rings = rings_new(w->arena, 4, linger_ms);
	w->tokens = tokens_new(w->rings, 4, LIFE_MS);
	*state = w;
	return w->rings == NULL || w->tokens == NULL ? -1 : 0;
}

static int
setup(void **state)
{
	return make_world(state, LINGER_MS);
}

static int
setup_no_linger(void **state)
{
	return make_world(state, 0);
}

static int
teardown(void **state)
{
	struct world *w = *state;

	tokens_free(w->tokens);
	rings_free(w->rings);
	assert_int_equal(arena_used(w->arena), 0); /* nothing was left behind */
	arena_free(w->arena);
	free(w);
	return 0;
}

/* Opens a ring for account number n with key_count keys. */
static enum bs_err
open_ring(struct world *w, unsigned n, size_t key_count, uint64_t generation, int64_t now, struct ring **out)
{
	struct bs_keyset ks = { .record = { .generation = generation }, .record_len = 10 };
	struct bs_ring_key keys[4] = { 0 };
	uint8_t amk[BS_KEY_LEN];

	(void)snprintf(ks.record.name, sizeof(ks.record.name), "user%u@example.org", n);
	ks.record.account_id[0] = (uint8_t)n;
	memset(amk, (int)(n + generation), sizeof(amk));
	for (size_t i = 0; i < key_count; i++)
		memset(&keys[i], (int)(10 * n + i + 1), sizeof(keys[i].key_id));
	return rings_open(w->rings, &ks, amk, keys, key_count, now, out);
}

static void
test_open_find_refresh(void **state)
{
	struct world *w = *state;
	struct ring *ring, *same;
	uint8_t id[BS_ID_LEN];

	assert_null(rings_find(w->rings, "user1@example.org"));
	assert_int_equal(open_ring(w, 1, 3, 1, 0, &ring), BS_OK);
	assert_ptr_equal(rings_find(w->rings, "user1@example.org"), ring);
	assert_int_equal(arena_used(w->arena), 4);
	memset(id, 12, sizeof(id));
	assert_non_null(ring_key(ring, id));
	memset(id, 14, sizeof(id));
	assert_null(ring_key(ring, id));
	assert_int_equal(ring_amk(ring)[0], 2);
	assert_int_equal(open_ring(w, 1, 1, 2, 0, &same), BS_OK);
	assert_ptr_equal(same, ring);
	assert_int_equal(arena_used(w->arena), 2);
	assert_int_equal(ring_amk(ring)[0], 3);
	assert_int_equal(ring->generation, 2);
	assert_int_equal(rings_count(w->rings), 1);
}

static void
test_lingers_and_goes(void **state)
{
	struct world *w = *state;
	struct ring *ring;

	assert_int_equal(open_ring(w, 1, 1, 1, 0, &ring), BS_OK);
	ring_hold(w->rings, ring, &ring->sessions);
	ring_hold(w->rings, ring, &ring->tokens);
	rings_expire(w->rings, 100000);
	assert_int_equal(rings_count(w->rings), 1);
	ring_release(w->rings, ring, &ring->tokens, 200000);
	rings_expire(w->rings, 300000);
	assert_int_equal(rings_count(w->rings), 1);
	ring_release(w->rings, ring, &ring->sessions, 300000);
	rings_expire(w->rings, 300000 + LINGER_MS - 1);
	assert_int_equal(rings_count(w->rings), 1);
	rings_expire(w->rings, 300000 + LINGER_MS);
	assert_int_equal(rings_count(w->rings), 0);
	assert_int_equal(arena_used(w->arena), 0);
}

static void
test_no_linger(void **state)
{
	struct world *w = *state;
	struct ring *ring;

	assert_int_equal(open_ring(w, 1, 1, 1, 0, &ring), BS_OK);
	ring_hold(w->rings, ring, &ring->sessions);
	ring_release(w->rings, ring, &ring->sessions, 5);
	assert_int_equal(rings_count(w->rings), 0);
}

/* Each as long as it is told, whatever the order in which they were let go. */
static void
test_lingers_differ(void **state)
{
	static const int64_t lingers[] = { 700, 100, 500, 300 };
	struct world *w = *state;
	struct ring *ring;
	char name[32];

	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(open_ring(w, i, 1, 1, 0, &ring), BS_OK);
		ring_hold(w->rings, ring, &ring->sessions);
		rings_set_linger(w->rings, ring, lingers[i], 0);
		assert_int_equal(ring_linger_left(ring, 0), lingers[i]);
		ring_release(w->rings, ring, &ring->sessions, 0);
	}
	for (int64_t now = 99; now < 900; now += 100) {
		rings_expire(w->rings, now);
		for (unsigned i = 0; i < 4; i++) {
			(void)snprintf(name, sizeof(name), "user%u@example.org", i);
			ring = rings_find(w->rings, name);
			assert_int_equal(ring != NULL, now < lingers[i]);
			assert_int_equal(ring == NULL ? 0 : ring_linger_left(ring, now), now < lingers[i] ? lingers[i] - now : 0);
		}
	}
	assert_int_equal(arena_used(w->arena), 0);
}

/* What lingers is told anew: longer, shorter, and shorter than it has lingered already. */
static void
test_linger_changes(void **state)
{
	struct world *w = *state;
	struct ring *ring;

	assert_int_equal(open_ring(w, 1, 1, 1, 0, &ring), BS_OK);
	assert_int_equal(open_ring(w, 2, 1, 1, 0, &ring), BS_OK);
	rings_set_linger(w->rings, ring, 5000, 900);
	rings_expire(w->rings, LINGER_MS);
	assert_null(rings_find(w->rings, "user1@example.org"));
	assert_ptr_equal(rings_find(w->rings, "user2@example.org"), ring);
	rings_set_linger(w->rings, ring, 2000, 1000);
	assert_int_equal(ring_linger_left(ring, 1000), 1000);
	rings_set_linger(w->rings, ring, 0, 1000);
	assert_int_equal(rings_count(w->rings), 0);
}

/* The heap against a plain search, with much coming and going. */
static void
test_due_in_order(void **state)
{
	static struct ring rings[64];
	struct due due = { 0 };
	uint32_t x = 1;

	(void)state;
	assert_int_equal(due_reserve(&due, 64), BS_OK);
	for (unsigned round = 0; round < 20000; round++) {
		struct ring *ring = &rings[(x = x * 1664525u + 1013904223u) >> 26];
		int64_t least = INT64_MAX;

		if (ring->used_ms != 0) {
			due_remove(&due, ring);
			ring->used_ms = 0;
		} else {
			ring->due_ms = (int64_t)((x = x * 1664525u + 1013904223u) >> 22);
			due_add(&due, ring);
			ring->used_ms = 1;
		}
		for (unsigned i = 0; i < 64; i++)
			least = rings[i].used_ms != 0 && rings[i].due_ms < least ? rings[i].due_ms : least;
		assert_int_equal(due_first(&due) == NULL ? INT64_MAX : due_first(&due)->due_ms, least);
	}
	due_clear(&due);
}

/* Eight cells: four accounts of one key. Who lingers longest makes room, who is held never does. */
static void
test_full_arena(void **state)
{
	struct world *w = *state;
	struct ring *rings[5];

	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(open_ring(w, i, 1, 1, i, &rings[i]), BS_OK);
	ring_hold(w->rings, rings[0], &rings[0]->sessions);
	assert_int_equal(open_ring(w, 4, 1, 1, 9, &rings[4]), BS_OK);
	assert_non_null(rings_find(w->rings, "user0@example.org"));
	assert_null(rings_find(w->rings, "user1@example.org"));
	for (unsigned i = 2; i < 5; i++)
		ring_hold(w->rings, rings[i], &rings[i]->sessions);
	assert_int_equal(open_ring(w, 7, 1, 1, 9, &rings[1]), BS_ERR_BUSY);
	assert_int_equal(arena_used(w->arena), CELLS);
	assert_int_equal(rings_count(w->rings), 4);
	assert_int_equal(ring_amk(rings[0])[0], 1); /* what is held is whole */
}

static void
test_warm(void **state)
{
	struct world *w = *state;
	struct ring *ring;
	uint8_t slot[BS_ID_LEN] = { 1 }, other[BS_ID_LEN] = { 2 }, hash[BS_HASH_LEN] = { 3 }, wrong[BS_HASH_LEN] = { 4 };
	uint8_t none[BS_HASH_LEN] = { 0 }, no_slot[BS_ID_LEN] = { 0 };

	assert_int_equal(open_ring(w, 1, 1, 1, 0, &ring), BS_OK);
	assert_false(ring_is_warm(ring, no_slot, none));
	ring_set_warm(ring, slot, hash);
	assert_true(ring_is_warm(ring, slot, hash));
	assert_false(ring_is_warm(ring, slot, wrong));
	assert_false(ring_is_warm(ring, other, hash));
	assert_int_equal(open_ring(w, 1, 1, 2, 0, &ring), BS_OK);
	assert_false(ring_is_warm(ring, slot, hash)); /* another generation, another password perhaps */
}

static void
test_allowance(void **state)
{
	struct world *w = *state;
	struct ring *ring;

	assert_int_equal(open_ring(w, 1, 1, 1, 0, &ring), BS_OK);
	assert_true(ring_allow(ring, RING_BURST, 0));
	assert_false(ring_allow(ring, 1, 0));
	assert_true(ring_allow(ring, RING_PER_S, 1000));
	assert_false(ring_allow(ring, 1, 1000));
	assert_true(ring_allow(ring, RING_BURST, 1000000)); /* no more than a burst is saved up */
	assert_false(ring_allow(ring, 1, 1000000));
	assert_int_equal(ring->unwraps, 2 * RING_BURST + RING_PER_S);
}

static void
test_token_once(void **state)
{
	struct world *w = *state;
	struct ring *ring;
	uint8_t token[BS_TOKEN_LEN], second[BS_TOKEN_LEN];
	char service[SERVICE_MAX + 1];

	assert_int_equal(open_ring(w, 1, 1, 1, 0, &ring), BS_OK);
	assert_int_equal(tokens_issue(w->tokens, ring, "imap", 0, token), BS_OK);
	assert_int_equal(tokens_issue(w->tokens, ring, "pop3", 0, second), BS_OK);
	assert_memory_not_equal(token, second, BS_TOKEN_LEN);
	assert_int_equal(ring->tokens, 2);
	assert_ptr_equal(tokens_take(w->tokens, second, 1, service), ring);
	assert_string_equal(service, "pop3");
	ring_release(w->rings, ring, &ring->tokens, 1);
	assert_null(tokens_take(w->tokens, second, 1, service));
	token[31] ^= 1;
	assert_null(tokens_take(w->tokens, token, 1, service));
	token[31] ^= 1;
	assert_ptr_equal(tokens_take(w->tokens, token, LIFE_MS - 1, service), ring);
	ring_release(w->rings, ring, &ring->tokens, 1);
	assert_int_equal(tokens_count(w->tokens), 0);
}

static void
test_token_expires(void **state)
{
	struct world *w = *state;
	struct ring *ring;
	uint8_t token[BS_TOKEN_LEN];
	char service[SERVICE_MAX + 1];

	assert_int_equal(open_ring(w, 1, 1, 1, 0, &ring), BS_OK);
	assert_int_equal(tokens_issue(w->tokens, ring, "imap", 0, token), BS_OK);
	assert_null(tokens_take(w->tokens, token, LIFE_MS, service)); /* though nobody swept */
	assert_int_equal(ring->tokens, 0);
	assert_int_equal(tokens_issue(w->tokens, ring, "imap", 0, token), BS_OK);
	tokens_expire(w->tokens, LIFE_MS - 1);
	assert_int_equal(tokens_count(w->tokens), 1);
	tokens_expire(w->tokens, LIFE_MS);
	assert_int_equal(tokens_count(w->tokens), 0);
	assert_int_equal(ring->tokens, 0);
}

/* Sleepers' tokens between logins', and lives that only other settings would give: each is gone at its moment, no other with it. */
static void
test_tokens_live_differently(void **state)
{
	static const int64_t lives[] = { LIFE_MS, 9000, LIFE_MS, 20, 9000, 4000, 7000, LIFE_MS, 3000 };
	struct world *w = *state;
	struct ring *ring;
	uint8_t token[BS_TOKEN_LEN];
	size_t n = sizeof(lives) / sizeof(lives[0]);

	assert_int_equal(open_ring(w, 1, 1, 1, 0, &ring), BS_OK);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(tokens_issue_for(w->tokens, ring, "imap", (int64_t)i, lives[i], token), BS_OK);
	for (int64_t now = 0; now <= 9010; now++) {
		size_t alive = 0;

		for (size_t i = 0; i < n; i++)
			alive += (int64_t)i + lives[i] > now;
		tokens_expire(w->tokens, now);
		assert_int_equal(tokens_count(w->tokens), alive);
	}
}

/* The one that slept longest; never a login's, never the last hold of the ring. */
static void
test_tokens_yield(void **state)
{
	struct world *w = *state;
	struct ring *ring, *other;
	uint8_t login[BS_TOKEN_LEN], old[BS_TOKEN_LEN], young[BS_TOKEN_LEN];
	char service[SERVICE_MAX + 1];

	assert_int_equal(open_ring(w, 1, 1, 1, 0, &ring), BS_OK);
	assert_int_equal(open_ring(w, 2, 1, 1, 0, &other), BS_OK);
	assert_int_equal(tokens_issue_for(w->tokens, other, "imap", 0, 9000, old), BS_OK);
	assert_int_equal(tokens_issue_for(w->tokens, ring, "imap", 0, 9000, old), BS_OK);
	assert_int_equal(tokens_issue(w->tokens, ring, "imap", 1, login), BS_OK);
	assert_int_equal(tokens_issue_for(w->tokens, ring, "imap", 1, 9000, young), BS_OK);
	assert_true(tokens_yield(w->tokens, ring, 2));
	assert_null(tokens_take(w->tokens, old, 2, service));
	assert_true(tokens_yield(w->tokens, ring, 2));
	assert_null(tokens_take(w->tokens, young, 2, service));
	assert_false(tokens_yield(w->tokens, ring, 2));
	assert_int_equal(tokens_issue_for(w->tokens, ring, "imap", 2, 9000, young), BS_OK);
	assert_ptr_equal(tokens_take(w->tokens, login, 2, service), ring);
	ring_release(w->rings, ring, &ring->tokens, 2);
	assert_int_equal(ring->tokens, 1);
	assert_false(tokens_yield(w->tokens, ring, 2));
	assert_int_equal(other->tokens, 1);
}

static void
test_tokens_of_a_closed_account(void **state)
{
	struct world *w = *state;
	struct ring *one, *two;
	uint8_t token[BS_TOKEN_LEN], other[BS_TOKEN_LEN];
	char service[SERVICE_MAX + 1];

	assert_int_equal(open_ring(w, 1, 1, 1, 0, &one), BS_OK);
	assert_int_equal(open_ring(w, 2, 1, 1, 0, &two), BS_OK);
	assert_int_equal(tokens_issue(w->tokens, one, "imap", 0, token), BS_OK);
	assert_int_equal(tokens_issue(w->tokens, two, "imap", 0, other), BS_OK);
	ring_hold(w->rings, one, &one->sessions);
	tokens_drop(w->tokens, one, 1);
	rings_close(w->rings, one);
	assert_null(tokens_take(w->tokens, token, 1, service));
	assert_ptr_equal(tokens_take(w->tokens, other, 1, service), two);
	ring_release(w->rings, two, &two->tokens, 1);
}

static void
test_seen(void **state)
{
	static const uint8_t key[BS_KEY_LEN] = { 1 };
	struct seen *seen = seen_new(64, key);
	struct bs_record rec = { .name = "a@example.org", .generation = 5, .created = 100, .account_id = { 1 } };

	(void)state;
	assert_int_equal(bs_crypto_init(), BS_OK);
	assert_non_null(seen);
	assert_false(seen_knows(seen, rec.name));
	assert_int_equal(seen_check(seen, &rec), BS_OK);
	assert_int_equal(seen_check(seen, &rec), BS_OK);
	assert_true(seen_knows(seen, rec.name));
	rec.generation = 4;
	assert_int_equal(seen_check(seen, &rec), BS_ERR_ROLLBACK);
	rec.generation = 6;
	assert_int_equal(seen_check(seen, &rec), BS_OK);
	rec.generation = 5;
	assert_int_equal(seen_check(seen, &rec), BS_ERR_ROLLBACK);
	/* Enrolled again: another id, later. And the old account put back after that. */
	rec = (struct bs_record){ .name = "a@example.org", .generation = 1, .created = 200, .account_id = { 2 } };
	assert_int_equal(seen_check(seen, &rec), BS_OK);
	rec = (struct bs_record){ .name = "a@example.org", .generation = 9, .created = 100, .account_id = { 1 } };
	assert_int_equal(seen_check(seen, &rec), BS_ERR_ROLLBACK);
	seen_forget(seen, rec.name);
	assert_false(seen_knows(seen, rec.name));
	assert_int_equal(seen_check(seen, &rec), BS_OK);
	seen_free(seen);
	seen_free(NULL);
}

/* Only the very bytes that were verified last need no second look. */
static void
test_seen_verified(void **state)
{
	static const uint8_t key[BS_KEY_LEN] = { 1 }, one[BS_HASH_LEN] = { 1 }, two[BS_HASH_LEN] = { 2 };
	struct seen *seen = seen_new(64, key);
	struct bs_record rec = { .name = "a@example.org", .generation = 5, .created = 100, .account_id = { 1 } };

	(void)state;
	assert_int_equal(bs_crypto_init(), BS_OK);
	assert_non_null(seen);
	seen_note_verified(seen, rec.name, one); /* not seen yet: nothing to note it at */
	assert_false(seen_is_verified(seen, rec.name, one));
	assert_int_equal(seen_check(seen, &rec), BS_OK);
	assert_false(seen_is_verified(seen, rec.name, one));
	seen_note_verified(seen, rec.name, one);
	assert_true(seen_is_verified(seen, rec.name, one));
	assert_false(seen_is_verified(seen, rec.name, two));
	assert_false(seen_is_verified(seen, "b@example.org", one));
	rec.generation = 6;
	assert_int_equal(seen_check(seen, &rec), BS_OK);
	seen_note_verified(seen, rec.name, two);
	assert_false(seen_is_verified(seen, rec.name, one));
	seen_forget(seen, rec.name);
	assert_false(seen_is_verified(seen, rec.name, two));
	seen_free(seen);
}

/* However many names come, the table does not grow, and the last ones are remembered. */
static void
test_seen_is_bounded(void **state)
{
	static const uint8_t key[BS_KEY_LEN] = { 1 };
	struct seen *seen = seen_new(16, key);
	struct bs_record rec = { .generation = 1 };

	(void)state;
	assert_non_null(seen);
	for (unsigned i = 0; i < 1000; i++) {
		(void)snprintf(rec.name, sizeof(rec.name), "user%u@example.org", i);
		assert_int_equal(seen_check(seen, &rec), BS_OK);
		assert_true(seen_knows(seen, rec.name));
	}
	seen_free(seen);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_open_find_refresh, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lingers_and_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_linger, setup_no_linger, teardown),
		cmocka_unit_test_setup_teardown(test_lingers_differ, setup, teardown),
		cmocka_unit_test_setup_teardown(test_linger_changes, setup, teardown),
		cmocka_unit_test(test_due_in_order),
		cmocka_unit_test_setup_teardown(test_full_arena, setup, teardown),
		cmocka_unit_test_setup_teardown(test_warm, setup, teardown),
		cmocka_unit_test_setup_teardown(test_allowance, setup, teardown),
		cmocka_unit_test_setup_teardown(test_token_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_token_expires, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tokens_live_differently, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tokens_yield, setup_no_linger, teardown),
		cmocka_unit_test_setup_teardown(test_tokens_of_a_closed_account, setup, teardown),
		cmocka_unit_test(test_seen),
		cmocka_unit_test(test_seen_verified), cmocka_unit_test(test_seen_is_bounded),
	};

	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
