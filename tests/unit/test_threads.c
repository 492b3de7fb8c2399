/* common/threads: each function once, on threads that are used again, and none left behind. */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "threads.h"

#define STACK 65536
#define CALLERS 4
#define RUNS 2000
#define LONG_MS 60000

static atomic_uint calls[CALLERS * RUNS];
static sem_t done, gate;

/* The process's threads, once there are so many; UINT_MAX: not within ten seconds. */
static unsigned
threads_settle(unsigned want)
{
	unsigned n = UINT32_MAX;

	for (int i = 0; i < 1000 && n != want; i++) {
		char line[256];
		FILE *f = fopen("/proc/self/status", "re");

		assert_non_null(f);
		while (fgets(line, sizeof(line), f) != NULL)
			if (sscanf(line, "Threads: %u", &n) == 1)
				break;
		(void)fclose(f);
		if (n != want)
			(void)nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	return n;
}

static void
count(void *arg)
{
	atomic_fetch_add((atomic_uint *)arg, 1);
	(void)sem_post(&done);
}

static void
wait_at_gate(void *arg)
{
	*(pid_t *)arg = gettid();
	(void)sem_post(&done);
	while (sem_wait(&gate) != 0)
		;
}

static void
wait_done(unsigned n)
{
	while (n > 0)
		if (sem_wait(&done) == 0)
			n--;
}

struct caller {
	struct bs_threads *threads;
	atomic_uint *calls;
};

static void *
call_often(void *arg)
{
	struct caller *c = arg;

	for (unsigned i = 0; i < RUNS; i++)
		if (!bs_threads_run(c->threads, count, &c->calls[i]))
			abort();
	return NULL;
}

static void
test_each_function_runs_once(void **state)
{
	struct bs_threads *threads = bs_threads_new(STACK, 3, LONG_MS);
	pthread_t ids[CALLERS];
	struct caller callers[CALLERS];

	(void)state;
	for (unsigned i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller){ threads, &calls[i * RUNS] };
		assert_int_equal(pthread_create(&ids[i], NULL, call_often, &callers[i]), 0);
	}
	for (unsigned i = 0; i < CALLERS; i++)
		(void)pthread_join(ids[i], NULL);
	wait_done(CALLERS * RUNS);
	for (unsigned i = 0; i < CALLERS * RUNS; i++)
		assert_int_equal(calls[i], 1);
	assert_int_equal(threads_settle(1 + 3), 1 + 3);
	bs_threads_free(threads);
	assert_int_equal(threads_settle(1), 1);
}

static void
test_a_thread_that_waits_is_taken(void **state)
{
	struct bs_threads *threads = bs_threads_new(STACK, 1, LONG_MS);
	pid_t id = 0;
	unsigned same = 0;

	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		pid_t before = id;

		assert_true(bs_threads_run(threads, wait_at_gate, &id));
		wait_done(1);
		same += id == before;
		(void)sem_post(&gate);
		(void)nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL); /* most of the time it waits again by then */
	}
	assert_in_range(same, 10, 49);
	bs_threads_free(threads);
	assert_int_equal(threads_settle(1), 1);
}

static void
test_functions_outlive_the_end(void **state)
{
	struct bs_threads *threads = bs_threads_new(STACK, 8, LONG_MS);
	pid_t ids[5];

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		assert_true(bs_threads_run(threads, wait_at_gate, &ids[i]));
	wait_done(5);
	bs_threads_free(threads);
	assert_int_equal(threads_settle(1 + 5), 1 + 5);
	for (unsigned i = 0; i < 5; i++)
		(void)sem_post(&gate);
	assert_int_equal(threads_settle(1), 1);
}

/* Work comes about when those who wait give up: none is lost, and in the end nobody waits. */
static void
test_who_waits_in_vain_ends(void **state)
{
	struct bs_threads *threads = bs_threads_new(STACK, 8, 2);
	atomic_uint n = 0;

	(void)state;
	for (unsigned i = 0; i < 400; i++) {
		assert_true(bs_threads_run(threads, count, &n));
		assert_true(bs_threads_run(threads, count, &n));
		wait_done(2);
		(void)nanosleep(&(struct timespec){ .tv_nsec = 1500000 + i % 10 * 100000 }, NULL);
	}
	assert_int_equal(n, 800);
	assert_int_equal(threads_settle(1), 1);
	assert_true(bs_threads_run(threads, count, &n));
	wait_done(1);
	bs_threads_free(threads);
	assert_int_equal(threads_settle(1), 1);
}

static void
test_none_waits_where_none_may(void **state)
{
	struct bs_threads *threads = bs_threads_new(STACK, 0, LONG_MS);
	atomic_uint n = 0;

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		assert_true(bs_threads_run(threads, count, &n));
	wait_done(10);
	assert_int_equal(threads_settle(1), 1);
	assert_int_equal(n, 10);
	bs_threads_free(threads);
	bs_threads_free(bs_threads_new(STACK, 4, LONG_MS));
	bs_threads_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_function_runs_once),
		cmocka_unit_test(test_a_thread_that_waits_is_taken),
		cmocka_unit_test(test_functions_outlive_the_end),
		cmocka_unit_test(test_who_waits_in_vain_ends),
		cmocka_unit_test(test_none_waits_where_none_may),
	};

	(void)sem_init(&done, 0, 0);
	(void)sem_init(&gate, 0, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
