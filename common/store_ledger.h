/*
 * store_ledger: rows of the policy database that many milters change at the same time: counters and the greylist.
 *
 * A row is found by a keyed hash. bs_ledger_update() reads rows, has decide() change them in memory, and writes what changed in
 * one transaction, each row only if nobody else changed it meanwhile: else BS_ERR_CONFLICT, nothing is written, and the caller
 * tries again. So every change rests on what was really there, on any engine and any number of nodes.
 * Errors are sql.h's. Threads: as the store's handle.
 *
 *     struct bs_ledger_row row = { .id = "..." };
 *     err = bs_ledger_update(store, &row, 1, add_one, &ctx);
 */
#ifndef BS_STORE_LEDGER_H
#define BS_STORE_LEDGER_H

#include "store_policy.h"

#define BS_LEDGER_ID_LEN 16

/* A row that is not there is all zeros but its id. */
struct bs_ledger_row {
	uint8_t id[BS_LEDGER_ID_LEN];
	int64_t since, n, earlier; /* what they mean is the caller's */
	int64_t expires;           /* seconds since 1970; 0: there is no such row */
};

/* Changes rows; expires must not be 0 where anything else changed. */
typedef void (*bs_ledger_fn)(void *ctx, struct bs_ledger_row *rows, size_t n);

/* Fills in the rows of these ids. */
enum bs_err bs_ledger_read(struct bs_store_policy *store, struct bs_ledger_row *rows, size_t n) BS_MUST_USE;
/*
 * Rows in order of their ids, each once: several milters take their locks in the same order then. On error decide() may
 * have run, and counts for nothing. A commit whose answer was lost may have happened.
 */
enum bs_err bs_ledger_update(struct bs_store_policy *store, struct bs_ledger_row *rows, size_t n, bs_ledger_fn decide,
    void *ctx) BS_MUST_USE;
/* Removes some rows that expired before now_s, max of them at the most; *gone: how many. */
enum bs_err bs_ledger_expire(struct bs_store_policy *store, int64_t now_s, size_t max, size_t *gone) BS_MUST_USE;

#endif
