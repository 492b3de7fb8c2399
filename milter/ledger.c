#include "ledger.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cond.h"
#include "ledger_rules.h"
#include "log.h"
#include "pool.h"
#include "sock.h"
#include "trace_key.h"

#define BATCH_MAX 64           /* questions of one transaction */
#define WAITING_MAX 1000       /* questions that wait for the next one */
#define ATTEMPTS_MAX 50
#define STUCK_MS 2000          /* a transaction that takes so long: the database hangs, and nobody else waits for it */
#define EXPIRE_EVERY_MS 60000
#define EXPIRE_ROWS 200        /* at a time */

/* One caller's. Shared by him and whoever works on it. */
struct question {
	struct question *next;
	unsigned refs; /* under the ledger's lock, like done and err */
	bool done, dry;
	enum bs_err err;
	int64_t now_s;
	/* Either limits or a greylist. */
	struct ledger_limit limits[LEDGER_LIMITS_MAX];
	size_t n; /* 0: it is about the greylist */
	size_t over;
	struct ledger_greylist grey;
	enum ledger_greeting greeting;
	int64_t wait_s;
};

struct ledger {
	struct pool *pool;
	const uint8_t *key;
	pthread_mutex_t lock;
	pthread_cond_t done;
	struct question *first, **last; /* that wait */
	size_t waiting;
	bool busy;        /* a job is queued or at work */
	int64_t began_ms; /* its transaction, or its way to the database */
	int64_t expire_ms; /* when to look for old rows next; the job's alone */
	struct ledger_stats stats;
};

struct job {
	struct pool_job job; /* first */
	struct ledger *ledger;
};

/* What one transaction is about: the questions' rows, each once, in order. */
struct batch {
	struct question *questions[BATCH_MAX];
	size_t n;
	struct bs_ledger_row rows[BATCH_MAX * LEDGER_LIMITS_MAX];
	size_t n_rows;
};

struct ledger *
ledger_new(struct pool *pool, const uint8_t key[BS_KEY_LEN])
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));

	if (ledger == NULL)
		return NULL;
	ledger->pool = pool;
	ledger->key = key;
	ledger->last = &ledger->first;
	pthread_mutex_init(&ledger->lock, NULL);
	bs_cond_init(&ledger->done);
	return ledger;
}

void
ledger_free(struct ledger *ledger)
{
	if (ledger == NULL)
		return;
	pthread_cond_destroy(&ledger->done);
	pthread_mutex_destroy(&ledger->lock);
	free(ledger);
}

enum bs_err
ledger_key(const struct ledger *ledger, const char *kind, const char *a, const char *b, const char *c,
    uint8_t out[BS_LEDGER_ID_LEN])
{
	return bs_trace_hash(ledger->key, kind, a, b, c, out);
}

/* --- a transaction --- */

static void
add_row(struct batch *batch, const uint8_t id[BS_LEDGER_ID_LEN])
{
	size_t at = 0;
	int order = 1;

	while (at < batch->n_rows && (order = memcmp(batch->rows[at].id, id, BS_LEDGER_ID_LEN)) < 0)
		at++;
	if (at < batch->n_rows && order == 0)
		return;
	memmove(&batch->rows[at + 1], &batch->rows[at], (batch->n_rows - at) * sizeof(batch->rows[0]));
	batch->rows[at] = (struct bs_ledger_row){ 0 };
	memcpy(batch->rows[at].id, id, BS_LEDGER_ID_LEN);
	batch->n_rows++;
}

static void
collect_rows(struct batch *batch)
{
	batch->n_rows = 0;
	for (size_t i = 0; i < batch->n; i++) {
		const struct question *question = batch->questions[i];

		for (size_t j = 0; j < question->n; j++)
			add_row(batch, question->limits[j].id);
		if (question->n > 0)
			continue;
		add_row(batch, question->grey.id);
		add_row(batch, question->grey.client);
	}
}

static struct bs_ledger_row *
find_row(struct bs_ledger_row *rows, size_t n, const uint8_t id[BS_LEDGER_ID_LEN])
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = memcmp(rows[mid].id, id, BS_LEDGER_ID_LEN);

		if (order == 0)
			return &rows[mid];
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL; /* collect_rows() put it there */
}

static void
answer_count(struct question *question, struct bs_ledger_row *rows, size_t n)
{
	size_t i = 0;

	while (i < question->n && ledger_rule_fits(find_row(rows, n, question->limits[i].id), question->limits[i].limit,
	    question->now_s))
		i++;
	question->over = i;
	if (i < question->n || question->dry)
		return;
	for (i = 0; i < question->n; i++)
		ledger_rule_add(find_row(rows, n, question->limits[i].id), question->now_s);
}

static void
answer_greet(struct question *question, struct bs_ledger_row *rows, size_t n)
{
	struct bs_ledger_row *grey = find_row(rows, n, question->grey.id), *client = find_row(rows, n, question->grey.client);
	struct bs_ledger_row grey_after = *grey, client_after = *client;

	question->greeting = ledger_rule_greet(&grey_after, &client_after, &question->grey, question->now_s, &question->wait_s);
	if (question->dry)
		return;
	*grey = grey_after;
	*client = client_after;
}

/* bs_ledger_fn: the questions one after the other, each on what the one before left. */
static void
answer_all(void *ctx, struct bs_ledger_row *rows, size_t n)
{
	struct batch *batch = ctx;

	for (size_t i = 0; i < batch->n; i++) {
		if (batch->questions[i]->n > 0)
			answer_count(batch->questions[i], rows, n);
		else
			answer_greet(batch->questions[i], rows, n);
	}
}

/* Another milter was faster: after a short while, of another length for each. */
static void
pause_a_little(unsigned attempt)
{
	uint8_t random;
	struct timespec time;

	bs_random(&random, sizeof(random));
	time = (struct timespec){ .tv_nsec = (long)(attempt < 10 ? attempt + 1 : 10) * (1 + random) * 4000 };
	(void)nanosleep(&time, NULL);
}

static enum bs_err
run_batch(struct ledger *ledger, struct batch *batch, struct bs_store_policy *store)
{
	int64_t deadline_ms = bs_now_ms() + STUCK_MS;
	enum bs_err err = BS_ERR_CONFLICT;
	unsigned attempt = 0;

	collect_rows(batch);
	for (; err == BS_ERR_CONFLICT && attempt < ATTEMPTS_MAX && (attempt == 0 || bs_now_ms() < deadline_ms); attempt++) {
		if (attempt > 0)
			pause_a_little(attempt);
		err = bs_ledger_update(store, batch->rows, batch->n_rows, answer_all, batch);
	}
	pthread_mutex_lock(&ledger->lock);
	ledger->stats.transactions++;
	ledger->stats.conflicts += attempt - 1;
	pthread_mutex_unlock(&ledger->lock);
	return err;
}

/* --- the job --- */

/* Gives a reference back; called with the lock held. */
static void
unref(struct question *question)
{
	if (--question->refs == 0)
		free(question);
}

/* Called with the lock held. */
static void
settle(struct ledger *ledger, struct question *question, enum bs_err err)
{
	question->done = true;
	question->err = err;
	ledger->stats.failures += err != BS_OK ? 1 : 0;
	unref(question);
}

/* The oldest questions that wait; called with the lock held. */
static void
take_batch(struct ledger *ledger, struct batch *batch)
{
	for (batch->n = 0; batch->n < BATCH_MAX && ledger->first != NULL; batch->n++) {
		batch->questions[batch->n] = ledger->first;
		ledger->first = ledger->first->next;
		ledger->waiting--;
	}
	if (ledger->first == NULL)
		ledger->last = &ledger->first;
	ledger->began_ms = bs_now_ms();
}

/* Everybody who waits; called with the lock held. */
static void
fail_all(struct ledger *ledger, enum bs_err err)
{
	while (ledger->first != NULL) {
		struct question *question = ledger->first;

		ledger->first = question->next;
		settle(ledger, question, err);
	}
	ledger->last = &ledger->first;
	ledger->waiting = 0;
	pthread_cond_broadcast(&ledger->done);
}

static enum bs_err
answer_batches(struct ledger *ledger, struct batch *batch, struct bs_store_policy *store)
{
	enum bs_err err = BS_OK;

	pthread_mutex_lock(&ledger->lock);
	while (err == BS_OK) {
		take_batch(ledger, batch);
		if (batch->n == 0)
			break;
		pthread_mutex_unlock(&ledger->lock);
		err = run_batch(ledger, batch, store);
		pthread_mutex_lock(&ledger->lock);
		for (size_t i = 0; i < batch->n; i++)
			settle(ledger, batch->questions[i], err);
		pthread_cond_broadcast(&ledger->done);
	}
	if (err != BS_OK)
		fail_all(ledger, err);
	pthread_mutex_unlock(&ledger->lock);
	return err;
}

static enum bs_err
remove_old(struct ledger *ledger, struct bs_store_policy *store)
{
	size_t gone = 0;
	enum bs_err err;

	if (bs_now_ms() < ledger->expire_ms)
		return BS_OK;
	err = bs_ledger_expire(store, (int64_t)time(NULL), EXPIRE_ROWS, &gone);
	/* As long as there is more, at the next opportunity. */
	if (err != BS_OK || gone < EXPIRE_ROWS)
		ledger->expire_ms = bs_now_ms() + EXPIRE_EVERY_MS;
	pthread_mutex_lock(&ledger->lock);
	ledger->stats.removed += gone;
	pthread_mutex_unlock(&ledger->lock);
	return err == BS_ERR_CONFLICT ? BS_OK : err; /* another milter removes the same */
}

static enum bs_err
job_run(struct pool_job *arg, struct bs_store_policy *store)
{
	struct job *job = (struct job *)arg;
	struct batch *batch = calloc(1, sizeof(*batch));
	enum bs_err err;

	if (batch == NULL)
		return BS_ERR_NOMEM;
	err = answer_batches(job->ledger, batch, store);
	if (err == BS_OK)
		err = remove_old(job->ledger, store);
	free(batch);
	/* What is contended is no sign of a database that is ill. */
	return err == BS_ERR_CONFLICT ? BS_OK : err;
}

static void start_job(struct ledger *ledger);

/* The pool's last word: it ran, or could not. Who came meanwhile gets a new job, or an answer. */
static void
job_free(struct pool_job *arg)
{
	struct job *job = (struct job *)arg;
	struct ledger *ledger = job->ledger;
	bool failed = !job->job.done || (job->job.err != BS_OK && job->job.err != BS_ERR_BUSY);
	bool more;

	free(job);
	pthread_mutex_lock(&ledger->lock);
	if (failed)
		fail_all(ledger, BS_ERR_UNAVAIL);
	more = ledger->first != NULL;
	ledger->busy = more;
	pthread_mutex_unlock(&ledger->lock);
	if (more)
		start_job(ledger);
}

/* ledger->busy is set, the lock is not held. */
static void
start_job(struct ledger *ledger)
{
	struct job *job = calloc(1, sizeof(*job));
	enum bs_err err = BS_ERR_NOMEM;

	if (job != NULL) {
		job->ledger = ledger;
		pool_job_init(&job->job, job_run, job_free, bs_now_ms() + STUCK_MS);
		err = pool_submit(ledger->pool, &job->job, -1);
		if (err == BS_OK) {
			pool_release(ledger->pool, &job->job);
			return;
		}
		free(job);
	}
	pthread_mutex_lock(&ledger->lock);
	fail_all(ledger, err);
	ledger->busy = false;
	pthread_mutex_unlock(&ledger->lock);
}

/* --- callers --- */

/* Called with the lock held; *start: the caller is to start a job. */
static enum bs_err
enqueue(struct ledger *ledger, struct question *question, bool *start)
{
	int64_t now_ms = bs_now_ms();

	ledger->stats.questions++;
	if (ledger->waiting >= WAITING_MAX || (ledger->busy && now_ms - ledger->began_ms > STUCK_MS)) {
		ledger->stats.refused++;
		return ledger->waiting >= WAITING_MAX ? BS_ERR_BUSY : BS_ERR_UNAVAIL;
	}
	question->refs++;
	*ledger->last = question;
	ledger->last = &question->next;
	ledger->waiting++;
	*start = !ledger->busy;
	if (*start) {
		ledger->busy = true;
		ledger->began_ms = now_ms;
	}
	return BS_OK;
}

/* Until it is done or its time is up; called with the lock held. */
static enum bs_err
await(struct ledger *ledger, const struct question *question, int64_t deadline_ms)
{
	int rc = 0;

	while (!question->done && rc == 0)
		rc = bs_cond_wait_until(&ledger->done, &ledger->lock, deadline_ms);
	return question->done ? question->err : BS_ERR_TIMEOUT;
}

static enum bs_err
ask(struct ledger *ledger, const struct question *from, int64_t deadline_ms, struct question *out)
{
	struct question *question = malloc(sizeof(*question));
	bool start = false;
	enum bs_err err;

	if (question == NULL)
		return BS_ERR_NOMEM;
	*question = *from;
	question->refs = 1;
	pthread_mutex_lock(&ledger->lock);
	err = enqueue(ledger, question, &start);
	if (start) {
		pthread_mutex_unlock(&ledger->lock);
		start_job(ledger);
		pthread_mutex_lock(&ledger->lock);
	}
	if (err == BS_OK)
		err = await(ledger, question, deadline_ms);
	if (err == BS_OK)
		*out = *question;
	unref(question);
	pthread_mutex_unlock(&ledger->lock);
	if (err == BS_ERR_TIMEOUT)
		pool_gave_up(ledger->pool);
	return err;
}

enum bs_err
ledger_count(struct ledger *ledger, const struct ledger_limit *limits, size_t n, int64_t now_s, bool dry, int64_t deadline_ms,
    size_t *over)
{
	struct question question = { .n = n, .now_s = now_s, .dry = dry };
	enum bs_err err;

	if (n == 0 || n > LEDGER_LIMITS_MAX)
		return BS_ERR_ARG;
	memcpy(question.limits, limits, n * sizeof(*limits));
	err = ask(ledger, &question, deadline_ms, &question);
	if (err == BS_OK)
		*over = question.over;
	return err;
}

enum bs_err
ledger_greet(struct ledger *ledger, const struct ledger_greylist *grey, int64_t now_s, bool dry, int64_t deadline_ms,
    enum ledger_greeting *greeting, int64_t *wait_s)
{
	struct question question = { .grey = *grey, .now_s = now_s, .dry = dry };
	enum bs_err err = ask(ledger, &question, deadline_ms, &question);

	if (err == BS_OK) {
		*greeting = question.greeting;
		*wait_s = question.wait_s;
	}
	return err;
}

void
ledger_stats(struct ledger *ledger, struct ledger_stats *out)
{
	pthread_mutex_lock(&ledger->lock);
	*out = ledger->stats;
	pthread_mutex_unlock(&ledger->lock);
}
