/*
 * keyclient_slots: keyd's operations on slots and keys, for basaltctl and panels: the control socket's part of keyclient.h that
 * speaks of keysets.
 *
 * A "secret" is a password, recovery code or escrow key of the account, at most BS_PASSWORD_MAX bytes, borrowed. Errors
 * are keyd's or the connection's (keyclient.h). What bs_keyclient_slots() gives is what the database holds: keyd
 * has verified the record, nobody the slots; that happens when a secret opens them.
 *
 *     err = bs_keyclient_slots(kc, "alice@example.org", &list);
 *     err = bs_keyclient_add_slot(kc, "alice@example.org", password, BS_SLOT_RECOVERY, "", "", id, code);
 *     bs_slot_list_clear(&list);
 */
#ifndef BS_KEYCLIENT_SLOTS_H
#define BS_KEYCLIENT_SLOTS_H

#include "keyclient.h"
#include "keyset.h"
#include "secretcode.h"

struct bs_slot_info {
	uint8_t id[BS_ID_LEN];
	uint8_t kind, flags; /* enum bs_slot_kind, BS_SLOT_PENDING */
	uint64_t generation;
	uint64_t created, used; /* seconds since 1970; 0: not known, since keyd started */
	uint32_t memory_kib, passes;
	uint8_t public_key[BS_KEY_LEN];
	char label[BS_SLOT_LABEL_MAX + 1];
};

struct bs_slot_list {
	struct bs_record record; /* parsed */
	char escrow[BS_SLOT_LABEL_MAX + 1]; /* who holds the domain's escrow key as keyd is configured; empty: nobody */
	uint8_t escrow_key[BS_KEY_LEN];
	unsigned kept; /* earlier keysets that wait for their secret */
	struct bs_slot_info *slots; /* owned */
	size_t count;
};

enum bs_err bs_keyclient_slots(struct bs_keyclient *kc, const char *user, struct bs_slot_list *out) BS_MUST_USE;
void bs_slot_list_clear(struct bs_slot_list *list);
/* label and member may be empty. code holds BS_CODE_TEXT_SIZE: the new secret, empty where the kind has none. */
enum bs_err bs_keyclient_add_slot(struct bs_keyclient *kc, const char *user, const char *secret, enum bs_slot_kind kind,
    const char *label, const char *member, uint8_t id[BS_ID_LEN], char *code) BS_MUST_USE;
/* *rotated: there is a new active key, too. */
enum bs_err bs_keyclient_remove_slot(struct bs_keyclient *kc, const char *user, const char *secret,
    const uint8_t id[BS_ID_LEN], bool *rotated) BS_MUST_USE;
/* flags: BS_ROTATE_*. */
enum bs_err bs_keyclient_rotate(struct bs_keyclient *kc, const char *user, const char *secret, uint8_t flags) BS_MUST_USE;
/* flags: BS_CHANGE_*. */
enum bs_err bs_keyclient_change_password(struct bs_keyclient *kc, const char *user, const char *secret,
    const char *new_password, uint8_t flags, bool *rotated) BS_MUST_USE;
enum bs_err bs_keyclient_reset(struct bs_keyclient *kc, const char *user, const char *new_password) BS_MUST_USE;
/* *left: kept keysets that still wait. */
enum bs_err bs_keyclient_heal(struct bs_keyclient *kc, const char *user, const char *secret, const char *earlier,
    unsigned *left) BS_MUST_USE;
/* What came of it. */
struct bs_restored {
	uint64_t generation; /* that was written; 0: none, keyd saw lost, and BS_RESTORE_OLDER was not given */
	uint64_t lost;       /* what was changed up to this generation is in no keyset; 0: nothing is lost */
};
/* above: a generation that was seen elsewhere, which the restored one passes; 0: none. flags: BS_RESTORE_*. What the secret does not open may be kept
 * beside afterwards: bs_slot_list.kept. BS_ERR_PERM: keyd is older than this program. */
enum bs_err bs_keyclient_restore(struct bs_keyclient *kc, const char *user, const char *secret, uint64_t above, uint8_t flags,
    const void *keyset, size_t len, struct bs_restored *out) BS_MUST_USE;
/* The generation and the SHA-256 of what the database holds. */
enum bs_err bs_keyclient_keyset_digest(struct bs_keyclient *kc, const char *user, uint64_t *generation,
    uint8_t digest[BS_HASH_LEN]) BS_MUST_USE;
/* One of the account's X25519 keys; the active one is the record's. */
struct bs_key_info {
	uint8_t id[BS_ID_LEN];
	uint64_t created; /* seconds since 1970 */
	bool active;
};
/* out holds BS_RING_MAX. */
enum bs_err bs_keyclient_keys(struct bs_keyclient *kc, const char *user, const char *secret, struct bs_key_info *out,
    size_t *count) BS_MUST_USE;
enum bs_err bs_keyclient_drop_key(struct bs_keyclient *kc, const char *user, const char *secret,
    const uint8_t key_id[BS_ID_LEN]) BS_MUST_USE;

#endif
