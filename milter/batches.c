#include "batches.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cond.h"
#include "log.h"
#include "sock.h"

#define WRITE_MS 20000
#define FORGET_MS 3600000

/* One batch on its way; the pool's, once it is submitted. */
struct batch {
	struct pool_job job; /* first */
	const struct batches_kind *kind;
	int64_t forget_before_s; /* 0: nothing */
	size_t n;
	uint64_t added; /* calls that are in it */
	uint8_t rows[];
};

struct batches {
	struct pool *pool;
	const struct batches_kind *kind;
	int64_t keep_s;
	int64_t forget_at_ms;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	bool stop;
	bool failed; /* the last batch was lost: the next one waits its time, however full */
	size_t n;
	uint64_t waiting; /* calls that the n rows stand for */
	struct batches_counts counts;
	uint8_t rows[];
};

static enum bs_err
write_batch(struct pool_job *job, struct bs_store_policy *store)
{
	struct batch *batch = (struct batch *)job;
	enum bs_err err = batch->n > 0 ? batch->kind->write(batch->kind->ctx, store, batch->rows, batch->n) : BS_OK;

	if (err == BS_OK && batch->forget_before_s > 0)
		err = batch->kind->forget(store, batch->forget_before_s);
	return err;
}

static void
free_batch(struct pool_job *job)
{
	free(job);
}

static void
reset(struct batches *batches)
{
	batches->n = 0;
	batches->waiting = 0;
}

/* Takes what waits into a batch; NULL: nothing to do, or no memory. Called with the lock held. */
static struct batch *
take_batch(struct batches *batches)
{
	bool forget = batches->keep_s > 0 && bs_now_ms() >= batches->forget_at_ms;
	size_t len = batches->n * batches->kind->row_size;
	struct batch *batch;

	if (batches->n == 0 && !forget)
		return NULL;
	batch = calloc(1, sizeof(*batch) + len);
	if (batch == NULL) {
		batches->counts.dropped += batches->waiting;
		reset(batches);
		return NULL;
	}
	batch->kind = batches->kind;
	batch->n = batches->n;
	batch->added = batches->waiting;
	memcpy(batch->rows, batches->rows, len);
	reset(batches);
	if (forget) {
		batch->forget_before_s = (int64_t)time(NULL) - batches->keep_s;
		batches->forget_at_ms = bs_now_ms() + FORGET_MS;
	}
	return batch;
}

static void
deliver(struct batches *batches, struct batch *batch)
{
	uint64_t added = batch->added;
	enum bs_err err;

	pool_job_init(&batch->job, write_batch, free_batch, bs_now_ms() + WRITE_MS);
	err = pool_submit(batches->pool, &batch->job, -1);
	if (err == BS_OK)
		err = pool_wait(batches->pool, &batch->job);
	pool_release(batches->pool, &batch->job);
	pthread_mutex_lock(&batches->lock);
	batches->failed = err != BS_OK;
	if (err == BS_OK)
		batches->counts.written += added;
	else
		batches->counts.dropped += added;
	pthread_mutex_unlock(&batches->lock);
	if (err != BS_OK && added > 0)
		bs_log(BS_LOG_WARNING, "%s: %llu rows are lost: %s", batches->kind->what, (unsigned long long)added,
		    bs_err_text(err));
}

static void
wait_for_more(struct batches *batches)
{
	int64_t until_ms = bs_now_ms() + BATCHES_MS;
	int rc = 0;

	while (!batches->stop && (batches->failed || batches->n < batches->kind->batch) && rc == 0)
		rc = bs_cond_wait_until(&batches->more, &batches->lock, until_ms);
}

static void *
thread_main(void *arg)
{
	struct batches *batches = arg;
	struct batch *batch;
	bool stop = false;

	while (!stop) {
		pthread_mutex_lock(&batches->lock);
		wait_for_more(batches);
		stop = batches->stop;
		batch = take_batch(batches);
		pthread_mutex_unlock(&batches->lock);
		if (batch != NULL)
			deliver(batches, batch);
	}
	return NULL;
}

static void
destroy(struct batches *batches)
{
	pthread_cond_destroy(&batches->more);
	pthread_mutex_destroy(&batches->lock);
	free(batches);
}

enum bs_err
batches_new(struct pool *pool, const struct batches_kind *kind, int64_t keep_s, struct batches **out)
{
	struct batches *batches = calloc(1, sizeof(*batches) + kind->rows_max * kind->row_size);

	if (batches == NULL)
		return BS_ERR_NOMEM;
	batches->pool = pool;
	batches->kind = kind;
	batches->keep_s = keep_s;
	pthread_mutex_init(&batches->lock, NULL);
	bs_cond_init(&batches->more);
	if (pthread_create(&batches->thread, NULL, thread_main, batches) != 0) {
		destroy(batches);
		return BS_ERR_NOMEM;
	}
	*out = batches;
	return BS_OK;
}

void
batches_stop(struct batches *batches)
{
	bool stopped;

	if (batches == NULL)
		return;
	pthread_mutex_lock(&batches->lock);
	stopped = batches->stop;
	batches->stop = true;
	pthread_cond_signal(&batches->more);
	pthread_mutex_unlock(&batches->lock);
	if (!stopped)
		(void)pthread_join(batches->thread, NULL);
}

void
batches_free(struct batches *batches)
{
	if (batches == NULL)
		return;
	batches_stop(batches);
	destroy(batches);
}

/* Into one that waits. Called with the lock held. */
static bool
merged(struct batches *batches, const void *row)
{
	if (batches->kind->merge == NULL)
		return false;
	for (size_t i = 0; i < batches->n; i++)
		if (batches->kind->merge(batches->rows + i * batches->kind->row_size, row))
			return true;
	return false;
}

void
batches_add(struct batches *batches, const void *row)
{
	size_t size = batches->kind->row_size;
	bool kept;

	pthread_mutex_lock(&batches->lock);
	kept = merged(batches, row);
	if (!kept && batches->n < batches->kind->rows_max) {
		memcpy(batches->rows + batches->n * size, row, size);
		batches->n++;
		kept = true;
	}
	batches->counts.added++;
	batches->waiting += kept ? 1 : 0;
	batches->counts.dropped += kept ? 0 : 1;
	if (batches->n == batches->kind->batch)
		pthread_cond_signal(&batches->more);
	pthread_mutex_unlock(&batches->lock);
}

void
batches_read(struct batches *batches, struct batches_counts *out)
{
	pthread_mutex_lock(&batches->lock);
	*out = batches->counts;
	pthread_mutex_unlock(&batches->lock);
}
