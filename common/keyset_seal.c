#include "keyset_priv.h"

#include <stdlib.h>
#include <string.h>

#include "wire.h"

#define SLOT_LABEL_V1 "basalt slot v1"
#define SLOT_LABEL_V2 "basalt slot v2"
#define SECRET_LABEL "basalt slot secret v1"
#define RING_LABEL "basalt ring v1"
#define MANIFEST_LABEL_V1 "basalt manifest v1"
#define MANIFEST_LABEL_V2 "basalt manifest v2"
#define SUBKEY_LABEL "basalt subkey v1"
#define LABEL_LEN(label) (sizeof(label) - 1)

#define RING_VERSION 1
#define SLOT_FIELDS_MAX (BS_ID_LEN + BS_SLOT_HEAD_MAX)
#define RING_AAD_LEN (BS_ID_LEN + 8)
#define MANIFEST_MAX (BS_ID_LEN + 8 + 2 + 4 * BS_HASH_LEN)

/* --- slots --- */

enum bs_err
bs_slot_seed(const struct bs_slot *slot, const void *secret, size_t secret_len, uint8_t seed[BS_KEY_LEN])
{
	switch (slot->kind) {
	case BS_SLOT_PASSWORD:
		return bs_argon2id(secret, secret_len, slot->salt, slot->memory_kib, slot->passes, seed);
	case BS_SLOT_APP:
	case BS_SLOT_RECOVERY:
		return bs_hkdf(secret, secret_len, slot->salt, BS_SALT_LEN, SECRET_LABEL, LABEL_LEN(SECRET_LABEL), seed);
	default:
		return BS_ERR_ARG; /* no secret: sealed to somebody's key */
	}
}

/* What the sealed AMK is bound to: all of the slot but its keys, and whose it is. */
static size_t
slot_fields(const uint8_t account_id[BS_ID_LEN], const struct bs_slot *slot, uint8_t out[SLOT_FIELDS_MAX])
{
	memcpy(out, account_id, BS_ID_LEN);
	return BS_ID_LEN + bs_keyset_slot_head(slot, out + BS_ID_LEN);
}

static const char *
slot_label(const struct bs_slot *slot)
{
	return slot->version == 1 ? SLOT_LABEL_V1 : SLOT_LABEL_V2;
}

enum bs_err
bs_keyset_open_slot(const struct bs_keyset *ks, size_t i, const uint8_t seed[BS_KEY_LEN], uint8_t amk[BS_KEY_LEN])
{
	uint8_t fields[SLOT_FIELDS_MAX], pub[BS_KEY_LEN];
	const struct bs_slot *slot;
	size_t len;

	if (i >= ks->slot_count)
		return BS_ERR_NOENT;
	slot = &ks->slots[i];
	bs_x25519_public(seed, pub);
	if (!bs_equal(pub, slot->public_key, BS_KEY_LEN))
		return BS_ERR_DENIED;
	len = slot_fields(ks->record.account_id, slot, fields);
	return bs_kem_open(seed, pub, slot->id, slot_label(slot), fields, len, slot->eph, slot->sealed_amk, amk);
}

/* Seals amk to the slot's public key and sets what changes by it. */
static enum bs_err
seal_slot(const uint8_t account_id[BS_ID_LEN], struct bs_slot *slot, const uint8_t amk[BS_KEY_LEN])
{
	uint8_t fields[SLOT_FIELDS_MAX];
	enum bs_err err = bs_keyset_slot_check(slot, slot->generation);

	if (err != BS_OK)
		return err;
	slot->version = BS_KEYSET_VERSION;
	return bs_kem_seal(slot->public_key, slot->id, slot_label(slot), fields, slot_fields(account_id, slot, fields), amk,
	    slot->eph, slot->sealed_amk);
}

enum bs_err
bs_keyset_make_slot_for(const uint8_t account_id[BS_ID_LEN], struct bs_slot *slot, const uint8_t public_key[BS_KEY_LEN],
    const uint8_t amk[BS_KEY_LEN])
{
	static const uint8_t no_id[BS_ID_LEN];
	struct bs_slot made = *slot;
	enum bs_err err;

	if (memcmp(made.id, no_id, BS_ID_LEN) == 0)
		bs_random(made.id, BS_ID_LEN);
	memcpy(made.public_key, public_key, BS_KEY_LEN);
	err = seal_slot(account_id, &made, amk);
	if (err == BS_OK)
		*slot = made;
	return err;
}

enum bs_err
bs_keyset_make_slot(const uint8_t account_id[BS_ID_LEN], struct bs_slot *slot, const uint8_t seed[BS_KEY_LEN],
    const uint8_t amk[BS_KEY_LEN])
{
	uint8_t pub[BS_KEY_LEN];

	bs_x25519_public(seed, pub);
	return bs_keyset_make_slot_for(account_id, slot, pub, amk);
}

enum bs_err
bs_keyset_renew_slot(const uint8_t account_id[BS_ID_LEN], struct bs_slot *slot, uint64_t generation,
    const uint8_t amk[BS_KEY_LEN])
{
	struct bs_slot made = *slot;
	enum bs_err err;

	made.generation = generation;
	err = seal_slot(account_id, &made, amk);
	if (err == BS_OK)
		*slot = made;
	return err;
}

/* --- the ring --- */

static void
ring_aad(const struct bs_record *rec, uint8_t out[RING_AAD_LEN])
{
	struct bs_wr wr = bs_wr_init(out, RING_AAD_LEN);

	bs_wr_bytes(&wr, rec->account_id, BS_ID_LEN);
	bs_wr_u64(&wr, rec->generation);
}

/* The key of the ring or of the manifest. */
static enum bs_err
amk_key(const uint8_t amk[BS_KEY_LEN], const struct bs_record *rec, const char *label, uint8_t out[BS_KEY_LEN])
{
	return bs_hkdf(amk, BS_KEY_LEN, rec->account_id, BS_ID_LEN, label, strlen(label), out);
}

/* Every key is what its id says, exactly one is active, and that one is the record's. */
static bool
ring_fits(const struct bs_record *rec, const struct bs_ring_key *keys, size_t n)
{
	uint8_t pub[BS_KEY_LEN], key_id[BS_ID_LEN];
	size_t active = 0;

	for (size_t i = 0; i < n; i++) {
		bs_x25519_public(keys[i].secret_key, pub);
		bs_msg_key_id(BS_MSG_SUITE_X25519, pub, key_id);
		if (memcmp(pub, keys[i].public_key, BS_KEY_LEN) != 0 || memcmp(key_id, keys[i].key_id, BS_ID_LEN) != 0)
			return false;
		if (!keys[i].active)
			continue;
		active++;
		if (memcmp(pub, rec->public_key, BS_KEY_LEN) != 0 || memcmp(key_id, rec->key_id, BS_ID_LEN) != 0)
			return false;
	}
	return active == 1;
}

static void
write_ring(struct bs_wr *wr, const struct bs_ring_key *keys, size_t n)
{
	bs_wr_u8(wr, RING_VERSION);
	bs_wr_u16(wr, (uint16_t)n);
	for (size_t i = 0; i < n; i++) {
		bs_wr_bytes(wr, keys[i].key_id, BS_ID_LEN);
		bs_wr_u64(wr, keys[i].created);
		bs_wr_u8(wr, keys[i].active ? 1 : 0);
		bs_wr_bytes(wr, keys[i].secret_key, BS_KEY_LEN);
	}
}

/* Fills ks->sealed_ring from keys. */
static enum bs_err
seal_ring(struct bs_keyset *ks, const struct bs_ring_key *keys, size_t n, const uint8_t amk[BS_KEY_LEN])
{
	size_t plain_len = BS_RING_PLAIN_LEN(n);
	uint8_t key[BS_KEY_LEN], aad[RING_AAD_LEN];
	uint8_t *plain = bs_secret_new(plain_len);
	struct bs_wr wr = bs_wr_init(plain, plain_len);
	enum bs_err err = BS_ERR_NOMEM;

	ks->sealed_ring = malloc(BS_RING_OVERHEAD + plain_len);
	if (plain == NULL || ks->sealed_ring == NULL)
		goto out;
	ks->sealed_ring_len = BS_RING_OVERHEAD + plain_len;
	write_ring(&wr, keys, n);
	ring_aad(&ks->record, aad);
	bs_random(ks->sealed_ring, BS_XNONCE_LEN);
	err = amk_key(amk, &ks->record, RING_LABEL, key);
	if (err == BS_OK)
		err = bs_xchacha_seal(key, ks->sealed_ring, aad, sizeof(aad), plain, wr.len, ks->sealed_ring + BS_XNONCE_LEN);
	if (err == BS_OK && wr.failed)
		err = BS_ERR_INTERNAL;
out:
	bs_wipe(key, sizeof(key));
	bs_secret_free(plain);
	return err;
}

/* Authenticated bytes, but of a format: read with the same care. */
static enum bs_err
read_ring(const uint8_t *plain, size_t plain_len, struct bs_ring_key *keys, size_t max, size_t *count)
{
	struct bs_rd rd = bs_rd_init(plain, plain_len);
	uint8_t version = bs_rd_u8(&rd);
	size_t n = bs_rd_u16(&rd);

	if (!rd.failed && version != RING_VERSION)
		return BS_ERR_VERSION;
	if (rd.failed || n == 0 || BS_RING_PLAIN_LEN(n) != plain_len)
		return BS_ERR_FORMAT;
	if (n > max)
		return BS_ERR_LIMIT;
	for (size_t i = 0; i < n; i++) {
		memcpy(keys[i].key_id, bs_rd_bytes(&rd, BS_ID_LEN), BS_ID_LEN);
		keys[i].created = bs_rd_u64(&rd);
		keys[i].active = bs_rd_u8(&rd) != 0;
		memcpy(keys[i].secret_key, bs_rd_bytes(&rd, BS_KEY_LEN), BS_KEY_LEN);
		bs_x25519_public(keys[i].secret_key, keys[i].public_key);
	}
	*count = n;
	return BS_OK;
}

enum bs_err
bs_keyset_open_ring(const struct bs_keyset *ks, const uint8_t amk[BS_KEY_LEN], struct bs_ring_key *keys, size_t max,
    size_t *count)
{
	size_t plain_len = ks->sealed_ring_len - BS_RING_OVERHEAD, n = 0;
	uint8_t key[BS_KEY_LEN], aad[RING_AAD_LEN];
	uint8_t *plain = bs_secret_new(plain_len);
	enum bs_err err = BS_ERR_NOMEM;

	if (plain == NULL)
		goto out;
	ring_aad(&ks->record, aad);
	err = amk_key(amk, &ks->record, RING_LABEL, key);
	if (err == BS_OK)
		err = bs_xchacha_open(key, ks->sealed_ring, aad, sizeof(aad), ks->sealed_ring + BS_XNONCE_LEN,
		    ks->sealed_ring_len - BS_XNONCE_LEN, plain);
	if (err == BS_OK)
		err = read_ring(plain, plain_len, keys, max, &n);
	if (err == BS_OK && !ring_fits(&ks->record, keys, n)) {
		bs_wipe(keys, n * sizeof(*keys));
		err = BS_ERR_AUTH;
	}
	if (err == BS_OK)
		*count = n;
out:
	bs_wipe(key, sizeof(key));
	bs_secret_free(plain);
	return err;
}

/* --- the manifest --- */

static enum bs_err
make_manifest(const struct bs_keyset *ks, const uint8_t amk[BS_KEY_LEN], uint8_t out[BS_HASH_LEN])
{
	uint8_t key[BS_KEY_LEN], digest[BS_HASH_LEN], bytes[MANIFEST_MAX], slot[BS_SLOT_LEN_MAX];
	struct bs_wr wr = bs_wr_init(bytes, sizeof(bytes));
	struct bs_sha256 *hash = bs_sha256_new();
	enum bs_err err;

	if (hash == NULL)
		return BS_ERR_NOMEM;
	bs_wr_bytes(&wr, ks->record.account_id, BS_ID_LEN);
	bs_wr_u64(&wr, ks->record.generation);
	bs_sha256(ks->record_bytes, ks->record_len, digest);
	bs_wr_bytes(&wr, digest, BS_HASH_LEN);
	bs_sha256(ks->sealed_ring, ks->sealed_ring_len, digest);
	bs_wr_bytes(&wr, digest, BS_HASH_LEN);
	bs_wr_u16(&wr, (uint16_t)ks->slot_count);
	for (size_t i = 0; i < ks->slot_count; i++)
		bs_sha256_update(hash, slot, bs_keyset_slot_bytes(&ks->slots[i], slot));
	bs_sha256_final(hash, digest);
	bs_sha256_free(hash);
	bs_wr_bytes(&wr, digest, BS_HASH_LEN);
	if (ks->version > 1)
		bs_wr_bytes(&wr, ks->kept_digest, BS_HASH_LEN);
	err = amk_key(amk, &ks->record, ks->version == 1 ? MANIFEST_LABEL_V1 : MANIFEST_LABEL_V2, key);
	if (err == BS_OK)
		err = bs_hmac(key, bytes, wr.len, out);
	bs_wipe(key, sizeof(key));
	return err;
}

enum bs_err
bs_keyset_check(const struct bs_keyset *ks, const uint8_t amk[BS_KEY_LEN])
{
	uint8_t manifest[BS_HASH_LEN];
	enum bs_err err = make_manifest(ks, amk, manifest);

	if (err != BS_OK)
		return err;
	return bs_equal(manifest, ks->manifest, BS_HASH_LEN) ? BS_OK : BS_ERR_ROLLBACK;
}

enum bs_err
bs_keyset_unlock(const struct bs_keyset *ks, size_t i, const uint8_t seed[BS_KEY_LEN], uint8_t amk[BS_KEY_LEN],
    struct bs_ring_key *keys, size_t max, size_t *count)
{
	uint8_t opened[BS_KEY_LEN];
	enum bs_err err = bs_keyset_open_slot(ks, i, seed, opened);

	if (err == BS_OK)
		err = bs_keyset_check(ks, opened);
	if (err == BS_OK)
		err = bs_keyset_open_ring(ks, opened, keys, max, count);
	if (err == BS_OK)
		memcpy(amk, opened, BS_KEY_LEN);
	bs_wipe(opened, sizeof(opened));
	return err;
}

/* --- the next generation --- */

static enum bs_err
check_parts(const struct bs_keyset_parts *parts)
{
	enum bs_err err = BS_OK;

	if (parts->slot_count == 0 || parts->key_count == 0)
		return BS_ERR_ARG;
	if (parts->slot_count > BS_SLOTS_MAX || parts->key_count > BS_RING_MAX)
		return BS_ERR_LIMIT;
	for (size_t i = 0; err == BS_OK && i < parts->slot_count; i++)
		err = bs_keyset_slot_check(&parts->slots[i], parts->record->generation);
	if (err == BS_OK && !ring_fits(parts->record, parts->keys, parts->key_count))
		err = BS_ERR_ARG;
	return err;
}

/* Copies of the slots, those of an earlier version in today's form. */
static enum bs_err
take_slots(struct bs_keyset *ks, const struct bs_keyset_parts *parts, const uint8_t amk[BS_KEY_LEN])
{
	enum bs_err err = BS_OK;

	ks->slots = malloc(parts->slot_count * sizeof(*parts->slots));
	if (ks->slots == NULL)
		return BS_ERR_NOMEM;
	memcpy(ks->slots, parts->slots, parts->slot_count * sizeof(*parts->slots));
	ks->slot_count = parts->slot_count;
	for (size_t i = 0; err == BS_OK && i < ks->slot_count; i++)
		if (ks->slots[i].version != BS_KEYSET_VERSION)
			err = bs_keyset_renew_slot(ks->record.account_id, &ks->slots[i], ks->record.generation, amk);
	return err;
}

static enum bs_err
take_kept(struct bs_keyset *ks, const struct bs_keyset_parts *parts)
{
	static const uint8_t none[] = { 0 };
	const uint8_t *kept = parts->kept == NULL ? none : parts->kept;
	size_t len = parts->kept == NULL ? sizeof(none) : parts->kept_len;

	bs_sha256(kept, len, ks->kept_digest);
	return bs_keyset_take_kept(ks, kept, len);
}

enum bs_err
bs_keyset_write(const struct bs_keyset_parts *parts, const uint8_t site_sec[BS_SIGN_SEC_LEN],
    const uint8_t amk[BS_KEY_LEN], uint8_t *out, size_t out_size, size_t *out_len)
{
	struct bs_keyset ks = { .version = BS_KEYSET_VERSION, .record = *parts->record };
	enum bs_err err = check_parts(parts);

	if (err != BS_OK)
		return err;
	err = take_slots(&ks, parts, amk);
	if (err == BS_OK)
		err = take_kept(&ks, parts);
	if (err == BS_OK)
		err = bs_record_sign(parts->record, site_sec, ks.record_bytes, &ks.record_len);
	if (err == BS_OK)
		err = seal_ring(&ks, parts->keys, parts->key_count, amk);
	if (err == BS_OK)
		err = make_manifest(&ks, amk, ks.manifest);
	if (err == BS_OK)
		err = bs_keyset_bytes(&ks, out, out_size, out_len);
	bs_keyset_clear(&ks);
	return err;
}

enum bs_err
bs_subkey(const uint8_t amk[BS_KEY_LEN], uint8_t purpose, const uint8_t mailbox_guid[16], uint64_t epoch,
    uint8_t out[BS_KEY_LEN])
{
	uint8_t info[LABEL_LEN(SUBKEY_LABEL) + 1 + 8];
	struct bs_wr wr = bs_wr_init(info, sizeof(info));

	bs_wr_bytes(&wr, SUBKEY_LABEL, LABEL_LEN(SUBKEY_LABEL));
	bs_wr_u8(&wr, purpose);
	bs_wr_u64(&wr, epoch);
	return bs_hkdf(amk, BS_KEY_LEN, mailbox_guid, 16, info, wr.len, out);
}
