/*
 * lastuse: when a slot last opened its account, as long as this vault lives: what tells a forgotten app password from one that a
 * telephone still uses. It is written nowhere: a login must not cost a write. One thread.
 *
 * A table of fixed size: 4 places a bucket, the one used longest ago is overwritten.
 *
 *     lastuse_note(uses, slot->id, seconds);
 *     seconds = lastuse_get(uses, slot->id);      // 0: not known
 */
#ifndef KEYD_LASTUSE_H
#define KEYD_LASTUSE_H

#include "record.h"
#include "wire.h"

struct lastuse;

/* entries is rounded up to a power of two, 4 at least. NULL: no memory. */
struct lastuse *lastuse_new(size_t entries);
void lastuse_free(struct lastuse *uses);
void lastuse_note(struct lastuse *uses, const uint8_t slot_id[BS_ID_LEN], uint64_t seconds);
/* What is known, for another vault: entries from place *at on, as many as fit; 0: none are left. And back: false when the reader
 * fails. */
#define LASTUSE_ENTRY_LEN (BS_ID_LEN + 8)
size_t lastuse_write(const struct lastuse *uses, size_t *at, struct bs_wr *wr);
bool lastuse_read(struct lastuse *uses, struct bs_rd *rd);
uint64_t lastuse_get(const struct lastuse *uses, const uint8_t slot_id[BS_ID_LEN]);

#endif
