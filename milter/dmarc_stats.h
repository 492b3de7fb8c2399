/*
 * dmarc_stats: counts what DMARC made of each message, and writes the counts in batches, for reports to the domains.
 *
 * These are statistics, written in batches that no mail waits for (batches.h); equal rows that wait are counted up. Once an
 * hour the days are forgotten that are past keep_days. Any thread may add.
 *
 *     err = dmarc_stats_new(pool, 30, &stats);
 *     dmarc_stats_add(stats, &row);
 */
#ifndef MILTER_DMARC_STATS_H
#define MILTER_DMARC_STATS_H

#include "batches.h"
#include "store_policy_dmarc.h"

#define DMARC_STATS_ROWS_MAX 400 /* different ones that wait */
#define DMARC_STATS_BATCH 100    /* so many are written before their time */

/* keep_days: how long counts are kept. */
enum bs_err dmarc_stats_new(struct pool *pool, int64_t keep_days, struct batches **out) BS_MUST_USE;
/* row: zeroed behind the ends of its texts. Never waits. */
void dmarc_stats_add(struct batches *stats, const struct bs_dmarc_row *row);

#endif
