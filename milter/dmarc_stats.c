#include "dmarc_stats.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "sock.h"

#define WRITE_MS 20000
#define FORGET_MS 3600000
#define DAY_S 86400

/* One batch on its way; the pool's, once it is submitted. */
struct batch {
	struct pool_job job; /* first */
	int64_t forget_before; /* 0: nothing */
	size_t n;
	struct bs_dmarc_row rows[];
};

struct dmarc_stats {
	struct pool *pool;
	int64_t keep_days;
	int64_t forget_at_ms;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	bool stop;
	bool failed; /* the last batch was lost: the next one waits its time, however full */
	size_t n;
	struct dmarc_stats_counts counts;
	struct bs_dmarc_row rows[DMARC_STATS_ROWS_MAX];
};

static enum bs_err
write_batch(struct pool_job *job, struct bs_store_policy *store)
{
	struct batch *batch = (struct batch *)job;
	enum bs_err err = batch->n > 0 ? bs_dmarc_add(store, batch->rows, batch->n) : BS_OK;

	if (err == BS_OK && batch->forget_before > 0)
		err = bs_dmarc_forget(store, batch->forget_before);
	return err;
}

static void
free_batch(struct pool_job *job)
{
	free(job);
}

static uint64_t
count_messages(const struct bs_dmarc_row *rows, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += rows[i].messages;
	return sum;
}

/* Takes what waits into a batch; NULL: nothing to do, or no memory. Called with the lock held. */
static struct batch *
take_batch(struct dmarc_stats *stats)
{
	bool forget = bs_now_ms() >= stats->forget_at_ms;
	struct batch *batch;

	if (stats->n == 0 && !forget)
		return NULL;
	batch = calloc(1, sizeof(*batch) + stats->n * sizeof(stats->rows[0]));
	if (batch == NULL) {
		stats->counts.dropped += count_messages(stats->rows, stats->n);
		stats->n = 0;
		return NULL;
	}
	batch->n = stats->n;
	memcpy(batch->rows, stats->rows, stats->n * sizeof(stats->rows[0]));
	stats->n = 0;
	if (forget) {
		batch->forget_before = (int64_t)time(NULL) / DAY_S - stats->keep_days;
		stats->forget_at_ms = bs_now_ms() + FORGET_MS;
	}
	return batch;
}

static void
deliver(struct dmarc_stats *stats, struct batch *batch)
{
	uint64_t messages = count_messages(batch->rows, batch->n);
	enum bs_err err;

	pool_job_init(&batch->job, write_batch, free_batch, bs_now_ms() + WRITE_MS);
	err = pool_submit(stats->pool, &batch->job, -1);
	if (err == BS_OK)
		err = pool_wait(stats->pool, &batch->job);
	pool_release(stats->pool, &batch->job);
	pthread_mutex_lock(&stats->lock);
	stats->failed = err != BS_OK;
	if (err == BS_OK)
		stats->counts.written += messages;
	else
		stats->counts.dropped += messages;
	pthread_mutex_unlock(&stats->lock);
	if (err != BS_OK && messages > 0)
		bs_log(BS_LOG_WARNING, "DMARC statistics of %llu messages are lost: %s", (unsigned long long)messages, bs_err_text(err));
}

static void
wait_for_more(struct dmarc_stats *stats)
{
	int64_t until_ms = bs_now_ms() + DMARC_STATS_MS;
	struct timespec until = { .tv_sec = until_ms / 1000, .tv_nsec = (until_ms % 1000) * 1000000 };
	int rc = 0;

	while (!stats->stop && (stats->failed || stats->n < DMARC_STATS_BATCH) && rc == 0)
		rc = pthread_cond_timedwait(&stats->more, &stats->lock, &until);
}

static void *
thread_main(void *arg)
{
	struct dmarc_stats *stats = arg;
	struct batch *batch;
	bool stop = false;

	while (!stop) {
		pthread_mutex_lock(&stats->lock);
		wait_for_more(stats);
		stop = stats->stop;
		batch = take_batch(stats);
		pthread_mutex_unlock(&stats->lock);
		if (batch != NULL)
			deliver(stats, batch);
	}
	return NULL;
}

static void
destroy(struct dmarc_stats *stats)
{
	pthread_cond_destroy(&stats->more);
	pthread_mutex_destroy(&stats->lock);
	free(stats);
}

enum bs_err
dmarc_stats_new(struct pool *pool, int64_t keep_days, struct dmarc_stats **out)
{
	struct dmarc_stats *stats = calloc(1, sizeof(*stats));
	pthread_condattr_t attr;

	if (stats == NULL)
		return BS_ERR_NOMEM;
	stats->pool = pool;
	stats->keep_days = keep_days;
	pthread_mutex_init(&stats->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&stats->more, &attr);
	pthread_condattr_destroy(&attr);
	if (pthread_create(&stats->thread, NULL, thread_main, stats) != 0) {
		destroy(stats);
		return BS_ERR_NOMEM;
	}
	*out = stats;
	return BS_OK;
}

void
dmarc_stats_stop(struct dmarc_stats *stats)
{
	bool stopped;

	if (stats == NULL)
		return;
	pthread_mutex_lock(&stats->lock);
	stopped = stats->stop;
	stats->stop = true;
	pthread_cond_signal(&stats->more);
	pthread_mutex_unlock(&stats->lock);
	if (!stopped)
		(void)pthread_join(stats->thread, NULL);
}

void
dmarc_stats_free(struct dmarc_stats *stats)
{
	if (stats == NULL)
		return;
	dmarc_stats_stop(stats);
	destroy(stats);
}

/* The row that is counted there already, or a new one; NULL: full. */
static struct bs_dmarc_row *
find_row(struct dmarc_stats *stats, const struct bs_dmarc_row *row)
{
	for (size_t i = 0; i < stats->n; i++)
		if (memcmp(&stats->rows[i], row, offsetof(struct bs_dmarc_row, messages)) == 0)
			return &stats->rows[i];
	if (stats->n == DMARC_STATS_ROWS_MAX)
		return NULL;
	memcpy(&stats->rows[stats->n], row, sizeof(*row));
	stats->rows[stats->n].messages = 0;
	return &stats->rows[stats->n++];
}

void
dmarc_stats_add(struct dmarc_stats *stats, const struct bs_dmarc_row *row)
{
	struct bs_dmarc_row *to;

	pthread_mutex_lock(&stats->lock);
	to = find_row(stats, row);
	if (to != NULL)
		to->messages += row->messages;
	else
		stats->counts.dropped += row->messages;
	stats->counts.added += row->messages;
	if (stats->n == DMARC_STATS_BATCH)
		pthread_cond_signal(&stats->more);
	pthread_mutex_unlock(&stats->lock);
}

void
dmarc_stats_read(struct dmarc_stats *stats, struct dmarc_stats_counts *out)
{
	pthread_mutex_lock(&stats->lock);
	*out = stats->counts;
	pthread_mutex_unlock(&stats->lock);
}
