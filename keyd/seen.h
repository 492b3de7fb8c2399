/*
 * seen: the newest generation of each account that this vault has seen since it started: a database that goes back to an
 * older one, or loses an account, is caught as long as the vault lives. (Beyond a restart the copy of the record in the
 * mail home does the same, in the Dovecot plugin.)
 *
 * A table of fixed size: 4 places a bucket, the oldest of a full bucket is overwritten. Names are kept as keyed hashes.
 * An account that was removed and enrolled again has another id and a later creation: that is no rollback. One thread.
 *
 *     err = seen_check(seen, &record);     // BS_ERR_ROLLBACK
 *     if (seen_knows(seen, name)) ...      // and yet the database has no row
 */
#ifndef KEYD_SEEN_H
#define KEYD_SEEN_H

#include "record.h"
#include "wire.h"

struct seen;

/* entries is rounded up to a power of two, 4 at least. */
struct seen *seen_new(size_t entries, const uint8_t key[BS_KEY_LEN]);
/* An empty one of the same size. */
struct seen *seen_new_like(const struct seen *seen, const uint8_t key[BS_KEY_LEN]);
void seen_free(struct seen *seen);
/* Compares, and remembers what is newer. */
enum bs_err seen_check(struct seen *seen, const struct bs_record *rec) BS_MUST_USE;
/* The generation that a record of this name must not be below; 0: none was seen. */
uint64_t seen_generation(const struct seen *seen, const char *name);
bool seen_knows(const struct seen *seen, const char *name);
/* The SHA-256 of a whole signed record whose signature was good, and whether it is this one: the same bytes need not be
 * verified again. _note changes nothing for a name that seen_check() has not taken. */
void seen_note_verified(struct seen *seen, const char *name, const uint8_t digest[BS_HASH_LEN]);
bool seen_is_verified(const struct seen *seen, const char *name, const uint8_t digest[BS_HASH_LEN]);
/* linger.h's: how long its keys stay. */
struct seen_linger {
	bool known;
	int64_t ms;
	int64_t next_ms; /* not to be asked for before; 0: never was */
};
/* Until the next seen_check(). NULL: a name that seen_check() has not taken. */
struct seen_linger *seen_linger(struct seen *seen, const char *name);
/* What is known, for another vault that hashes names with the same key: entries from place *at on, as many as fit; 0: none are
 * left. And back: false when the reader fails. */
#define SEEN_ENTRY_LEN (24 + BS_ID_LEN + BS_HASH_LEN + 17)
size_t seen_write(const struct seen *seen, size_t *at, struct bs_wr *wr);
bool seen_read(struct seen *seen, struct bs_rd *rd);
/* After an account was removed on purpose. */
void seen_forget(struct seen *seen, const char *name);

#endif
