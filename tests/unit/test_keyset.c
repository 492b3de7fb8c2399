/* keyset: the vector that another implementation made, and the attacks of whoever may write to the keys database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/keyset_priv.h"
#include "common/secretcode.h"
#include "common/wire.h"
#include "tests/vectors/keys.h"

/* What stands behind the ring: the digest of the kept keysets, the manifest, and that there are none. */
#define TAIL_LEN (2 * BS_HASH_LEN + 1)
#define SECRET "0123456789ABCDEFGHJKMNPQRS"

static uint8_t site_pub[BS_SIGN_PUB_LEN], site_sec[BS_SIGN_SEC_LEN];

/* An account as a test makes it: a recovery slot, whose KDF is quick, and two keys. */
struct account {
	struct bs_record rec;
	struct bs_slot slots[2];
	size_t slot_count;
	struct bs_ring_key keys[2];
	uint8_t amk[BS_KEY_LEN], seed[BS_KEY_LEN];
	uint8_t blob[8192];
	size_t blob_len;
};

static void
make_key(struct bs_ring_key *key, bool active)
{
	bs_x25519_keypair(key->public_key, key->secret_key);
	bs_msg_key_id(BS_MSG_SUITE_X25519, key->public_key, key->key_id);
	key->created = 1700000000;
	key->active = active;
}

static void
make_slot(struct account *ac, struct bs_slot *slot, uint8_t seed[BS_KEY_LEN])
{
	memset(slot, 0, sizeof(*slot));
	slot->kind = BS_SLOT_RECOVERY;
	slot->generation = ac->rec.generation;
	bs_random(slot->salt, BS_SALT_LEN);
	assert_int_equal(bs_slot_seed(slot, SECRET, strlen(SECRET), seed), BS_OK);
	assert_int_equal(bs_keyset_make_slot(ac->rec.account_id, slot, seed, ac->amk), BS_OK);
}

static enum bs_err
write_keyset(const struct account *ac, const struct bs_slot *slots, size_t slot_count, const struct bs_ring_key *keys,
    size_t key_count, uint8_t *out, size_t size, size_t *len)
{
	return bs_keyset_write(&(struct bs_keyset_parts){ .record = &ac->rec, .slots = slots, .slot_count = slot_count,
	    .keys = keys, .key_count = key_count }, site_sec, ac->amk, out, size, len);
}

static void
write_blob(struct account *ac)
{
	assert_int_equal(write_keyset(ac, ac->slots, ac->slot_count, ac->keys, 2, ac->blob, sizeof(ac->blob), &ac->blob_len), BS_OK);
}

static struct account *
new_account(const char *name)
{
	struct account *ac = calloc(1, sizeof(*ac));

	assert_non_null(ac);
	(void)snprintf(ac->rec.name, sizeof(ac->rec.name), "%s", name);
	bs_random(ac->rec.account_id, BS_ID_LEN);
	bs_random(ac->amk, BS_KEY_LEN);
	make_key(&ac->keys[0], false);
	make_key(&ac->keys[1], true);
	memcpy(ac->rec.public_key, ac->keys[1].public_key, BS_KEY_LEN);
	memcpy(ac->rec.key_id, ac->keys[1].key_id, BS_ID_LEN);
	ac->rec.generation = 1;
	ac->rec.flags = BS_RECORD_FLAG_SEALED;
	make_slot(ac, &ac->slots[0], ac->seed);
	ac->slot_count = 1;
	write_blob(ac);
	return ac;
}

/* All that a login does with a blob: the first error, or BS_OK. */
static enum bs_err
login(const uint8_t *blob, size_t len, const uint8_t pub[BS_SIGN_PUB_LEN], const char *name,
    const uint8_t seed[BS_KEY_LEN])
{
	struct bs_ring_key keys[BS_RING_MAX];
	uint8_t amk[BS_KEY_LEN];
	struct bs_keyset ks;
	size_t n;
	enum bs_err err = bs_keyset_parse(blob, len, &ks);

	if (err != BS_OK)
		return err;
	err = bs_keyset_verify(&ks, pub, name);
	if (err == BS_OK)
		err = bs_keyset_unlock(&ks, 0, seed, amk, keys, BS_RING_MAX, &n);
	bs_keyset_clear(&ks);
	return err;
}

static enum bs_err
login_account(const struct account *ac)
{
	return login(ac->blob, ac->blob_len, site_pub, ac->rec.name, ac->seed);
}

/* Where slot i begins in a blob (its length field), and how long it is with that. */
static size_t
slot_at(const uint8_t *blob, size_t i, size_t *len)
{
	size_t at = 5 + 2 + (size_t)(blob[5] << 8 | blob[6]) + 2;

	*len = 2 + (size_t)(blob[at] << 8 | blob[at + 1]);
	return at + i * *len;
}

/* --- known answers --- */

static void
test_vector(void **state)
{
	struct bs_ring_key keys[BS_RING_MAX];
	uint8_t seed[BS_KEY_LEN], amk[BS_KEY_LEN];
	struct bs_keyset ks;
	size_t n = 0;

	(void)state;
	assert_int_equal(bs_keyset_parse(kv_blob, sizeof(kv_blob), &ks), BS_OK);
	assert_int_equal(bs_keyset_verify(&ks, kv_site_pub, KV_NAME), BS_OK);
	assert_int_equal(bs_keyset_verify(&ks, kv_site_pub, "bob@example.org"), BS_ERR_ACCOUNT);
	assert_int_equal(bs_keyset_verify(&ks, site_pub, KV_NAME), BS_ERR_AUTH);
	assert_int_equal(ks.slot_count, 2);
	assert_int_equal(ks.slots[0].kind, BS_SLOT_PASSWORD);
	assert_int_equal(bs_slot_seed(&ks.slots[0], KV_PASSWORD, strlen(KV_PASSWORD), seed), BS_OK);
	assert_memory_equal(seed, kv_seed, BS_KEY_LEN);
	assert_int_equal(bs_keyset_open_slot(&ks, 0, seed, amk), BS_OK);
	assert_memory_equal(amk, kv_amk, BS_KEY_LEN);
	assert_int_equal(bs_slot_seed(&ks.slots[1], KV_CODE, strlen(KV_CODE), seed), BS_OK);
	assert_memory_equal(seed, kv_code_seed, BS_KEY_LEN);
	memset(amk, 0, sizeof(amk));
	assert_int_equal(bs_keyset_open_slot(&ks, 1, seed, amk), BS_OK);
	assert_memory_equal(amk, kv_amk, BS_KEY_LEN);
	assert_int_equal(bs_keyset_check(&ks, amk), BS_OK);
	assert_int_equal(bs_keyset_open_ring(&ks, amk, keys, BS_RING_MAX, &n), BS_OK);
	assert_int_equal(n, 2);
	assert_false(keys[0].active);
	assert_memory_equal(keys[0].secret_key, kv_older_sec, BS_KEY_LEN);
	assert_int_equal(keys[0].created, 1600000000);
	assert_true(keys[1].active);
	assert_memory_equal(keys[1].secret_key, kv_active_sec, BS_KEY_LEN);
	assert_memory_equal(keys[1].public_key, kv_active_pub, BS_KEY_LEN);
	assert_memory_equal(keys[1].key_id, kv_active_id, BS_ID_LEN);
	bs_keyset_clear(&ks);
}

/* Version 2: five kinds of slots, a label, a pending password, and version 1 beside it. */
static void
test_vector_2(void **state)
{
	static const uint8_t kinds[] = { BS_SLOT_PASSWORD, BS_SLOT_PASSWORD, BS_SLOT_RECOVERY, BS_SLOT_MEMBER, BS_SLOT_ESCROW };
	const uint8_t *seeds[] = { kv2_seed, kv2_pending_seed, kv2_code_seed, kv2_member_sec, kv2_escrow_sec };
	struct bs_ring_key keys[BS_RING_MAX];
	uint8_t seed[BS_KEY_LEN], amk[BS_KEY_LEN], again[sizeof(kv2_blob)];
	struct bs_keyset ks, kept;
	struct bs_code code;
	size_t n = 0, len = 0;
	unsigned group;

	(void)state;
	assert_int_equal(bs_keyset_parse(kv2_blob, sizeof(kv2_blob), &ks), BS_OK);
	assert_int_equal(ks.version, 2);
	assert_int_equal(bs_keyset_verify(&ks, kv_site_pub, KV_NAME), BS_OK);
	assert_int_equal(ks.slot_count, 5);
	for (size_t i = 0; i < ks.slot_count; i++) {
		assert_int_equal(ks.slots[i].kind, kinds[i]);
		assert_int_equal(ks.slots[i].created, 1700000800 + i);
		assert_int_equal(ks.slots[i].flags, i == 1 ? BS_SLOT_PENDING : 0);
		assert_int_equal(bs_keyset_unlock(&ks, i, seeds[i], amk, keys, BS_RING_MAX, &n), BS_OK);
		assert_memory_equal(amk, kv2_amk, BS_KEY_LEN);
	}
	assert_int_equal(n, 2);
	assert_memory_equal(keys[0].secret_key, kv_active_sec, BS_KEY_LEN);
	assert_int_equal(bs_code_read(KV2_CODE, strlen(KV2_CODE), &code, &group), BS_OK);
	assert_memory_equal(ks.slots[2].id, kv2_code_id, BS_ID_LEN);
	assert_int_equal(code.hint, bs_code_hint(ks.slots[2].id));
	assert_int_equal(bs_slot_seed(&ks.slots[2], code.secret, code.secret_len, seed), BS_OK);
	assert_memory_equal(seed, kv2_code_seed, BS_KEY_LEN);
	assert_string_equal(ks.slots[2].label, "in the safe");
	assert_string_equal(ks.slots[3].label, "bob@example.org");
	assert_string_equal(ks.slots[4].label, "Example Ltd, b\xc3\xbcro");
	assert_int_equal(bs_keyset_kept_count(&ks), 1);
	assert_int_equal(bs_keyset_kept(&ks, 0, &kept), BS_OK);
	assert_int_equal(bs_keyset_core_bytes(&kept, again, sizeof(again), &len), BS_OK);
	assert_int_equal(len, sizeof(kv_blob));
	assert_memory_equal(again, kv_blob, len);
	assert_int_equal(bs_keyset_unlock(&kept, 0, kv_seed, amk, keys, BS_RING_MAX, &n), BS_OK);
	bs_keyset_clear(&kept);
	assert_int_equal(bs_keyset_kept(&ks, 1, &kept), BS_ERR_NOENT);
	assert_int_equal(bs_keyset_bytes(&ks, again, sizeof(again), &len), BS_OK);
	assert_int_equal(len, sizeof(kv2_blob));
	assert_memory_equal(again, kv2_blob, len);
	bs_keyset_clear(&ks);
}

static void
test_subkey_vector(void **state)
{
	uint8_t key[BS_KEY_LEN];

	(void)state;
	assert_int_equal(bs_subkey(kv_amk, 1, kv_guid, 0, key), BS_OK);
	assert_memory_equal(key, kv_subkey_cache_0, BS_KEY_LEN);
	assert_int_equal(bs_subkey(kv_amk, 2, kv_guid, 5, key), BS_OK);
	assert_memory_equal(key, kv_subkey_search_5, BS_KEY_LEN);
}

/* --- what must work --- */

static void
test_next_generation_keeps_slots(void **state)
{
	struct account *ac = new_account("alice@example.org");
	uint8_t seed[BS_KEY_LEN];

	(void)state;
	assert_int_equal(login_account(ac), BS_OK);
	ac->rec.generation = 2;
	make_slot(ac, &ac->slots[1], seed);
	ac->slot_count = 2;
	write_blob(ac);
	assert_int_equal(login_account(ac), BS_OK);
	free(ac);
}

/* A new AMK for a slot whose secret is not known. */
static void
test_renew_slot(void **state)
{
	struct account *ac = new_account("alice@example.org");
	struct bs_slot before = ac->slots[0];
	uint8_t old_amk[BS_KEY_LEN], amk[BS_KEY_LEN];
	struct bs_keyset ks;

	(void)state;
	memcpy(old_amk, ac->amk, BS_KEY_LEN);
	bs_random(ac->amk, BS_KEY_LEN);
	ac->rec.generation = 2;
	assert_int_equal(bs_keyset_renew_slot(ac->rec.account_id, &ac->slots[0], 2, ac->amk), BS_OK);
	assert_memory_equal(before.id, ac->slots[0].id, BS_ID_LEN);
	write_blob(ac);
	assert_int_equal(login_account(ac), BS_OK);
	assert_int_equal(bs_keyset_parse(ac->blob, ac->blob_len, &ks), BS_OK);
	assert_int_equal(bs_keyset_open_slot(&ks, 0, ac->seed, amk), BS_OK);
	assert_memory_equal(amk, ac->amk, BS_KEY_LEN);
	assert_int_equal(bs_keyset_check(&ks, old_amk), BS_ERR_ROLLBACK);
	bs_keyset_clear(&ks);
	free(ac);
}

/* A keyset of version 1 is written again as version 2: every slot opens as before, by a secret that nobody gave. */
static void
test_version_1_becomes_2(void **state)
{
	uint8_t amk[BS_KEY_LEN], blob[8192];
	struct bs_ring_key keys[BS_RING_MAX];
	struct bs_keyset ks, next;
	struct bs_record rec;
	size_t n, len;

	(void)state;
	assert_int_equal(bs_keyset_parse(kv_blob, sizeof(kv_blob), &ks), BS_OK);
	assert_int_equal(bs_keyset_unlock(&ks, 0, kv_seed, amk, keys, BS_RING_MAX, &n), BS_OK);
	rec = ks.record;
	rec.generation++;
	assert_int_equal(bs_keyset_write(&(struct bs_keyset_parts){ .record = &rec, .slots = ks.slots, .slot_count = ks.slot_count,
	    .keys = keys, .key_count = n }, site_sec, amk, blob, sizeof(blob), &len), BS_OK);
	assert_int_equal(bs_keyset_parse(blob, len, &next), BS_OK);
	assert_int_equal(next.version, 2);
	assert_int_equal(next.slots[0].version, 2);
	assert_memory_equal(next.slots[1].id, ks.slots[1].id, BS_ID_LEN);
	assert_int_equal(bs_keyset_unlock(&next, 0, kv_seed, amk, keys, BS_RING_MAX, &n), BS_OK);
	assert_int_equal(bs_keyset_unlock(&next, 1, kv_code_seed, amk, keys, BS_RING_MAX, &n), BS_OK);
	bs_keyset_clear(&next);
	bs_keyset_clear(&ks);
}

/* Nine keysets after each other: eight may lie beside one, the newest first; a dropped one is gone alone. */
static void
test_kept(void **state)
{
	struct account *ac = new_account("alice@example.org");
	struct bs_keyset ks, kept;
	uint8_t *section = NULL, *blob = malloc(BS_KEYSET_MAX);
	size_t len = 0;

	(void)state;
	assert_non_null(blob);
	memcpy(blob, ac->blob, ac->blob_len);
	len = ac->blob_len;
	for (size_t i = 0; i <= BS_KEPT_MAX; i++) {
		struct bs_keyset_parts parts = { .record = &ac->rec, .slots = ac->slots, .slot_count = 1, .keys = ac->keys, .key_count = 2 };

		assert_int_equal(bs_keyset_parse(blob, len, &ks), BS_OK);
		assert_int_equal(bs_keyset_kept_count(&ks), i);
		assert_int_equal(bs_keyset_keep(&ks, &section, &parts.kept_len), i < BS_KEPT_MAX ? BS_OK : BS_ERR_LIMIT);
		if (i == BS_KEPT_MAX)
			break;
		bs_keyset_clear(&ks);
		parts.kept = section;
		ac->rec.generation++;
		assert_int_equal(bs_keyset_write(&parts, site_sec, ac->amk, blob, BS_KEYSET_MAX, &len), BS_OK);
		free(section);
		assert_int_equal(login(blob, len, site_pub, ac->rec.name, ac->seed), BS_OK);
	}
	for (size_t i = 0; i < BS_KEPT_MAX; i++) {
		assert_int_equal(bs_keyset_kept(&ks, i, &kept), BS_OK);
		assert_int_equal(kept.record.generation, BS_KEPT_MAX - i);
		assert_int_equal(kept.kept_len, 0);
		bs_keyset_clear(&kept);
	}
	assert_int_equal(bs_keyset_kept_drop(&ks, 2, &section, &len), BS_OK);
	free(ks.kept);
	ks.kept = section;
	ks.kept_len = len;
	assert_int_equal(bs_keyset_kept_count(&ks), BS_KEPT_MAX - 1);
	assert_int_equal(bs_keyset_kept(&ks, 2, &kept), BS_OK);
	assert_int_equal(kept.record.generation, BS_KEPT_MAX - 3);
	bs_keyset_clear(&kept);
	/* Another section than the one that the manifest knows. */
	assert_int_equal(bs_keyset_bytes(&ks, blob, BS_KEYSET_MAX, &len), BS_OK);
	bs_keyset_clear(&ks);
	assert_int_equal(bs_keyset_parse(blob, len, &ks), BS_ERR_AUTH);
	free(blob);
	free(ac);
}

/* A keyset of some generation that keeps what ks does; *out is to be cleared. */
static void
next_of(struct account *ac, const struct bs_keyset *ks, uint64_t generation, bool keeps_itself, struct bs_keyset *out)
{
	struct bs_keyset_parts parts = { .record = &ac->rec, .slots = ac->slots, .slot_count = 1, .keys = ac->keys, .key_count = 2,
		.kept = ks->kept, .kept_len = ks->kept_len };
	uint8_t *section = NULL, *blob = malloc(BS_KEYSET_MAX);
	size_t len;

	assert_non_null(blob);
	ac->rec.generation = generation;
	if (keeps_itself) {
		assert_int_equal(bs_keyset_keep(ks, &section, &parts.kept_len), BS_OK);
		parts.kept = section;
	}
	assert_int_equal(bs_keyset_write(&parts, site_sec, ac->amk, blob, BS_KEYSET_MAX, &len), BS_OK);
	assert_int_equal(bs_keyset_parse(blob, len, out), BS_OK);
	free(section);
	free(blob);
}

/* Two lines that have one keyset in common: it is kept once, the other line's newest comes first, none is lost. */
static void
test_kept_add(void **state)
{
	static const uint64_t expected[] = { 5, 4, 3, 1 };
	struct account *ac = new_account("alice@example.org");
	struct bs_keyset first, ours, theirs, between, kept;
	uint8_t *section, *again;
	size_t len = 0, again_len = 0;

	(void)state;
	assert_int_equal(bs_keyset_parse(ac->blob, ac->blob_len, &first), BS_OK);
	next_of(ac, &first, 3, true, &ours);
	next_of(ac, &ours, 6, true, &between); /* keeps 3 and 1 */
	bs_keyset_clear(&ours);
	ours = between;
	next_of(ac, &first, 4, true, &between);
	next_of(ac, &between, 5, true, &theirs); /* keeps 4 and 1 */
	bs_keyset_clear(&between);
	assert_int_equal(bs_keyset_kept_add(&ours, &theirs, &section, &len), BS_OK);
	free(ours.kept);
	ours.kept = section;
	ours.kept_len = len;
	assert_int_equal(bs_keyset_kept_count(&ours), sizeof(expected) / sizeof(expected[0]));
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		assert_int_equal(bs_keyset_kept(&ours, i, &kept), BS_OK);
		assert_int_equal(kept.record.generation, expected[i]);
		bs_keyset_clear(&kept);
	}
	assert_true(bs_keyset_kept_has(&ours, ac->rec.key_id));
	assert_false(bs_keyset_kept_has(&ours, ac->rec.account_id));
	assert_false(bs_keyset_kept_has(&first, ac->rec.key_id));
	assert_int_equal(bs_keyset_kept_add(&ours, &theirs, &again, &again_len), BS_OK);
	assert_int_equal(again_len, len);
	free(again);
	bs_keyset_clear(&first);
	bs_keyset_clear(&ours);
	bs_keyset_clear(&theirs);
	free(ac);
}

/* One of the same generation with other bytes is not the one that is kept; what is in front of a damaged section can still be read. */
static void
test_kept_damaged(void **state)
{
	struct account *ac = new_account("alice@example.org");
	struct bs_keyset first, other, ours, core;
	uint8_t *bytes = malloc(BS_KEYSET_MAX);
	size_t len = 0, core_len = 0;

	(void)state;
	assert_non_null(bytes);
	assert_int_equal(bs_keyset_parse(ac->blob, ac->blob_len, &first), BS_OK);
	next_of(ac, &first, 3, true, &ours);
	assert_true(bs_keyset_kept_holds(&ours, &first));
	assert_false(bs_keyset_kept_holds(&first, &first));
	next_of(ac, &first, 2, false, &other); /* later, with the same keys */
	assert_true(bs_keyset_kept_holds(&ours, &other));
	first.sealed_ring[5] ^= 1;
	assert_false(bs_keyset_kept_holds(&ours, &first));

	assert_int_equal(bs_keyset_bytes(&ours, bytes, BS_KEYSET_MAX, &len), BS_OK);
	assert_int_equal(bs_keyset_core_bytes(&ours, bytes, BS_KEYSET_MAX, &core_len), BS_OK);
	bytes[len - 9] ^= 1;
	assert_int_equal(bs_keyset_parse(bytes, len, &core), BS_ERR_AUTH);
	assert_int_equal(bs_keyset_parse_without_kept(bytes, len, &core), BS_OK);
	assert_int_equal(bs_keyset_kept_count(&core), 0);
	assert_int_equal(bs_keyset_check(&core, ac->amk), BS_OK);
	bs_keyset_clear(&core);
	assert_int_equal(bs_keyset_parse_without_kept(bytes, core_len - 1, &core), BS_ERR_FORMAT);
	bs_keyset_clear(&first);
	bs_keyset_clear(&other);
	bs_keyset_clear(&ours);
	free(bytes);
	free(ac);
}

static void
test_largest(void **state)
{
	struct account *ac = new_account("alice@example.org");
	struct bs_slot *slots = calloc(BS_SLOTS_MAX + 1, sizeof(*slots));
	struct bs_ring_key keys[BS_RING_MAX + 1], opened[BS_RING_MAX];
	uint8_t *blob = malloc(BS_KEYSET_MAX);
	struct bs_keyset ks;
	size_t len, n;

	(void)state;
	assert_non_null(slots);
	assert_non_null(blob);
	memset(ac->slots[0].label, 'x', BS_SLOT_LABEL_MAX);
	assert_int_equal(bs_keyset_renew_slot(ac->rec.account_id, &ac->slots[0], 1, ac->amk), BS_OK);
	for (size_t i = 0; i <= BS_SLOTS_MAX; i++)
		slots[i] = ac->slots[0];
	for (size_t i = 0; i < BS_RING_MAX; i++)
		make_key(&keys[i], false);
	keys[BS_RING_MAX] = keys[0];
	keys[BS_RING_MAX - 1] = ac->keys[1];
	assert_int_equal(write_keyset(ac, slots, BS_SLOTS_MAX, keys, BS_RING_MAX, blob, BS_KEYSET_MAX, &len), BS_OK);
	assert_true(len < BS_KEYSET_MAX);
	assert_int_equal(login(blob, len, site_pub, ac->rec.name, ac->seed), BS_OK);
	assert_int_equal(bs_keyset_parse(blob, len, &ks), BS_OK);
	assert_int_equal(bs_keyset_open_ring(&ks, ac->amk, opened, BS_RING_MAX - 1, &n), BS_ERR_LIMIT);
	assert_int_equal(bs_keyset_open_slot(&ks, BS_SLOTS_MAX, ac->seed, blob), BS_ERR_NOENT);
	bs_keyset_clear(&ks);
	assert_int_equal(write_keyset(ac, slots, BS_SLOTS_MAX, keys, BS_RING_MAX, blob, len - 1, &n), BS_ERR_LIMIT);
	assert_int_equal(write_keyset(ac, slots, BS_SLOTS_MAX + 1, keys, BS_RING_MAX, blob, BS_KEYSET_MAX, &n), BS_ERR_LIMIT);
	assert_int_equal(write_keyset(ac, slots, 1, keys, BS_RING_MAX + 1, blob, BS_KEYSET_MAX, &n), BS_ERR_LIMIT);
	free(blob);
	free(slots);
	free(ac);
}

static void
test_write_refuses(void **state)
{
	struct account *ac = new_account("alice@example.org");
	uint8_t blob[8192];
	size_t len = 4711;

	(void)state;
#define WRITE(nslots, nkeys) write_keyset(ac, ac->slots, nslots, ac->keys, nkeys, blob, sizeof(blob), &len)
	assert_int_equal(WRITE(0, 2), BS_ERR_ARG);
	assert_int_equal(WRITE(1, 0), BS_ERR_ARG);
	assert_int_equal(WRITE(1, 1), BS_ERR_ARG); /* no active key */
	ac->keys[0].active = true;
	assert_int_equal(WRITE(1, 2), BS_ERR_ARG); /* two */
	ac->keys[1].active = false;
	assert_int_equal(WRITE(1, 2), BS_ERR_ARG); /* not the record's */
	ac->keys[0].active = false;
	ac->keys[1].active = true;
	ac->keys[0] = ac->keys[1];
	assert_int_equal(WRITE(1, 2), BS_ERR_ARG); /* the record's, but twice */
	make_key(&ac->keys[0], false);
	ac->keys[0].secret_key[5] ^= 1;
	assert_int_equal(WRITE(1, 2), BS_ERR_ARG); /* a secret that is not its public key's */
	ac->keys[0].secret_key[5] ^= 1;
	ac->slots[0].generation = 2;
	assert_int_equal(WRITE(1, 2), BS_ERR_FORMAT); /* a slot from the future */
	ac->slots[0].generation = 1;
	ac->slots[0].memory_kib = 8192;
	assert_int_equal(WRITE(1, 2), BS_ERR_FORMAT);
	ac->slots[0].kind = BS_SLOT_PASSWORD;
	assert_int_equal(WRITE(1, 2), BS_ERR_LIMIT); /* no passes */
	ac->slots[0].memory_kib = 8192, ac->slots[0].passes = 1;
	ac->slots[0].flags = 2;
	assert_int_equal(WRITE(1, 2), BS_ERR_VERSION);
	ac->slots[0].flags = BS_SLOT_PENDING;
	ac->slots[0].kind = BS_SLOT_APP; /* passwords alone are pending */
	ac->slots[0].memory_kib = ac->slots[0].passes = 0;
	assert_int_equal(WRITE(1, 2), BS_ERR_FORMAT);
	ac->slots[0].flags = 0;
	memcpy(ac->slots[0].label, "tab\t", 5);
	assert_int_equal(WRITE(1, 2), BS_ERR_FORMAT);
	ac->slots[0].kind = 77;
	ac->slots[0].label[0] = '\0';
	assert_int_equal(WRITE(1, 2), BS_ERR_VERSION);
	assert_int_equal(len, 4711);
#undef WRITE
	free(ac);
}

static void
test_seed_by_kind(void **state)
{
	struct bs_slot slot = { .kind = BS_SLOT_PASSWORD, .memory_kib = BS_ARGON2_MEMORY_KIB_MAX + 1, .passes = 1 };
	uint8_t seed[BS_KEY_LEN];

	(void)state;
	assert_int_equal(bs_slot_seed(&slot, "x", 1, seed), BS_ERR_LIMIT);
	slot.kind = BS_SLOT_MEMBER;
	assert_int_equal(bs_slot_seed(&slot, "x", 1, seed), BS_ERR_ARG);
	slot.kind = BS_SLOT_ESCROW;
	assert_int_equal(bs_slot_seed(&slot, "x", 1, seed), BS_ERR_ARG);
}

/* --- attacks --- */

static void
test_wrong_secret(void **state)
{
	struct account *ac = new_account("alice@example.org");

	(void)state;
	ac->seed[0] ^= 8; /* the lowest three bits do not count in X25519 */
	assert_int_equal(login_account(ac), BS_ERR_DENIED);
	free(ac);
}

static void
try_every_bit(const uint8_t *blob, size_t len, const uint8_t seed[BS_KEY_LEN])
{
	uint8_t bytes[sizeof(kv2_blob)];

	assert_true(len <= sizeof(bytes));
	assert_int_equal(login(blob, len, kv_site_pub, KV_NAME, seed), BS_OK);
	for (size_t bit = 0; bit < 8 * len; bit++) {
		memcpy(bytes, blob, len);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(login(bytes, len, kv_site_pub, KV_NAME, seed), BS_OK);
	}
}

static void
test_every_bit_counts(void **state)
{
	(void)state;
	try_every_bit(kv_blob, sizeof(kv_blob), kv_seed);
	try_every_bit(kv2_blob, sizeof(kv2_blob), kv2_seed);
}

/* In a block of exactly that length, so that ASan sees a byte too far. */
static void
try_every_length(const uint8_t *blob, size_t blob_len)
{
	struct bs_keyset ks = { .slot_count = 99 };

	for (size_t len = 0; len <= blob_len + 1; len++) {
		uint8_t *bytes = malloc(len + (len == 0));

		assert_non_null(bytes);
		memcpy(bytes, blob, len < blob_len ? len : blob_len);
		if (len > blob_len)
			bytes[len - 1] = 0;
		if (len != blob_len)
			assert_int_not_equal(bs_keyset_parse(bytes, len, &ks), BS_OK);
		free(bytes);
	}
	assert_int_equal(ks.slot_count, 99);
}

static void
test_every_truncation_and_one_byte_more(void **state)
{
	(void)state;
	try_every_length(kv_blob, sizeof(kv_blob));
	try_every_length(kv2_blob, sizeof(kv2_blob));
}

/* Mallory's own slot, whose secret he knows, in Alice's keyset. */
static void
test_foreign_slot(void **state)
{
	struct account *alice = new_account("alice@example.org"), *mallory = new_account("mallory@example.org");
	size_t len, at_a = slot_at(alice->blob, 0, &len), at_m = slot_at(mallory->blob, 0, &len);

	(void)state;
	memcpy(alice->blob + at_a, mallory->blob + at_m, len);
	assert_int_equal(login(alice->blob, alice->blob_len, site_pub, alice->rec.name, mallory->seed), BS_ERR_AUTH);
	free(alice);
	free(mallory);
}

/* What docs/FORMAT.keys.md says, written a second time: a keyset with one slot, that keeps none, gets the manifest that fits. */
static void
forge_manifest(uint8_t *blob, size_t len, const uint8_t amk[BS_KEY_LEN])
{
	uint8_t text[BS_ID_LEN + 8 + 2 + 4 * BS_HASH_LEN], digest[BS_HASH_LEN], key[BS_KEY_LEN];
	size_t record_len = (size_t)(blob[5] << 8 | blob[6]), slot_len, at = slot_at(blob, 0, &slot_len);
	const uint8_t *record = blob + 7, *ring = blob + at + slot_len + 4;
	struct bs_wr wr = bs_wr_init(text, sizeof(text));

	bs_wr_bytes(&wr, record + 26, BS_ID_LEN);
	bs_wr_bytes(&wr, record + 10, 8);
	bs_sha256(record, record_len, digest);
	bs_wr_bytes(&wr, digest, BS_HASH_LEN);
	bs_sha256(ring, (size_t)(blob + len - TAIL_LEN - ring), digest);
	bs_wr_bytes(&wr, digest, BS_HASH_LEN);
	bs_wr_u16(&wr, 1);
	bs_sha256(blob + at + 2, slot_len - 2, digest);
	bs_wr_bytes(&wr, digest, BS_HASH_LEN);
	bs_wr_bytes(&wr, blob + len - TAIL_LEN, BS_HASH_LEN);
	assert_false(wr.failed);
	assert_int_equal(bs_hkdf(amk, BS_KEY_LEN, record + 26, BS_ID_LEN, "basalt manifest v2", 18, key), BS_OK);
	assert_int_equal(bs_hmac(key, text, wr.len, blob + len - BS_HASH_LEN - 1), BS_OK);
}

/* Mallory makes a slot, a ring and a manifest of an AMK of his own around Alice's signed record. */
static void
test_forged_around_record(void **state)
{
	struct account *alice = new_account("alice@example.org"), *mallory = new_account("mallory@example.org");
	uint8_t forged[sizeof(alice->blob)];
	struct bs_keyset ks;
	size_t record_len = (size_t)(alice->blob[5] << 8 | alice->blob[6]), len;
	struct bs_wr wr = bs_wr_init(forged, sizeof(forged));
	size_t at;

	(void)state;
	/* He may even hold a site key of his own to write with; the account and the generation are Alice's. */
	memcpy(mallory->rec.account_id, alice->rec.account_id, BS_ID_LEN);
	(void)snprintf(mallory->rec.name, sizeof(mallory->rec.name), "%s", alice->rec.name);
	make_slot(mallory, &mallory->slots[0], mallory->seed);
	write_blob(mallory);
	at = 7 + (size_t)(mallory->blob[5] << 8 | mallory->blob[6]);
	bs_wr_bytes(&wr, alice->blob, 7 + record_len);
	bs_wr_bytes(&wr, mallory->blob + at, mallory->blob_len - at);
	len = wr.len;
	/* The slot opens; the manifest was made over another record. */
	assert_int_equal(login(forged, len, site_pub, alice->rec.name, mallory->seed), BS_ERR_ROLLBACK);
	/* So he makes that, too: it is under his own AMK. But his ring has not the private key of Alice's record. */
	forge_manifest(forged, len, mallory->amk);
	assert_int_equal(bs_keyset_parse(forged, len, &ks), BS_OK);
	assert_int_equal(bs_keyset_check(&ks, mallory->amk), BS_OK);
	bs_keyset_clear(&ks);
	assert_int_equal(login(forged, len, site_pub, alice->rec.name, mallory->seed), BS_ERR_AUTH);
	free(alice);
	free(mallory);
}

/* Alice changed a password that was stolen; the thief puts its slot back. */
static void
test_old_slot_comes_back(void **state)
{
	struct account *ac = new_account("alice@example.org");
	uint8_t old_slot[512], old_seed[BS_KEY_LEN];
	size_t len, at = slot_at(ac->blob, 0, &len);

	(void)state;
	assert_true(len <= sizeof(old_slot));
	memcpy(old_slot, ac->blob + at, len);
	memcpy(old_seed, ac->seed, BS_KEY_LEN);
	ac->rec.generation = 2;
	make_slot(ac, &ac->slots[0], ac->seed);
	write_blob(ac);
	assert_int_equal(login_account(ac), BS_OK);
	assert_int_equal(login(ac->blob, ac->blob_len, site_pub, ac->rec.name, old_seed), BS_ERR_DENIED);
	memcpy(ac->blob + at, old_slot, len);
	assert_int_equal(login(ac->blob, ac->blob_len, site_pub, ac->rec.name, old_seed), BS_ERR_ROLLBACK);
	free(ac);
}

static void
test_slots_of_one_keyset_swapped(void **state)
{
	struct account *ac = new_account("alice@example.org");
	uint8_t swapped[512], second[BS_KEY_LEN];
	size_t len, at, at2;

	(void)state;
	make_slot(ac, &ac->slots[1], second);
	ac->slot_count = 2;
	write_blob(ac);
	at = slot_at(ac->blob, 0, &len);
	at2 = slot_at(ac->blob, 1, &len);
	memcpy(swapped, ac->blob + at, len);
	memcpy(ac->blob + at, ac->blob + at2, len);
	memcpy(ac->blob + at2, swapped, len);
	assert_int_equal(login(ac->blob, ac->blob_len, site_pub, ac->rec.name, second), BS_ERR_ROLLBACK);
	free(ac);
}

/* A slot taken away (of a member, say, or the escrow). */
static void
test_slot_removed(void **state)
{
	struct account *ac = new_account("alice@example.org");
	uint8_t second[BS_KEY_LEN];
	size_t len, at;

	(void)state;
	make_slot(ac, &ac->slots[1], second);
	ac->slot_count = 2;
	write_blob(ac);
	at = slot_at(ac->blob, 1, &len);
	memmove(ac->blob + at, ac->blob + at + len, ac->blob_len - at - len);
	ac->blob_len -= len;
	ac->blob[slot_at(ac->blob, 0, &len) - 1] = 1;
	assert_int_equal(login_account(ac), BS_ERR_ROLLBACK);
	free(ac);
}

/* The parts of two generations of one account, in all mixtures. */
static void
test_mixed_generations(void **state)
{
	struct account *ac = new_account("alice@example.org");
	uint8_t old[sizeof(ac->blob)], mixed[sizeof(ac->blob)];
	size_t old_len = ac->blob_len, slot_len, at, ring_at;

	(void)state;
	memcpy(old, ac->blob, sizeof(old));
	ac->rec.generation = 2;
	write_blob(ac); /* the same slot, keys and AMK */
	assert_int_equal(ac->blob_len, old_len);
	at = slot_at(ac->blob, 0, &slot_len);
	ring_at = at + slot_len;
	memcpy(mixed, ac->blob, old_len); /* older record */
	memcpy(mixed + 7, old + 7, at - 2 - 7);
	assert_int_equal(login(mixed, old_len, site_pub, ac->rec.name, ac->seed), BS_ERR_ROLLBACK);
	memcpy(mixed, ac->blob, old_len); /* older ring */
	memcpy(mixed + ring_at, old + ring_at, old_len - ring_at - TAIL_LEN);
	assert_int_equal(login(mixed, old_len, site_pub, ac->rec.name, ac->seed), BS_ERR_ROLLBACK);
	memcpy(mixed, ac->blob, old_len); /* older manifest */
	memcpy(mixed + old_len - TAIL_LEN, old + old_len - TAIL_LEN, TAIL_LEN);
	assert_int_equal(login(mixed, old_len, site_pub, ac->rec.name, ac->seed), BS_ERR_ROLLBACK);
	memcpy(mixed, ac->blob, old_len); /* all but the record */
	memcpy(mixed + at, old + at, old_len - at);
	assert_int_equal(login(mixed, old_len, site_pub, ac->rec.name, ac->seed), BS_ERR_ROLLBACK);
	free(ac);
}

/* The ring alone, for the case that somebody forgets bs_keyset_check(). */
static void
test_ring_is_bound(void **state)
{
	struct account *ac = new_account("alice@example.org");
	struct bs_ring_key keys[BS_RING_MAX];
	struct bs_keyset ks;
	size_t n = 77;

	(void)state;
	assert_int_equal(bs_keyset_parse(ac->blob, ac->blob_len, &ks), BS_OK);
	ks.record.generation++;
	assert_int_equal(bs_keyset_open_ring(&ks, ac->amk, keys, BS_RING_MAX, &n), BS_ERR_AUTH);
	ks.record.generation--;
	ks.record.account_id[0] ^= 1;
	assert_int_equal(bs_keyset_open_ring(&ks, ac->amk, keys, BS_RING_MAX, &n), BS_ERR_AUTH);
	ks.record.account_id[0] ^= 1;
	ks.record.public_key[0] ^= 1;
	assert_int_equal(bs_keyset_open_ring(&ks, ac->amk, keys, BS_RING_MAX, &n), BS_ERR_AUTH);
	ks.record.public_key[0] ^= 1;
	ac->amk[0] ^= 1;
	assert_int_equal(bs_keyset_open_ring(&ks, ac->amk, keys, BS_RING_MAX, &n), BS_ERR_AUTH);
	assert_int_equal(n, 77);
	bs_keyset_clear(&ks);
	free(ac);
}

/* Numbers that a hostile database would like us to believe. */
static void
test_hostile_numbers(void **state)
{
	size_t len, at = slot_at(kv_blob, 0, &len), ring_at = at + 2 * len;
	const struct { size_t at; uint8_t bytes[4]; size_t n; enum bs_err err; } cases[] = {
		{ 0, { 'X' }, 1, BS_ERR_FORMAT },                          /* magic */
		{ 4, { 0 }, 1, BS_ERR_VERSION },                           /* version */
		{ 4, { 3 }, 1, BS_ERR_VERSION },
		{ 4, { 2 }, 1, BS_ERR_FORMAT },                            /* that is longer */
		{ 5, { 0xff, 0xff }, 2, BS_ERR_FORMAT },                   /* record length */
		{ at - 2, { 0, 0 }, 2, BS_ERR_FORMAT },                    /* no slots */
		{ at - 2, { 0x03, 0xe8 }, 2, BS_ERR_FORMAT },              /* 1000 slots in 700 bytes */
		{ at - 2, { 0x03, 0xe9 }, 2, BS_ERR_LIMIT },               /* 1001 */
		{ at, { 0, 161 }, 2, BS_ERR_FORMAT },                      /* a slot one byte short */
		{ at + 2 + 16, { 0 }, 1, BS_ERR_VERSION },                 /* kind */
		{ at + 2 + 17, { 9 }, 1, BS_ERR_VERSION },                 /* suite */
		{ at + 2 + 18, { 0xff }, 1, BS_ERR_FORMAT },               /* generation */
		{ at + 2 + 26, { 0xff, 0xff, 0xff, 0xff }, 4, BS_ERR_LIMIT }, /* memory */
		{ at + 2 + 26, { 0, 0, 0, 1 }, 4, BS_ERR_LIMIT },
		{ at + 2 + 30, { 0xff, 0xff, 0xff, 0xff }, 4, BS_ERR_LIMIT }, /* passes */
		{ at + 2 + 30, { 0, 0, 0, 0 }, 4, BS_ERR_LIMIT },
		{ ring_at, { 0xff, 0xff, 0xff, 0xff }, 4, BS_ERR_FORMAT }, /* ring length */
		{ ring_at, { 0, 0, 0, 0 }, 4, BS_ERR_FORMAT },
	};
	uint8_t bytes[sizeof(kv_blob)];
	struct bs_keyset ks;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memcpy(bytes, kv_blob, sizeof(bytes));
		memcpy(bytes + cases[i].at, cases[i].bytes, cases[i].n);
		assert_int_equal(bs_keyset_parse(bytes, sizeof(bytes), &ks), cases[i].err);
	}
}

static int
setup_group(void **state)
{
	(void)state;
	if (bs_crypto_init() != BS_OK)
		return -1;
	bs_sign_keypair(site_pub, site_sec);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vector),
		cmocka_unit_test(test_vector_2),
		cmocka_unit_test(test_subkey_vector),
		cmocka_unit_test(test_next_generation_keeps_slots),
		cmocka_unit_test(test_renew_slot),
		cmocka_unit_test(test_version_1_becomes_2),
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_kept_add),
		cmocka_unit_test(test_kept_damaged),
		cmocka_unit_test(test_largest),
		cmocka_unit_test(test_write_refuses),
		cmocka_unit_test(test_seed_by_kind),
		cmocka_unit_test(test_wrong_secret),
		cmocka_unit_test(test_every_bit_counts),
		cmocka_unit_test(test_every_truncation_and_one_byte_more),
		cmocka_unit_test(test_foreign_slot),
		cmocka_unit_test(test_forged_around_record),
		cmocka_unit_test(test_old_slot_comes_back),
		cmocka_unit_test(test_slots_of_one_keyset_swapped),
		cmocka_unit_test(test_slot_removed),
		cmocka_unit_test(test_mixed_generations),
		cmocka_unit_test(test_ring_is_bound),
		cmocka_unit_test(test_hostile_numbers),
	};

	return cmocka_run_group_tests_name("keyset", tests, setup_group, NULL);
}
