/*
 * keyset: everything that is stored for one account's keys, as one versioned blob a generation (docs/FORMAT.keys.md):
 * the signed public record, the slots, the sealed ring, and the manifest that ties them together.
 *
 * One blob a generation makes every change one INSERT: nothing half-written can exist, two writers conflict on the
 * primary key, and the copy in the mail home is the same bytes. The AMK (account master key) seals the ring and
 * MACs the manifest (account, generation, record, ring, slots); each slot holds the AMK sealed to the X25519 key that
 * its secret derives. A slot from an old backup or of another account does not fit the manifest: BS_ERR_ROLLBACK.
 *
 * An account that was reset keeps its earlier keysets beside the new one, as they were, until their secret is found again.
 *
 * The caller owns everything; secrets are given in the caller's locked memory. One thread at a time.
 *
 * A login is right only when all four of verify, open_slot, check and open_ring succeed: whoever writes to the database
 * can make slots and manifests of an AMK of his own, but not a ring with the private key of the signed record.
 * What nothing here can see is a whole older blob: compare record.generation with what was seen before.
 *
 *     err = bs_keyset_parse(blob, blob_len, &ks);                   // version 1 or 2; what is written is version 2
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
#define BS_SLOT_LABEL_MAX 64 /* bytes of UTF-8 text */
#define BS_KEPT_MAX 8
#define BS_SLOT_PENDING 0x01u /* a new password that has not logged in yet: the old one's slot stays until it does */
#define BS_SLOT_FLAGS_KNOWN BS_SLOT_PENDING

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
	uint8_t version;                    /* 1 or 2: of the keyset that it was sealed in */
	uint8_t flags;                      /* BS_SLOT_PENDING */
	uint64_t generation;                /* the keyset's generation that made or renewed it */
	uint64_t created;                   /* seconds since 1970; 0 in version 1 */
	uint32_t memory_kib;
	uint32_t passes;
	uint8_t salt[BS_SALT_LEN];          /* of a member: the member's account id */
	char label[BS_SLOT_LABEL_MAX + 1];  /* what its owner calls it; of a member: the address; of escrow: the holder */
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
	uint8_t version;         /* of the bytes: 1 or 2 */
	struct bs_record record; /* parsed, NOT verified: bs_keyset_verify() */
	uint8_t record_bytes[BS_RECORD_MAX];
	size_t record_len;
	struct bs_slot *slots;   /* owned; bs_keyset_clear() frees */
	size_t slot_count;
	uint8_t *sealed_ring;    /* owned; nonce and ciphertext */
	size_t sealed_ring_len;
	uint8_t kept_digest[BS_HASH_LEN];
	uint8_t manifest[BS_HASH_LEN];
	uint8_t *kept;           /* owned: the section of earlier keysets, which kept_digest fits; bs_keyset_kept() reads it */
	size_t kept_len;
};

/* Parses untrusted bytes; every length is bounded. out is untouched on failure; else bs_keyset_clear() it. */
enum bs_err bs_keyset_parse(const void *data, size_t len, struct bs_keyset *out) BS_MUST_USE;
/* What is in front of the kept section, whatever that is: of a keyset that bs_keyset_parse() refuses. Nothing is kept by it. */
enum bs_err bs_keyset_parse_without_kept(const void *data, size_t len, struct bs_keyset *out) BS_MUST_USE;
void bs_keyset_clear(struct bs_keyset *ks);
/* How many earlier keysets lie beside this one, and the i-th, 0 the newest: parsed, as little verified as any other. */
size_t bs_keyset_kept_count(const struct bs_keyset *ks);
enum bs_err bs_keyset_kept(const struct bs_keyset *ks, size_t i, struct bs_keyset *out) BS_MUST_USE;
/* Keys in its ring and in those of the earlier ones: what a ring has to hold once all of them are healed. */
size_t bs_keyset_key_count(const struct bs_keyset *ks);
/*
 * The section that keeps ks itself, and what ks keeps, for bs_keyset_write(); or (drop) what ks keeps without the i-th.
 * *out is malloced. BS_ERR_LIMIT: more than BS_KEPT_MAX.
 */
enum bs_err bs_keyset_keep(const struct bs_keyset *ks, uint8_t **out, size_t *out_len) BS_MUST_USE;
enum bs_err bs_keyset_kept_drop(const struct bs_keyset *ks, size_t i, uint8_t **out, size_t *out_len) BS_MUST_USE;
/* The section with which ks keeps another one beside what it keeps, and what the other keeps; the same bytes once. */
enum bs_err bs_keyset_kept_add(const struct bs_keyset *ks, const struct bs_keyset *other, uint8_t **out, size_t *out_len) BS_MUST_USE;
/* Does ks keep other, or one of other generations with its active key? Of two that differ in one generation one is damaged: they do not stand for each other. */
bool bs_keyset_kept_holds(const struct bs_keyset *ks, const struct bs_keyset *other);
/* Is it the active key of a keyset that ks keeps? */
bool bs_keyset_kept_has(const struct bs_keyset *ks, const uint8_t key_id[BS_ID_LEN]);
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

/*
 * A slot for seed: fills version, public_key, eph, sealed_amk, and id if that is all zero; the rest is the caller's.
 * _for: one that is sealed to a public key, a member's or an organisation's. BS_ERR_AUTH: that is a weak point.
 */
enum bs_err bs_keyset_make_slot(const uint8_t account_id[BS_ID_LEN], struct bs_slot *slot,
    const uint8_t seed[BS_KEY_LEN], const uint8_t amk[BS_KEY_LEN]) BS_MUST_USE;
enum bs_err bs_keyset_make_slot_for(const uint8_t account_id[BS_ID_LEN], struct bs_slot *slot,
    const uint8_t public_key[BS_KEY_LEN], const uint8_t amk[BS_KEY_LEN]) BS_MUST_USE;
/* Seals another amk to a slot whose secret nobody knows here, or what the caller changed; id and public key stay. */
enum bs_err bs_keyset_renew_slot(const uint8_t account_id[BS_ID_LEN], struct bs_slot *slot, uint64_t generation,
    const uint8_t amk[BS_KEY_LEN]) BS_MUST_USE;

/* All that a generation consists of; borrowed. */
struct bs_keyset_parts {
	const struct bs_record *record;
	const struct bs_slot *slots;
	size_t slot_count;
	const struct bs_ring_key *keys;
	size_t key_count;
	const uint8_t *kept; /* what bs_keyset_keep() or another keyset's kept holds; NULL: nothing */
	size_t kept_len;
};

/*
 * Signs the record, seals the ring, MACs the manifest, writes the blob. out holds out_size; BS_ERR_LIMIT if that is too
 * small (BS_KEYSET_MAX suffices but for kept keysets). Exactly one key is active, and it is the record's; every slot was
 * made for amk in this generation or an earlier one (those of version 1 are sealed anew); else BS_ERR_ARG.
 */
enum bs_err bs_keyset_write(const struct bs_keyset_parts *parts, const uint8_t site_sec[BS_SIGN_SEC_LEN],
    const uint8_t amk[BS_KEY_LEN], uint8_t *out, size_t out_size, size_t *out_len) BS_MUST_USE;
/* KDF(AMK, purpose, mailbox GUID, epoch): the subkeys that a mail process may have. */
enum bs_err bs_subkey(const uint8_t amk[BS_KEY_LEN], uint8_t purpose, const uint8_t mailbox_guid[16], uint64_t epoch,
    uint8_t out[BS_KEY_LEN]) BS_MUST_USE;

#endif
