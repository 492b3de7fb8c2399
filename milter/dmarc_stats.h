/*
 * dmarc_stats: counts what DMARC made of each message, and writes the counts in batches, for reports to the domains.
 *
 * These are statistics, written in batches that no mail waits for (batches.h); equal rows that wait are counted up. Once an
 * hour the days are forgotten that are past keep_days. A day has rows_max rows, a few more where several nodes write: senders make up
 * domains, and are not to fill the disk with them. Rows that are there go on counting; that others are left out is logged
 * once a day. Any thread may add.
 *
 *     err = dmarc_stats_new(pool, 30, 20000, &stats);
 *     dmarc_stats_add(stats, &row);
 */
#ifndef MILTER_DMARC_STATS_H
#define MILTER_DMARC_STATS_H

#include "batches.h"
#include "store_policy_dmarc.h"

#define DMARC_STATS_ROWS_MAX 400 /* different ones that wait */
#define DMARC_STATS_BATCH 100    /* so many are written before their time */

struct dmarc_stats;

/* keep_days: how long counts are kept. rows_max: of one day; 0: no bound. */
enum bs_err dmarc_stats_new(struct pool *pool, int64_t keep_days, int64_t rows_max, struct dmarc_stats **out) BS_MUST_USE;
/* As batches_stop() and batches_free(). NULL is legal. */
void dmarc_stats_stop(struct dmarc_stats *stats);
void dmarc_stats_free(struct dmarc_stats *stats);
/* row: zeroed behind the ends of its texts. Never waits. */
void dmarc_stats_add(struct dmarc_stats *stats, const struct bs_dmarc_row *row);
void dmarc_stats_read(struct dmarc_stats *stats, struct batches_counts *out);

#endif
