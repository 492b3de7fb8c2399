/*
 * dmarc_stats: counts what DMARC made of each message, and writes the counts in batches, for reports to the domains.
 *
 * These are statistics: a mail never waits for them. The queue is bounded; what finds it full, or a database that does not
 * answer, is dropped and counted. A thread of its own hands the batches to the pool, every few seconds at the most, and
 * once an hour has the days forgotten that are past keep_days. Any thread may add.
 *
 *     err = dmarc_stats_new(pool, 30, &stats);
 *     dmarc_stats_add(stats, &row);
 */
#ifndef MILTER_DMARC_STATS_H
#define MILTER_DMARC_STATS_H

#include "pool.h"
#include "store_policy_dmarc.h"

#define DMARC_STATS_ROWS_MAX 400 /* different ones that wait */
#define DMARC_STATS_BATCH 100    /* so many are written before their time */
#define DMARC_STATS_MS 5000

struct dmarc_stats;

struct dmarc_stats_counts {
	uint64_t added, written, dropped; /* messages */
};

enum bs_err dmarc_stats_new(struct pool *pool, int64_t keep_days, struct dmarc_stats **out) BS_MUST_USE;
/* Writes what waits, at the end of the process: what is added later is lost. NULL is legal. */
void dmarc_stats_stop(struct dmarc_stats *stats);
/* After the last add; stops first. The pool must still run. NULL is legal. */
void dmarc_stats_free(struct dmarc_stats *stats);
/* row: zeroed behind the ends of its texts; counts as row->messages. Never waits. */
void dmarc_stats_add(struct dmarc_stats *stats, const struct bs_dmarc_row *row);
void dmarc_stats_read(struct dmarc_stats *stats, struct dmarc_stats_counts *out);

#endif
