#include "dmarc_stats.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define DAY_S 86400

struct dmarc_stats {
	struct batches_kind kind;
	struct batches *batches;
	int64_t rows_max;
	_Atomic int64_t full_day; /* of which it was said that it is full */
};

static enum bs_err
write_rows(void *ctx, struct bs_store_policy *store, const void *rows, size_t n)
{
	struct dmarc_stats *stats = ctx;
	int64_t full_day = -1;
	enum bs_err err = bs_dmarc_add(store, rows, n, stats->rows_max, &full_day);

	if (err == BS_OK && full_day >= 0 && atomic_exchange(&stats->full_day, full_day) != full_day)
		bs_log(BS_LOG_WARNING, "DMARC statistics: there are %" PRId64 " rows of this day: new ones are left out, and its reports "
		    "incomplete (milter.dmarc_report_rows)", stats->rows_max);
	return err;
}

static enum bs_err
forget(struct bs_store_policy *store, int64_t before_s)
{
	return bs_dmarc_forget(store, before_s / DAY_S);
}

/* Rows that differ in nothing but their count are one. */
static bool
merge(void *waiting, const void *row)
{
	struct bs_dmarc_row *to = waiting;

	if (memcmp(to, row, offsetof(struct bs_dmarc_row, messages)) != 0)
		return false;
	to->messages += ((const struct bs_dmarc_row *)row)->messages;
	return true;
}

enum bs_err
dmarc_stats_new(struct pool *pool, int64_t keep_days, int64_t rows_max, struct dmarc_stats **out)
{
	struct dmarc_stats *stats = calloc(1, sizeof(*stats));
	enum bs_err err;

	if (stats == NULL)
		return BS_ERR_NOMEM;
	stats->rows_max = rows_max;
	atomic_init(&stats->full_day, -1);
	stats->kind = (struct batches_kind){ .what = "DMARC statistics", .row_size = sizeof(struct bs_dmarc_row),
		.rows_max = DMARC_STATS_ROWS_MAX, .batch = DMARC_STATS_BATCH, .write = write_rows, .forget = forget, .merge = merge,
		.ctx = stats };
	err = batches_new(pool, &stats->kind, keep_days * DAY_S, &stats->batches);
	if (err != BS_OK) {
		free(stats);
		return err;
	}
	*out = stats;
	return BS_OK;
}

void
dmarc_stats_stop(struct dmarc_stats *stats)
{
	if (stats != NULL)
		batches_stop(stats->batches);
}

void
dmarc_stats_free(struct dmarc_stats *stats)
{
	if (stats == NULL)
		return;
	batches_free(stats->batches);
	free(stats);
}

void
dmarc_stats_add(struct dmarc_stats *stats, const struct bs_dmarc_row *row)
{
	batches_add(stats->batches, row);
}

void
dmarc_stats_read(struct dmarc_stats *stats, struct batches_counts *out)
{
	batches_read(stats->batches, out);
}
