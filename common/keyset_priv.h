/*
 * keyset_priv: what keyset.c (bytes) and keyset_seal.c (keys) share; nobody else includes it.
 *
 *     bs_keyset_slot_bytes(&slot, bytes);   // as in the blob, without its length
 */
#ifndef BS_KEYSET_PRIV_H
#define BS_KEYSET_PRIV_H

#include "keyset.h"

#define BS_SLOT_LEN (2 * BS_ID_LEN + 2 + 8 + 4 + 4 + 2 * BS_KEY_LEN + BS_SEALED_KEY_LEN)
_Static_assert(BS_SALT_LEN == BS_ID_LEN, "BS_SLOT_LEN counts the salt as an id");

#define BS_RING_KEY_LEN (BS_ID_LEN + 8 + 1 + BS_KEY_LEN)
#define BS_RING_PLAIN_LEN(n) (1 + 2 + (size_t)(n) * BS_RING_KEY_LEN)
#define BS_RING_OVERHEAD (BS_XNONCE_LEN + BS_TAG_LEN)

/* The bytes of a slot as they stand in the blob: what the manifest covers. */
void bs_keyset_slot_bytes(const struct bs_slot *slot, uint8_t out[BS_SLOT_LEN]);
/* Kind, KDF bounds and generation. BS_ERR_VERSION, BS_ERR_LIMIT, BS_ERR_FORMAT. */
enum bs_err bs_keyset_slot_check(const struct bs_slot *slot, uint64_t keyset_generation) BS_MUST_USE;
/* The blob of ks, all of whose parts are ready. */
enum bs_err bs_keyset_bytes(const struct bs_keyset *ks, uint8_t *out, size_t out_size, size_t *out_len) BS_MUST_USE;

#endif
