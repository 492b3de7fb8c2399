/* milter/pool: deadlines, a database that hangs or is gone, jobs that nobody waits for any more. The look-ups sleep where
 * a database would hang; the store itself is an SQLite file. */
#include "milter/pool.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <time.h>

#include "store_fixture.h"

static atomic_int freed;

struct job {
	struct pool_job job;
	int sleep_ms;
	enum bs_err result;
};

static void
nap(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&ts, &ts) != 0)
		continue;
}

static enum bs_err
run_job(struct pool_job *job, struct bs_store_policy *store)
{
	struct job *j = (struct job *)job;

	assert_non_null(store);
	nap(j->sleep_ms);
	return j->result;
}

static void
free_job(struct pool_job *job)
{
	atomic_fetch_add(&freed, 1);
	free(job);
}

static struct job *
new_job(int sleep_ms, enum bs_err result, int deadline_ms)
{
	struct job *j = calloc(1, sizeof(*j));

	assert_non_null(j);
	pool_job_init(&j->job, run_job, free_job, bs_now_ms() + deadline_ms);
	j->sleep_ms = sleep_ms;
	j->result = result;
	return j;
}

/* Submits, waits, releases. */
static enum bs_err
once(struct pool *pool, int sleep_ms, enum bs_err result, int deadline_ms)
{
	struct job *j = new_job(sleep_ms, result, deadline_ms);
	enum bs_err err = pool_submit(pool, &j->job, -1);

	if (err == BS_OK)
		err = pool_wait(pool, &j->job);
	pool_release(pool, &j->job);
	return err;
}

static struct pool *
new_pool(unsigned threads, unsigned queue_max)
{
	struct pool_settings settings = { .database = fx.policy_url, .password_file = "", .timeout_ms = 1000,
		.threads = threads, .queue_max = queue_max };
	struct pool *pool = NULL;
	struct bs_store_policy *store = NULL;

	assert_int_equal(bs_store_policy_open(fx.policy_url, "", 1000, true, &store), BS_OK);
	bs_store_policy_close(store);
	assert_int_equal(pool_new(&settings, &pool), BS_OK);
	return pool;
}

static void
test_results_come_back(void **state)
{
	struct pool *pool = new_pool(2, 10);

	(void)state;
	assert_int_equal(once(pool, 0, BS_OK, 5000), BS_OK);
	assert_int_equal(once(pool, 0, BS_ERR_NOENT, 5000), BS_ERR_NOENT);
	assert_int_equal(once(pool, 0, BS_ERR_CONFLICT, 5000), BS_ERR_CONFLICT);
	assert_int_equal(once(pool, 0, BS_OK, 5000), BS_OK);
	pool_free(pool);
}

static void
test_the_deadline_holds_and_the_job_is_freed_later(void **state)
{
	struct pool *pool = new_pool(1, 10);
	struct pool_stats stats;
	int64_t before = bs_now_ms();
	int had = freed;

	(void)state;
	assert_int_equal(once(pool, 700, BS_OK, 100), BS_ERR_TIMEOUT);
	assert_true(bs_now_ms() - before < 600);
	assert_int_equal(freed, had);
	pool_stats(pool, &stats);
	assert_true(stats.down);
	assert_int_equal(stats.timeouts, 1);
	pool_free(pool);
	assert_int_equal(freed, had + 1);
}

static void
test_while_it_is_down_all_but_one_are_refused_at_once(void **state)
{
	struct pool *pool = new_pool(2, 10);
	int64_t before;

	(void)state;
	assert_int_equal(once(pool, 0, BS_ERR_UNAVAIL, 5000), BS_ERR_UNAVAIL);
	before = bs_now_ms();
	for (int i = 0; i < 100; i++)
		assert_int_equal(once(pool, 0, BS_OK, 5000), BS_ERR_UNAVAIL);
	assert_true(bs_now_ms() - before < 500);
	nap(1100);
	/* One goes to look, and hangs; the next does not wait behind it. */
	struct job *probe = new_job(400, BS_OK, 5000);
	assert_int_equal(pool_submit(pool, &probe->job, -1), BS_OK);
	assert_int_equal(once(pool, 0, BS_OK, 5000), BS_ERR_UNAVAIL);
	assert_int_equal(pool_wait(pool, &probe->job), BS_OK);
	pool_release(pool, &probe->job);
	assert_int_equal(once(pool, 0, BS_OK, 5000), BS_OK);
	pool_free(pool);
}

/* Threads that all hang: nobody waits longer than his deadline, and when they come back all is well. */
static void
test_all_threads_hang(void **state)
{
	struct pool *pool = new_pool(2, 3);
	struct job *jobs[5];
	struct pool_stats stats;
	enum bs_err err;

	(void)state;
	for (int i = 0; i < 2; i++) {
		jobs[i] = new_job(1500, BS_OK, 300);
		assert_int_equal(pool_submit(pool, &jobs[i]->job, -1), BS_OK);
		nap(50);
	}
	for (int i = 2; i < 5; i++) {
		jobs[i] = new_job(0, BS_OK, 300);
		assert_int_equal(pool_submit(pool, &jobs[i]->job, -1), BS_OK);
	}
	assert_int_equal(once(pool, 0, BS_OK, 300), BS_ERR_BUSY);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(pool_wait(pool, &jobs[i]->job), BS_ERR_TIMEOUT);
		assert_false(pool_done(pool, &jobs[i]->job, &err));
	}
	for (int i = 0; i < 5; i++)
		pool_release(pool, &jobs[i]->job);
	nap(1600);
	assert_int_equal(once(pool, 0, BS_OK, 2000), BS_OK);
	pool_stats(pool, &stats);
	assert_false(stats.down);
	pool_free(pool);
}

static void
test_a_late_job_is_not_run(void **state)
{
	struct pool *pool = new_pool(1, 10);
	struct job *first = new_job(300, BS_OK, 2000), *late = new_job(0, BS_OK, 100);
	enum bs_err err = BS_OK;

	(void)state;
	assert_int_equal(pool_submit(pool, &first->job, -1), BS_OK);
	assert_int_equal(pool_submit(pool, &late->job, -1), BS_OK);
	assert_int_equal(pool_wait(pool, &first->job), BS_OK);
	for (int i = 0; i < 100 && !pool_done(pool, &late->job, &err); i++)
		nap(10);
	assert_int_equal(err, BS_ERR_BUSY);
	pool_release(pool, &first->job);
	pool_release(pool, &late->job);
	/* That says nothing of the database. */
	assert_int_equal(once(pool, 0, BS_OK, 2000), BS_OK);
	pool_free(pool);
}

static void
test_eventfd_tells(void **state)
{
	struct pool *pool = new_pool(1, 10);
	struct job *j = new_job(50, BS_OK, 2000);
	int fd = eventfd(0, EFD_CLOEXEC);
	uint64_t n = 0;
	enum bs_err err = BS_ERR_INTERNAL;

	(void)state;
	assert_int_equal(pool_submit(pool, &j->job, fd), BS_OK);
	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	assert_true(pool_done(pool, &j->job, &err));
	assert_int_equal(err, BS_OK);
	pool_release(pool, &j->job);
	/* A job that was released does not write to what may be somebody else's descriptor by then. */
	j = new_job(100, BS_OK, 2000);
	assert_int_equal(pool_submit(pool, &j->job, fd), BS_OK);
	pool_release(pool, &j->job);
	pool_free(pool);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(read(fd, &n, sizeof(n)), -1);
	(void)close(fd);
}

static void
test_no_database_is_temporary(void **state)
{
	struct pool_settings settings = { .database = "sqlite:/nonexistent/x.db", .password_file = "", .timeout_ms = 1000,
		.threads = 1, .queue_max = 10 };
	struct pool *pool = NULL;

	(void)state;
	assert_int_equal(pool_new(&settings, &pool), BS_OK);
	assert_int_equal(once(pool, 0, BS_OK, 2000), BS_ERR_UNAVAIL);
	pool_free(pool);
}

static void *
hammer(void *arg)
{
	for (int i = 0; i < 300; i++) {
		enum bs_err err = once(arg, i % 50 == 0 ? 3 : 0, i % 7 == 0 ? BS_ERR_NOENT : BS_OK, i % 100 == 0 ? 1 : 2000);

		if (err == BS_ERR_INTERNAL)
			return NULL;
	}
	return arg;
}

static void
test_many_callers(void **state)
{
	struct pool *pool = new_pool(3, 100);
	pthread_t threads[8];
	void *result;

	(void)state;
	for (int i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, pool), 0);
	for (int i = 0; i < 8; i++) {
		pthread_join(threads[i], &result);
		assert_ptr_equal(result, pool);
	}
	pool_free(pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_results_come_back),
		cmocka_unit_test(test_the_deadline_holds_and_the_job_is_freed_later),
		cmocka_unit_test(test_while_it_is_down_all_but_one_are_refused_at_once),
		cmocka_unit_test(test_all_threads_hang),
		cmocka_unit_test(test_a_late_job_is_not_run),
		cmocka_unit_test(test_eventfd_tells),
		cmocka_unit_test(test_no_database_is_temporary),
		cmocka_unit_test(test_many_callers),
	};

	return cmocka_run_group_tests(tests, fixture_sqlite, fixture_end);
}
