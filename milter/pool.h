/*
 * pool: a few threads, each with a policy store handle of its own, that run look-ups for everybody else.
 *
 * A handle belongs to the thread that opened it, so a database that hangs blocks these threads at most, never the
 * caller: pool_wait() returns at its deadline, whatever the database does, and the job it leaves behind is freed when the
 * thread comes back. After a failure of the database the pool answers BS_ERR_UNAVAIL at once for a second, and lets one
 * look-up at a time through to see whether it is back.
 *
 * A job is reference counted: pool_submit() takes one reference for the pool, the caller keeps its own until
 * pool_release(). What the job holds may be read by the caller once pool_wait() or pool_done() said that it is done.
 * Any thread may call. Errors: BS_ERR_BUSY (queue full), BS_ERR_UNAVAIL, BS_ERR_TIMEOUT, else what run() returned.
 *
 *     pool_job_init(&look->job, look_run, look_free, bs_now_ms() + 2000);
 *     err = pool_submit(pool, &look->job, -1);
 *     if (err == BS_OK)
 *         err = pool_wait(pool, &look->job);
 *     pool_release(pool, &look->job);
 */
#ifndef MILTER_POOL_H
#define MILTER_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "store_policy.h"

struct pool;
struct pool_job;

/* Runs on a thread of the pool; asks pool_job_late() between queries. */
typedef enum bs_err (*pool_run_fn)(struct pool_job *job, struct bs_store_policy *store);
typedef void (*pool_free_fn)(struct pool_job *job);

/* The head of a caller's job struct; its fields are the pool's. */
struct pool_job {
	pool_run_fn run;
	pool_free_fn free;
	int64_t deadline_ms;
	struct pool_job *next;
	int notify_fd;
	atomic_uint refs;
	bool done;
	enum bs_err err;
};

struct pool_settings {
	const char *database;      /* borrowed for the life of the pool */
	const char *password_file; /* likewise; may be empty */
	int timeout_ms;            /* of one statement */
	unsigned threads;          /* at least 1 */
	unsigned queue_max;
};

struct pool_stats {
	uint64_t jobs;      /* that a thread ran */
	uint64_t failures;  /* of the database */
	uint64_t timeouts;  /* callers that stopped waiting */
	uint64_t refused;   /* by the full queue, or because the database is known to be down */
	bool down;          /* now */
};

enum bs_err pool_new(const struct pool_settings *settings, struct pool **out) BS_MUST_USE;
/* Ends the threads; one that hangs in the database for more than its statement's timeout is left behind, with the pool. */
void pool_free(struct pool *pool);

void pool_job_init(struct pool_job *job, pool_run_fn run, pool_free_fn free_fn, int64_t deadline_ms);
/* notify_fd: a non-blocking eventfd that gets a 1 when the job is done and was not released before; -1: none. On error the pool keeps nothing. */
enum bs_err pool_submit(struct pool *pool, struct pool_job *job, int notify_fd) BS_MUST_USE;
/* Until the job is done or its deadline has passed. */
enum bs_err pool_wait(struct pool *pool, struct pool_job *job) BS_MUST_USE;
/* True when done; *err is then what run() returned. */
bool pool_done(struct pool *pool, struct pool_job *job, enum bs_err *err);
/* Tells the pool that the caller's deadline passed: counts, and takes the database for down. */
void pool_gave_up(struct pool *pool);
/* Gives the caller's reference back; the job may be freed at once or by the pool later. */
void pool_release(struct pool *pool, struct pool_job *job);
bool pool_job_late(const struct pool_job *job);

void pool_stats(struct pool *pool, struct pool_stats *out);

#endif
