/*
 * verdict_keyfile: the file of the keys that seal verdict headers (docs/FORMAT.verdict.md, "Keys"): read, changed, written.
 *
 *   ID HEX32 CREATED        one key a line: 16 hex digits, 64 hex digits, the second since 1970 from which it seals
 *
 * "#" begins a comment, a blank line counts for nothing. The file belongs to root or to who reads it; others may not read
 * it, and its group may not write it. Texts hold a NUL and no key. One thread.
 *
 *     err = bs_verdict_keyfile_read(path, file, errbuf, sizeof(errbuf));
 *     bs_verdict_keyfile_prune(file, now_s, lifetime_s);
 *     err = bs_verdict_keyfile_add(file, now_s + 600);
 *     err = bs_verdict_keyfile_write(path, file, false, -1, errbuf, sizeof(errbuf));
 */
#ifndef BS_VERDICT_KEYFILE_H
#define BS_VERDICT_KEYFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "crypto.h"

#define BS_VERDICT_KEY_ID_LEN 8
#define BS_VERDICT_KEYS_MAX 64
#define BS_VERDICT_LIFETIME_S (6 * 86400) /* Postfix's maximal_queue_lifetime of five days, and one more */
#define BS_VERDICT_START_IN_S 600 /* a new key waits so long for all nodes to get the file */

enum bs_verdict_key_state {
	BS_VERDICT_KEY_NEXT,    /* its time has not come */
	BS_VERDICT_KEY_WRITES,  /* seals */
	BS_VERDICT_KEY_READS,   /* opens what it sealed */
	BS_VERDICT_KEY_RETIRED, /* nothing that it sealed can be in a queue any more */
};

struct bs_verdict_key {
	uint8_t id[BS_VERDICT_KEY_ID_LEN];
	uint8_t key[BS_KEY_LEN];
	int64_t created_s;
};

/* Holds keys: lives in memory of bs_secret_new(). Sorted by created_s, the oldest first. */
struct bs_verdict_keyfile {
	struct bs_verdict_key keys[BS_VERDICT_KEYS_MAX];
	size_t n;
	struct stat st; /* as it was when it was read: owner, mode, which file */
};

/* BS_ERR_CONF: errbuf says what is wrong with it. */
enum bs_err bs_verdict_keyfile_read(const char *path, struct bs_verdict_keyfile *out, char *errbuf, size_t errbuf_size)
    BS_MUST_USE;
/* The same from memory, as a fuzzer calls it; out->st is left alone. */
enum bs_err bs_verdict_keyfile_parse(const char *text, size_t len, struct bs_verdict_keyfile *out, unsigned *bad_line) BS_MUST_USE;
/* A key opens until its successor has sealed for lifetime_s: what it sealed last may wait in a queue for so long. */
enum bs_verdict_key_state bs_verdict_keyfile_state(const struct bs_verdict_keyfile *file, size_t i, int64_t now_s,
    int64_t lifetime_s);
/* Removes retired keys; how many. */
size_t bs_verdict_keyfile_prune(struct bs_verdict_keyfile *file, int64_t now_s, int64_t lifetime_s);
/* A new random key that seals from start_s on. BS_ERR_LIMIT: there are too many. */
enum bs_err bs_verdict_keyfile_add(struct bs_verdict_keyfile *file, int64_t start_s) BS_MUST_USE;
/*
 * Writes path anew by way of PATH.new: after a crash it is the old file or the new one. fresh: it must not exist yet, and
 * group (-1: none) may read it; else owner, group and mode stay what they were. BS_ERR_EXISTS, BS_ERR_BUSY (another writes
 * it just now), BS_ERR_IO; errbuf says so.
 */
enum bs_err bs_verdict_keyfile_write(const char *path, const struct bs_verdict_keyfile *file, bool fresh, gid_t group,
    char *errbuf, size_t errbuf_size) BS_MUST_USE;

#endif
