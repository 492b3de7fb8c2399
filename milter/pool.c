#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cond.h"
#include "log.h"
#include "sock.h"

#define DOWN_MS 1000      /* how long a database that failed is left alone */
#define JOIN_EXTRA_S 1    /* beyond a statement's timeout, at the end */
#define THREADS_MAX 64

struct pool {
	struct pool_settings settings;
	pthread_mutex_t lock;
	pthread_cond_t work; /* a job was queued, or stop */
	pthread_cond_t done; /* some job was done */
	struct pool_job *head, *tail;
	unsigned queued;
	int64_t down_until_ms; /* 0: the database is up, as far as known */
	bool probing;          /* one job is out to see whether it is back */
	bool stop;
	struct pool_stats stats;
	unsigned n_threads;
	pthread_t threads[THREADS_MAX];
};

static void
unref(struct pool_job *job)
{
	if (atomic_fetch_sub(&job->refs, 1) == 1)
		job->free(job);
}

/* Sets whether the database answers; true when that is news. Called with the lock held: the caller logs after it. */
static bool
note(struct pool *pool, bool down)
{
	bool was_down = pool->down_until_ms != 0;

	pool->down_until_ms = down ? bs_now_ms() + DOWN_MS : 0;
	pool->probing = false;
	return down != was_down;
}

static void
log_news(bool news, bool down)
{
	if (news && down)
		bs_log(BS_LOG_ERROR, "policy database: not answering; look-ups are deferred");
	else if (news)
		bs_log(BS_LOG_INFO, "policy database: answering again");
}

/* What a look-up's result says of the database. */
enum health {
	DB_FAILED,
	DB_ANSWERED,
	DB_UNTOUCHED, /* the job never reached it */
};

static enum health
health(enum bs_err err)
{
	if (err == BS_ERR_BUSY || err == BS_ERR_NOMEM)
		return DB_UNTOUCHED;
	/* It is there and says what it can't do. On a full disk that is to write, and look-ups go on. */
	if (err == BS_ERR_IO)
		return DB_ANSWERED;
	return bs_err_is_transient(err) && err != BS_ERR_CONFLICT ? DB_FAILED : DB_ANSWERED;
}

/* Opens the thread's handle if it has none, and runs the job on it. */
static enum bs_err
run_job(struct pool *pool, struct pool_job *job, struct bs_store_policy **store)
{
	enum bs_err err = BS_OK;

	if (pool_job_late(job))
		return BS_ERR_BUSY;
	if (*store == NULL)
		err = bs_store_policy_open(pool->settings.database, pool->settings.password_file,
		    pool->settings.timeout_ms, false, store);
	if (err != BS_OK) {
		bs_log(BS_LOG_ERROR, "policy database: opening: %s: %s", bs_err_text(err), bs_store_policy_errmsg(NULL));
		/* A schema of another version, or no file yet, is for the admin to mend: the mail waits. */
		return bs_err_is_transient(err) && err != BS_ERR_IO ? err : BS_ERR_UNAVAIL;
	}
	err = job->run(job, *store);
	if (bs_err_is_transient(err))
		bs_log(BS_LOG_ERROR, "policy database: %s: %s", bs_err_text(err), bs_store_policy_errmsg(*store));
	return err;
}

static void
finish(struct pool *pool, struct pool_job *job, enum bs_err err)
{
	uint64_t one = 1;
	bool down = health(err) == DB_FAILED, news = false;

	pthread_mutex_lock(&pool->lock);
	pool->stats.jobs++;
	pool->stats.failures += down || err == BS_ERR_IO ? 1 : 0;
	if (health(err) == DB_UNTOUCHED)
		pool->probing = false;
	else
		news = note(pool, down);
	job->err = err;
	job->done = true;
	pthread_cond_broadcast(&pool->done);
	/* Under the lock, and never blocking: after pool_release() the owner may close the eventfd. Full: it is awake. */
	if (job->notify_fd >= 0 && write(job->notify_fd, &one, sizeof(one)) < 0)
		job->notify_fd = -1;
	pthread_mutex_unlock(&pool->lock);
	log_news(news, down);
	unref(job);
}

/* The next job, or NULL at the end. */
static struct pool_job *
take(struct pool *pool)
{
	struct pool_job *job;

	pthread_mutex_lock(&pool->lock);
	while (pool->head == NULL && !pool->stop)
		pthread_cond_wait(&pool->work, &pool->lock);
	job = pool->stop ? NULL : pool->head;
	if (job != NULL) {
		pool->head = job->next;
		if (pool->head == NULL)
			pool->tail = NULL;
		pool->queued--;
	}
	pthread_mutex_unlock(&pool->lock);
	return job;
}

static void *
thread_main(void *arg)
{
	struct pool *pool = arg;
	struct bs_store_policy *store = NULL;
	struct pool_job *job;
	enum bs_err err;

	while ((job = take(pool)) != NULL) {
		err = run_job(pool, job, &store);
		if (bs_err_is_transient(err) && store != NULL) {
			/* A fresh handle next time: nothing of a half-dead connection is carried over. */
			bs_store_policy_close(store);
			store = NULL;
		}
		finish(pool, job, err);
	}
	if (store != NULL)
		bs_store_policy_close(store);
	return NULL;
}

static void
init_locks(struct pool *pool)
{
	pthread_mutex_init(&pool->lock, NULL);
	bs_cond_init(&pool->work);
	bs_cond_init(&pool->done);
}

enum bs_err
pool_new(const struct pool_settings *settings, struct pool **out)
{
	struct pool *pool;

	if (settings->threads == 0 || settings->threads > THREADS_MAX)
		return BS_ERR_ARG;
	pool = calloc(1, sizeof(*pool));
	if (pool == NULL)
		return BS_ERR_NOMEM;
	pool->settings = *settings;
	init_locks(pool);
	for (; pool->n_threads < settings->threads; pool->n_threads++) {
		if (pthread_create(&pool->threads[pool->n_threads], NULL, thread_main, pool) != 0) {
			pool_free(pool);
			return BS_ERR_NOMEM;
		}
	}
	*out = pool;
	return BS_OK;
}

/* Joins all threads; false when one is still stuck in the database at the end of its time. */
static bool
join_all(struct pool *pool)
{
	struct timespec until;
	bool all = true;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += pool->settings.timeout_ms / 1000 + JOIN_EXTRA_S;
	for (unsigned i = 0; i < pool->n_threads; i++)
		all = pthread_timedjoin_np(pool->threads[i], NULL, &until) == 0 && all;
	return all;
}

void
pool_free(struct pool *pool)
{
	struct pool_job *job;

	if (pool == NULL)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->stop = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	if (!join_all(pool)) {
		bs_log(BS_LOG_WARNING, "policy database: a look-up still hangs at the end");
		return;
	}
	while ((job = pool->head) != NULL) {
		pool->head = job->next;
		unref(job);
	}
	pthread_cond_destroy(&pool->work);
	pthread_cond_destroy(&pool->done);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

void
pool_job_init(struct pool_job *job, pool_run_fn run, pool_free_fn free_fn, int64_t deadline_ms)
{
	*job = (struct pool_job){ .run = run, .free = free_fn, .deadline_ms = deadline_ms, .notify_fd = -1, .refs = 1 };
}

/* Whether a job may be queued now; called with the lock held. */
static enum bs_err
admit(struct pool *pool)
{
	if (pool->queued >= pool->settings.queue_max)
		return BS_ERR_BUSY;
	if (pool->down_until_ms == 0)
		return BS_OK;
	if (pool->probing || bs_now_ms() < pool->down_until_ms)
		return BS_ERR_UNAVAIL;
	pool->probing = true;
	return BS_OK;
}

enum bs_err
pool_submit(struct pool *pool, struct pool_job *job, int notify_fd)
{
	enum bs_err err;

	pthread_mutex_lock(&pool->lock);
	err = admit(pool);
	if (err != BS_OK) {
		pool->stats.refused++;
		goto out;
	}
	job->notify_fd = notify_fd;
	atomic_fetch_add(&job->refs, 1);
	job->next = NULL;
	if (pool->tail != NULL)
		pool->tail->next = job;
	else
		pool->head = job;
	pool->tail = job;
	pool->queued++;
	pthread_cond_signal(&pool->work);
out:
	pthread_mutex_unlock(&pool->lock);
	return err;
}

enum bs_err
pool_wait(struct pool *pool, struct pool_job *job)
{
	enum bs_err err = BS_ERR_TIMEOUT;
	bool done;
	int rc = 0;

	pthread_mutex_lock(&pool->lock);
	while (!job->done && rc == 0)
		rc = bs_cond_wait_until(&pool->done, &pool->lock, job->deadline_ms);
	done = job->done;
	if (done)
		err = job->err;
	pthread_mutex_unlock(&pool->lock);
	if (!done)
		pool_gave_up(pool);
	return err;
}

bool
pool_done(struct pool *pool, struct pool_job *job, enum bs_err *err)
{
	bool done;

	pthread_mutex_lock(&pool->lock);
	done = job->done;
	if (done)
		*err = job->err;
	pthread_mutex_unlock(&pool->lock);
	return done;
}

void
pool_gave_up(struct pool *pool)
{
	bool news;

	pthread_mutex_lock(&pool->lock);
	pool->stats.timeouts++;
	news = note(pool, true);
	pthread_mutex_unlock(&pool->lock);
	log_news(news, true);
}

void
pool_release(struct pool *pool, struct pool_job *job)
{
	pthread_mutex_lock(&pool->lock);
	job->notify_fd = -1;
	pthread_mutex_unlock(&pool->lock);
	unref(job);
}

bool
pool_job_late(const struct pool_job *job)
{
	return bs_now_ms() >= job->deadline_ms;
}

void
pool_stats(struct pool *pool, struct pool_stats *out)
{
	pthread_mutex_lock(&pool->lock);
	*out = pool->stats;
	out->down = pool->down_until_ms != 0;
	pthread_mutex_unlock(&pool->lock);
}
