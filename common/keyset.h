/*
 * keyset: everything that is stored for one account's keys, as one versioned blob a generation (docs/FORMAT.keys.md):
 * the signed public record, the slots, the sealed ring, and the manifest that ties them together.
 *
 * One blob a generation makes every change one INSERT: nothing half-written can exist, two writers conflict on the
 * primary key, and the copy in the mail home is the same bytes. The AMK (account master key) seals the ring and
 * MACs the manifest (account, generation, record, ring, slots); each slot holds the AMK sealed to the X25519 key that
 * its secret derives. A slot from an old backup or of another account does not fit the manifest: BS_ERR_ROLLBACK.
 *
 * The caller owns everything; secrets are given in the caller's locked memory. One thread at a time.
 *
 * A login is right only when all four of verify, open_slot, check and open_ring succeed: whoever writes to the database
 * can make slots and manifests of an AMK of his own, but not a ring with the private key of the signed record.
 * What nothing here can see is a whole older blob: compare record.generation with what was seen before.
 *
 *     err = bs_keyset_parse(blob, blob_len, &ks);
 *     err = bs_keyset_verify(&ks, site_pub, "alice@example.org");
 *     err = bs_slot_seed(&ks.slots[i], password, password_len, seed);  // in a kdf worker
 *     err = bs_keyset_unlock(&ks, i, seed, amk, keys, BS_RING_MAX, &n);  // BS_ERR_DENIED: not this password
 */
#ifndef BS_KEYSET_H
#define BS_KEYSET_H

#include "record.h"

#define BS_KEYSET_MAX 262144 /* 256 KiB */
#define BS_SLOTS_MAX 1000
#define BS_RING_MAX 64

enum bs_slot_kind {
	BS_SLOT_PASSWORD = 1, /* Argon2id */
	BS_SLOT_APP = 2,      /* at least 128 random bits: HKDF */
	BS_SLOT_RECOVERY = 3, /* the same */
	BS_SLOT_MEMBER = 4,   /* sealed to a member's key */
	BS_SLOT_ESCROW = 5,   /* sealed to an organisation's offline key */
};

/* KDF parameters of a slot; memory and passes are 0 where the KDF is HKDF or there is none. */
struct bs_slot {
	uint8_t id[BS_ID_LEN];
	uint8_t kind;                       /* enum bs_slot_kind */
	uint64_t generation;                /* the keyset's generation that made it */
	uint32_t memory_kib;
	uint32_t passes;
	uint8_t salt[BS_SALT_LEN];
	uint8_t public_key[BS_KEY_LEN];
	uint8_t eph[BS_KEY_LEN];
	uint8_t sealed_amk[BS_SEALED_KEY_LEN];
};

struct bs_ring_key {
	uint8_t key_id[BS_ID_LEN];
	uint8_t public_key[BS_KEY_LEN];
	uint8_t secret_key[BS_KEY_LEN];
	uint64_t created;
	bool active;
};

struct bs_keyset {
	struct bs_record record; /* parsed, NOT verified: bs_keyset_verify() */
	uint8_t record_bytes[BS_RECORD_MAX];
	size_t record_len;
	struct bs_slot *slots;   /* owned; bs_keyset_clear() frees */
	size_t slot_count;
	uint8_t *sealed_ring;    /* owned; nonce and ciphertext */
	size_t sealed_ring_len;
	uint8_t manifest[BS_HASH_LEN];
};

/* Parses untrusted bytes; every length is bounded. out is untouched on failure; else bs_keyset_clear() it. */
enum bs_err bs_keyset_parse(const void *data, size_t len, struct bs_keyset *out) BS_MUST_USE;
void bs_keyset_clear(struct bs_keyset *ks);
/* Signature, name and key id of the record. */
enum bs_err bs_keyset_verify(const struct bs_keyset *ks, const uint8_t site_pub[BS_SIGN_PUB_LEN], const char *name) BS_MUST_USE;

/*
 * Tries seed (what the KDF made of the secret) on slot i. BS_ERR_DENIED: the derived public key is another.
 * BS_ERR_AUTH: it is the same, but the AMK does not open: a slot of another account, or altered.
 */
enum bs_err bs_keyset_open_slot(const struct bs_keyset *ks, size_t i, const uint8_t seed[BS_KEY_LEN],
    uint8_t amk[BS_KEY_LEN]) BS_MUST_USE;
/* What the KDF of the slot's kind makes of a secret. BS_ERR_ARG: member and escrow slots have no secret. */
enum bs_err bs_slot_seed(const struct bs_slot *slot, const void *secret, size_t secret_len,
    uint8_t seed[BS_KEY_LEN]) BS_MUST_USE;
/* The manifest under amk. BS_ERR_ROLLBACK when a slot, the record or the ring is not of this generation. */
enum bs_err bs_keyset_check(const struct bs_keyset *ks, const uint8_t amk[BS_KEY_LEN]) BS_MUST_USE;
/*
 * max of BS_RING_MAX always suffices. BS_ERR_AUTH: not sealed by amk for this account and generation, or the active key
 * is not the record's. keys are wiped, or were not touched, on failure.
 */
enum bs_err bs_keyset_open_ring(const struct bs_keyset *ks, const uint8_t amk[BS_KEY_LEN], struct bs_ring_key *keys,
    size_t max, size_t *count) BS_MUST_USE;

/*
 * The three above in one, which is what judges a password: each alone can be satisfied by a forger. amk and keys are
 * wiped, or were not touched, on failure.
 */
enum bs_err bs_keyset_unlock(const struct bs_keyset *ks, size_t i, const uint8_t seed[BS_KEY_LEN],
    uint8_t amk[BS_KEY_LEN], struct bs_ring_key *keys, size_t max, size_t *count) BS_MUST_USE;

/* --- making the next generation --- */

/* A slot for seed: fills id, public_key, eph, sealed_amk; kind, generation, parameters and salt are the caller's. */
enum bs_err bs_keyset_make_slot(const uint8_t account_id[BS_ID_LEN], struct bs_slot *slot,
    const uint8_t seed[BS_KEY_LEN], const uint8_t amk[BS_KEY_LEN]) BS_MUST_USE;
/* Seals another amk to a slot whose secret nobody knows here; id, kind, parameters and public key stay. */
enum bs_err bs_keyset_renew_slot(const uint8_t account_id[BS_ID_LEN], struct bs_slot *slot, uint64_t generation,
    const uint8_t amk[BS_KEY_LEN]) BS_MUST_USE;
/*
 * Signs rec, seals the ring, MACs the manifest, writes the blob. out holds out_size; BS_ERR_LIMIT if that is too small
 * (BS_KEYSET_MAX always suffices). Exactly one key is active, and it is rec's; every slot was made for amk by
 * bs_keyset_make_slot() in this generation or an earlier one; else BS_ERR_ARG.
 */
enum bs_err bs_keyset_write(const struct bs_record *rec, const uint8_t site_sec[BS_SIGN_SEC_LEN],
    const struct bs_slot *slots, size_t slot_count, const struct bs_ring_key *keys, size_t key_count,
    const uint8_t amk[BS_KEY_LEN], uint8_t *out, size_t out_size, size_t *out_len) BS_MUST_USE;
/* KDF(AMK, purpose, mailbox GUID, epoch): the subkeys that a mail process may have. */
enum bs_err bs_subkey(const uint8_t amk[BS_KEY_LEN], uint8_t purpose, const uint8_t mailbox_guid[16], uint64_t epoch,
    uint8_t out[BS_KEY_LEN]) BS_MUST_USE;

#endif
