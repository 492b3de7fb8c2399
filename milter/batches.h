/*
 * batches: rows that many sessions leave behind and the policy database gets later, many in one transaction: statistics and
 * history, never anything that a mail waits for.
 *
 * The queue is bounded; what finds it full, or a database that does not answer, is dropped and counted. A thread of its
 * own hands the rows to the pool, some seconds after the first at the most, and once an hour has the store forget what is
 * old. Rows are plain data of one size, copied. Any thread may add.
 *
 *     static const struct batches_kind kind = { .what = "history", .row_size = sizeof(struct bs_history_row), .write = ... };
 *     err = batches_new(pool, &kind, keep_s, &batches);
 *     batches_add(batches, &row);
 */
#ifndef MILTER_BATCHES_H
#define MILTER_BATCHES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool.h"

#define BATCHES_MS 3000 /* a row waits so long at the most, while the database answers */

struct batches;

struct batches_kind {
	const char *what; /* for the log: "history" */
	size_t row_size;
	size_t rows_max; /* that wait */
	size_t batch;    /* so many are written before their time */
	/* On a thread of the pool. */
	enum bs_err (*write)(void *ctx, struct bs_store_policy *store, const void *rows, size_t n);
	enum bs_err (*forget)(struct bs_store_policy *store, int64_t before_s); /* rows from before that second */
	/* May be NULL. True: row was added into one that waits, and needs no place. */
	bool (*merge)(void *waiting, const void *row);
	void *ctx; /* of write */
};

struct batches_counts {
	uint64_t added, written, dropped; /* calls of batches_add() */
};

/* kind and pool are borrowed. keep_s: how long rows are kept; 0: for ever. */
enum bs_err batches_new(struct pool *pool, const struct batches_kind *kind, int64_t keep_s, struct batches **out) BS_MUST_USE;
/* Writes what waits, at the end of the process: what is added later is lost. NULL is legal. */
void batches_stop(struct batches *batches);
/* After the last add; stops first. The pool must still run. NULL is legal. */
void batches_free(struct batches *batches);
/* Never waits. */
void batches_add(struct batches *batches, const void *row);
void batches_read(struct batches *batches, struct batches_counts *out);

#endif
