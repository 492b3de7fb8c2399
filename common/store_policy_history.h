/*
 * store_policy_history: what became of mail, kept for some days, for `basaltctl history`. No address is in it: accounts and senders are
 * keyed hashes (trace_key.h), so that only who has the key can ask, and only about an address that he names.
 *
 * Threads and errors: as the store's.
 *
 *     err = bs_history_add(store, rows, n);
 *     err = bs_history_list(store, account_hash, 100, fn, ctx);
 */
#ifndef BS_STORE_POLICY_HISTORY_H
#define BS_STORE_POLICY_HISTORY_H

#include "store_policy.h"

#define BS_HISTORY_ID_LEN 16
#define BS_HISTORY_WORD_MAX 16
#define BS_HISTORY_QUEUE_ID_MAX 64

struct bs_history_row {
	uint8_t account[BS_HISTORY_ID_LEN];
	uint8_t sender[BS_HISTORY_ID_LEN];
	uint8_t id[BS_HISTORY_ID_LEN]; /* random: two rows of one second */
	int64_t at;                    /* seconds since 1970 */
	char outcome[BS_HISTORY_WORD_MAX + 1]; /* "accept", "folder", "drop", "reject" ... */
	char by[BS_HISTORY_WORD_MAX + 1];      /* the check that decided, or "" */
	char reply[BS_HISTORY_WORD_MAX + 1];   /* "5.7.1", or "" */
	char queue_id[BS_HISTORY_QUEUE_ID_MAX + 1];
};

typedef enum bs_err (*bs_history_fn)(void *ctx, const struct bs_history_row *row);

/* All rows or none. */
enum bs_err bs_history_add(struct bs_store_policy *store, const struct bs_history_row *rows, size_t n) BS_MUST_USE;
/* The newest first, max of them. account NULL: of all. */
enum bs_err bs_history_list(struct bs_store_policy *store, const uint8_t *account, size_t max, bs_history_fn fn, void *ctx)
    BS_MUST_USE;
/* Removes what came before that second. */
enum bs_err bs_history_forget(struct bs_store_policy *store, int64_t before_s) BS_MUST_USE;

#endif
