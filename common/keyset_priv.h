/*
 * keyset_priv: what keyset.c (bytes) and keyset_seal.c (keys) share; nobody else includes it.
 *
 *     len = bs_keyset_slot_bytes(&slot, bytes);   // as in the blob, without its length
 */
#ifndef BS_KEYSET_PRIV_H
#define BS_KEYSET_PRIV_H

#include "keyset.h"

/* Of a slot before its keys: what the sealed AMK is bound to. */
#define BS_SLOT_HEAD_V1_LEN (BS_ID_LEN + 2 + 8 + 4 + 4 + BS_SALT_LEN)
#define BS_SLOT_HEAD_MAX (BS_SLOT_HEAD_V1_LEN + 1 + 8 + 1 + BS_SLOT_LABEL_MAX)
#define BS_SLOT_KEYS_LEN (2 * BS_KEY_LEN + BS_SEALED_KEY_LEN)
#define BS_SLOT_LEN_MIN (BS_SLOT_HEAD_V1_LEN + BS_SLOT_KEYS_LEN)
#define BS_SLOT_LEN_MAX (BS_SLOT_HEAD_MAX + BS_SLOT_KEYS_LEN)
#define BS_KEYSET_VERSION 2 /* of what is written */

#define BS_RING_KEY_LEN (BS_ID_LEN + 8 + 1 + BS_KEY_LEN)
#define BS_RING_PLAIN_LEN(n) (1 + 2 + (size_t)(n) * BS_RING_KEY_LEN)
#define BS_RING_OVERHEAD (BS_XNONCE_LEN + BS_TAG_LEN)

/* The head of a slot, by its version; how long it is. */
size_t bs_keyset_slot_head(const struct bs_slot *slot, uint8_t out[BS_SLOT_HEAD_MAX]);
/* The bytes of a slot as they stand in the blob, without their length: what the manifest covers. */
size_t bs_keyset_slot_bytes(const struct bs_slot *slot, uint8_t out[BS_SLOT_LEN_MAX]);
/* Kind, flags, label, KDF bounds and generation. BS_ERR_VERSION, BS_ERR_LIMIT, BS_ERR_FORMAT. */
enum bs_err bs_keyset_slot_check(const struct bs_slot *slot, uint64_t keyset_generation) BS_MUST_USE;
/* The blob of ks, all of whose parts are ready; _core_ without the kept section. */
enum bs_err bs_keyset_core_bytes(const struct bs_keyset *ks, uint8_t *out, size_t out_size, size_t *out_len) BS_MUST_USE;
enum bs_err bs_keyset_bytes(const struct bs_keyset *ks, uint8_t *out, size_t out_size, size_t *out_len) BS_MUST_USE;

/* A keyset of the kept section: one without such a section of its own. */
enum bs_err bs_keyset_parse_core(const void *data, size_t len, struct bs_keyset *out) BS_MUST_USE;
/* Copies data as the kept section of ks: its form, and that kept_digest fits. */
enum bs_err bs_keyset_take_kept(struct bs_keyset *ks, const void *data, size_t len) BS_MUST_USE;

#endif
