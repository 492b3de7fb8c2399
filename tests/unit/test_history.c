/* milter/batches and common/store_policy_history: rows in batches, never waited for; on both engines. */
#include "milter/batches.h"

#include <time.h>

#include "store_fixture.h"
#include "store_policy_history.h"

#define ROOM 50

static struct pool *pool;

static void
nap(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&ts, &ts) != 0)
		continue;
}

static enum bs_err
write_rows(void *ctx, struct bs_store_policy *store, const void *rows, size_t n)
{
	(void)ctx;
	return bs_history_add(store, rows, n);
}

static bool
merge(void *waiting, const void *row)
{
	return memcmp(((struct bs_history_row *)waiting)->account, ((const struct bs_history_row *)row)->account,
	    BS_HISTORY_ID_LEN) == 0;
}

static const struct batches_kind plain = { "history", sizeof(struct bs_history_row), ROOM, 20, write_rows, bs_history_forget, NULL, NULL };
static const struct batches_kind merging = { "history", sizeof(struct bs_history_row), ROOM, 20, write_rows, bs_history_forget, merge, NULL };

static struct bs_store_policy *
open_store(bool migrate)
{
	struct bs_store_policy *store = NULL;

	if (bs_store_policy_open(fx.policy_url, fx.policy_password, FIXTURE_TIMEOUT_MS, migrate, &store) != BS_OK)
		fail_msg("%s", bs_store_policy_errmsg(NULL));
	return store;
}

static int
fresh(void **state)
{
	struct pool_settings settings = { .database = fx.policy_url, .password_file = fx.policy_password,
		.timeout_ms = FIXTURE_TIMEOUT_MS, .threads = 1, .queue_max = 10 };
	struct bs_store_policy *store = open_store(true);

	(void)state;
	assert_int_equal(bs_history_forget(store, INT64_MAX), BS_OK);
	bs_store_policy_close(store);
	return pool_new(&settings, &pool) == BS_OK ? 0 : -1;
}

static int
stale(void **state)
{
	(void)state;
	pool_free(pool);
	return 0;
}

static struct bs_history_row
row(uint8_t account, uint8_t id, int64_t at)
{
	struct bs_history_row r = { .at = at, .outcome = "folder", .by = "dnsbl", .reply = "5.7.1", .queue_id = "4XYZ" };

	memset(r.account, account, sizeof(r.account));
	memset(r.sender, 0, sizeof(r.sender)); /* a NUL byte is a byte like any other */
	memset(r.id, id, sizeof(r.id));
	return r;
}

struct seen {
	size_t n;
	int64_t last_at;
};

static enum bs_err
see(void *ctx, const struct bs_history_row *r)
{
	struct seen *seen = ctx;
	static const uint8_t nothing[BS_HISTORY_ID_LEN];

	assert_true(seen->n == 0 || r->at <= seen->last_at);
	assert_memory_equal(r->sender, nothing, sizeof(nothing));
	assert_string_equal(r->outcome, "folder");
	assert_string_equal(r->by, "dnsbl");
	assert_string_equal(r->reply, "5.7.1");
	assert_string_equal(r->queue_id, "4XYZ");
	seen->last_at = r->at;
	seen->n++;
	return BS_OK;
}

static size_t
count(const uint8_t *account, size_t max)
{
	struct bs_store_policy *store = open_store(false);
	struct seen seen = { 0 };

	assert_int_equal(bs_history_list(store, account, max, see, &seen), BS_OK);
	bs_store_policy_close(store);
	return seen.n;
}

static void
test_store(void **state)
{
	struct bs_store_policy *store = open_store(false);
	struct bs_history_row rows[4] = { row(1, 1, 100), row(1, 2, 200), row(2, 3, 300), row(1, 4, 200) };

	(void)state;
	assert_int_equal(bs_history_add(store, rows, 4), BS_OK);
	assert_int_equal(bs_history_add(store, rows, 1), BS_ERR_EXISTS);
	assert_int_equal(count(rows[0].account, 10), 3);
	assert_int_equal(count(rows[2].account, 10), 1);
	assert_int_equal(count(NULL, 10), 4);
	assert_int_equal(count(NULL, 2), 2);
	assert_int_equal(bs_history_forget(store, 200), BS_OK);
	assert_int_equal(count(NULL, 10), 3);
	bs_store_policy_close(store);
}

/* A batch that is full goes at once; what is less, soon; what is there at the end, then. */
static void
test_batches(void **state)
{
	struct batches *batches;
	struct batches_counts counts = { 0 };

	(void)state;
	assert_int_equal(batches_new(pool, &plain, 0, &batches), BS_OK);
	for (uint8_t i = 0; i < 20; i++) {
		struct bs_history_row r = row(i, i, 1000);

		batches_add(batches, &r);
	}
	for (int i = 0; i < 1500 && count(NULL, 100) < 20; i++)
		nap(2);
	assert_int_equal(count(NULL, 100), 20);
	for (uint8_t i = 0; i < 3; i++) {
		struct bs_history_row r = row(i, (uint8_t)(100 + i), 1000);

		batches_add(batches, &r);
	}
	batches_stop(batches);
	assert_int_equal(count(NULL, 100), 23);
	batches_read(batches, &counts);
	assert_int_equal(counts.added, 23);
	assert_int_equal(counts.written, 23);
	batches_free(batches);
}

static void
test_merge(void **state)
{
	struct batches *batches;
	struct batches_counts counts;

	(void)state;
	assert_int_equal(batches_new(pool, &merging, 0, &batches), BS_OK);
	for (uint8_t i = 0; i < 200; i++) {
		struct bs_history_row r = row(i % 3, i, 1000);

		batches_add(batches, &r);
	}
	batches_stop(batches);
	batches_read(batches, &counts);
	assert_int_equal(counts.written, 200);
	assert_int_equal(count(NULL, 100), 3);
	batches_free(batches);
}

/* More than there is room for, or nobody who writes them: dropped, counted, and nobody waits. */
static void
test_what_can_not_be_written_is_dropped(void **state)
{
	struct pool_settings settings = { .database = "sqlite:/nowhere/at/all.db", .password_file = "", .timeout_ms = 100,
		.threads = 1, .queue_max = 10 };
	struct batches *batches;
	struct batches_counts counts;
	struct pool *broken;
	int64_t began_ms;

	(void)state;
	assert_int_equal(pool_new(&settings, &broken), BS_OK);
	assert_int_equal(batches_new(broken, &plain, 0, &batches), BS_OK);
	began_ms = bs_now_ms();
	for (int i = 0; i < 1000; i++) {
		struct bs_history_row r = row((uint8_t)i, (uint8_t)i, i);

		batches_add(batches, &r);
	}
	assert_true(bs_now_ms() - began_ms < 2000);
	batches_stop(batches);
	batches_read(batches, &counts);
	assert_int_equal(counts.added, 1000);
	assert_int_equal(counts.dropped, 1000);
	assert_int_equal(counts.written, 0);
	batches_free(batches);
	pool_free(broken);
}

static void
test_old_rows_are_forgotten(void **state)
{
	struct batches *batches;
	struct bs_history_row old = row(1, 1, (int64_t)time(NULL) - 1000), new = row(1, 2, (int64_t)time(NULL));

	(void)state;
	assert_int_equal(batches_new(pool, &plain, 100, &batches), BS_OK);
	batches_add(batches, &old);
	batches_add(batches, &new);
	batches_free(batches);
	assert_int_equal(count(NULL, 10), 1);
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, fresh, stale)
	const struct CMUnitTest tests[] = {
		EACH(test_store),
		EACH(test_batches),
		EACH(test_merge),
		EACH(test_what_can_not_be_written_is_dropped),
		EACH(test_old_rows_are_forgotten),
	};

	return cmocka_run_group_tests_name("history on SQLite", tests, fixture_sqlite, fixture_end) +
	       cmocka_run_group_tests_name("history on MariaDB", tests, fixture_mariadb, fixture_end);
}
