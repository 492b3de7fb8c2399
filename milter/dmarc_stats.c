#include "dmarc_stats.h"

#include <stddef.h>
#include <string.h>

#define DAY_S 86400

static enum bs_err
write_rows(struct bs_store_policy *store, const void *rows, size_t n)
{
	return bs_dmarc_add(store, rows, n);
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

static const struct batches_kind kind = {
	.what = "DMARC statistics",
	.row_size = sizeof(struct bs_dmarc_row),
	.rows_max = DMARC_STATS_ROWS_MAX,
	.batch = DMARC_STATS_BATCH,
	.write = write_rows,
	.forget = forget,
	.merge = merge,
};

enum bs_err
dmarc_stats_new(struct pool *pool, int64_t keep_days, struct batches **out)
{
	return batches_new(pool, &kind, keep_days * DAY_S, out);
}

void
dmarc_stats_add(struct batches *stats, const struct bs_dmarc_row *row)
{
	batches_add(stats, row);
}
