#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "cond.h"
#include "sock.h"

struct job {
	struct bs_threads *threads;
	struct job *next;
	void (*function)(void *arg);
	void *arg;
};

struct bs_threads {
	size_t stack_bytes;
	unsigned idle_max, idle_ms;
	pthread_mutex_t lock; /* of the rest */
	pthread_cond_t wanted;
	struct job *jobs; /* each has a waiting thread that is not counted as idle any more */
	unsigned idle;
	unsigned count; /* threads that there are; the last one frees */
	bool ending;
};

struct bs_threads *
bs_threads_new(size_t stack_bytes, unsigned idle_max, unsigned idle_ms)
{
	struct bs_threads *threads = calloc(1, sizeof(*threads));

	if (threads == NULL)
		return NULL;
	threads->stack_bytes = stack_bytes;
	threads->idle_max = idle_max;
	threads->idle_ms = idle_ms;
	(void)pthread_mutex_init(&threads->lock, NULL);
	bs_cond_init(&threads->wanted);
	return threads;
}

static void
free_all(struct bs_threads *threads)
{
	(void)pthread_cond_destroy(&threads->wanted);
	(void)pthread_mutex_destroy(&threads->lock);
	free(threads);
}

/* Under the lock. NULL: nobody wants this thread any more. */
static struct job *
wait_for_job(struct bs_threads *threads)
{
	int64_t until_ms = bs_now_ms() + threads->idle_ms;
	struct job *job;

	if (threads->ending || threads->idle >= threads->idle_max)
		return NULL;
	threads->idle++;
	while (threads->jobs == NULL && !threads->ending)
		if (bs_cond_wait_until(&threads->wanted, &threads->lock, until_ms) == ETIMEDOUT)
			break;
	job = threads->jobs;
	if (job != NULL)
		threads->jobs = job->next;
	else
		threads->idle--;
	return job;
}

/* NULL: the thread ends; threads may be gone. */
static struct job *
next_job(struct bs_threads *threads)
{
	struct job *job;
	bool last = false;

	(void)pthread_mutex_lock(&threads->lock);
	job = wait_for_job(threads);
	if (job == NULL) {
		threads->count--;
		last = threads->ending && threads->count == 0;
	}
	(void)pthread_mutex_unlock(&threads->lock);
	if (last)
		free_all(threads);
	return job;
}

static void *
work(void *arg)
{
	struct job *job = arg;
	struct bs_threads *threads = job->threads;

	do {
		job->function(job->arg);
		free(job);
		job = next_job(threads);
	} while (job != NULL);
	return NULL;
}

bool
bs_thread_start(size_t stack_bytes, void *(*function)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	bool ok;

	if (pthread_attr_init(&attr) != 0)
		return false;
	ok = pthread_attr_setstacksize(&attr, stack_bytes) == 0 &&
	    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0 && pthread_create(&thread, &attr, function, arg) == 0;
	(void)pthread_attr_destroy(&attr);
	return ok;
}

/* False: none can be had. In both: job's memory is the taker's. */
static bool
run_on_new(struct bs_threads *threads, struct job *job)
{
	bool ok;

	(void)pthread_mutex_lock(&threads->lock);
	threads->count++;
	(void)pthread_mutex_unlock(&threads->lock);
	ok = bs_thread_start(threads->stack_bytes, work, job);
	if (!ok) {
		(void)pthread_mutex_lock(&threads->lock);
		threads->count--;
		(void)pthread_mutex_unlock(&threads->lock);
	}
	return ok;
}

/* False: none waits. */
static bool
run_on_idle(struct bs_threads *threads, struct job *job)
{
	bool ok;

	(void)pthread_mutex_lock(&threads->lock);
	ok = threads->idle > 0;
	if (ok) {
		threads->idle--;
		job->next = threads->jobs;
		threads->jobs = job;
	}
	(void)pthread_mutex_unlock(&threads->lock);
	if (ok)
		(void)pthread_cond_signal(&threads->wanted); /* whoever wakes finds the lock free */
	return ok;
}

bool
bs_threads_run(struct bs_threads *threads, void (*function)(void *), void *arg)
{
	struct job *job = malloc(sizeof(*job));

	if (job == NULL)
		return false;
	*job = (struct job){ .threads = threads, .function = function, .arg = arg };
	if (run_on_idle(threads, job) || run_on_new(threads, job))
		return true;
	free(job);
	return false;
}

void
bs_threads_free(struct bs_threads *threads)
{
	bool last;

	if (threads == NULL)
		return;
	(void)pthread_mutex_lock(&threads->lock);
	threads->ending = true;
	last = threads->count == 0;
	(void)pthread_cond_broadcast(&threads->wanted);
	(void)pthread_mutex_unlock(&threads->lock);
	if (last)
		free_all(threads);
}
