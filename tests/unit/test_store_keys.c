/* common/store_keys: the same contract on SQLite and MariaDB. */
#include "store_keys.h"

#include "store_fixture.h"

#define BLOB_LEN (256 * 1024)

static uint8_t blob[BLOB_LEN];

static struct bs_store_keys *
open_store(void)
{
	struct bs_store_keys *store = NULL;
	enum bs_err err = bs_store_keys_open(fx.keys_url, fx.keys_password, FIXTURE_TIMEOUT_MS, &store);

	if (err != BS_OK)
		fail_msg("open: %s", bs_store_keys_errmsg(NULL));
	return store;
}

/* Every test begins without rows. */
static struct bs_store_keys *
open_empty(void)
{
	struct bs_store_keys *store = open_store();
	struct bs_sql *db = NULL;

	assert_int_equal(bs_sql_open(fx.keys_url, fx.keys_password, FIXTURE_TIMEOUT_MS, &db), BS_OK);
	assert_int_equal(bs_sql_run(db, "DELETE FROM keysets", NULL, 0, NULL, NULL), BS_OK);
	bs_sql_close(db);
	for (size_t i = 0; i < sizeof(blob); i++)
		blob[i] = (uint8_t)(i % 5 == 0 ? 0 : i * 13);
	return store;
}

static void
expect(struct bs_store_keys *store, const char *account, uint64_t generation, size_t len)
{
	uint8_t *got = NULL;
	size_t got_len = 0;
	uint64_t got_generation = 0;

	assert_int_equal(bs_store_keys_get(store, account, &got, &got_len, &got_generation), BS_OK);
	assert_int_equal(got_generation, generation);
	assert_int_equal(got_len, len);
	assert_memory_equal(got, blob, len);
	free(got);
}

static void
expect_none(struct bs_store_keys *store, const char *account)
{
	uint8_t *got = NULL;
	size_t len = 0;
	uint64_t generation = 0;

	assert_int_equal(bs_store_keys_get(store, account, &got, &len, &generation), BS_ERR_NOENT);
	assert_null(got);
}

static void
test_newest_generation(void **state)
{
	struct bs_store_keys *store = open_empty();
	uint64_t n = 0;

	(void)state;
	expect_none(store, "alice@example.org");
	for (uint64_t g = 1; g <= 11; g++) {
		assert_int_equal(bs_store_keys_put(store, "alice@example.org", g, blob, 1000 + g), BS_OK);
		expect(store, "alice@example.org", g, 1000 + g);
	}
	assert_int_equal(bs_store_keys_put(store, "bob@example.org", 1, blob, BLOB_LEN), BS_OK);
	expect(store, "bob@example.org", 1, BLOB_LEN);
	assert_int_equal(bs_store_keys_count(store, &n), BS_OK);
	assert_int_equal(n, 2);
	expect_none(store, "Alice@example.org");
	expect_none(store, "alice@example.or_");
	expect_none(store, "' OR 1=1 --");
	bs_store_keys_close(store);
}

static void
test_only_newest_plus_one(void **state)
{
	static const uint64_t wrong[] = { 1, 2, 4, 5, INT64_MAX };
	static const uint64_t never[] = { 0, (uint64_t)INT64_MAX + 1, UINT64_MAX };
	struct bs_store_keys *store = open_empty();

	(void)state;
	assert_int_equal(bs_store_keys_put(store, "a@b", 2, blob, 10), BS_ERR_CONFLICT);
	expect_none(store, "a@b");
	assert_int_equal(bs_store_keys_put(store, "a@b", 1, blob, 10), BS_OK);
	assert_int_equal(bs_store_keys_put(store, "a@b", 2, blob, 20), BS_OK);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(bs_store_keys_put(store, "a@b", wrong[i], blob, 30), BS_ERR_CONFLICT);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(bs_store_keys_put(store, "a@b", never[i], blob, 30), BS_ERR_ARG);
	assert_int_equal(bs_store_keys_put(store, "", 1, blob, 30), BS_ERR_ARG);
	expect(store, "a@b", 2, 20);
	bs_store_keys_close(store);
}

/* Many processes race for the same generation: exactly one wins each. */
static void
test_racing_writers(void **state)
{
	enum { WRITERS = 4, ROUNDS = 5 };
	struct bs_store_keys *store = open_empty();
	int wins = 0;
	pid_t pids[WRITERS];

	(void)state;
	for (int w = 0; w < WRITERS; w++) {
		pids[w] = fork();
		if (pids[w] == 0) {
			struct bs_store_keys *mine = NULL;
			int mine_wins = 0;

			if (bs_store_keys_open(fx.keys_url, fx.keys_password, 5000, &mine) != BS_OK)
				_exit(100);
			for (uint64_t g = 1; g <= ROUNDS; g++) {
				enum bs_err err = bs_store_keys_put(mine, "race@b", g, blob, 100);

				if (err != BS_OK && err != BS_ERR_CONFLICT)
					_exit(101);
				mine_wins += err == BS_OK;
			}
			_exit(mine_wins);
		}
	}
	for (int w = 0; w < WRITERS; w++) {
		int status = -1;

		assert_int_equal(waitpid(pids[w], &status, 0), pids[w]);
		assert_true(WIFEXITED(status));
		assert_in_range(WEXITSTATUS(status), 0, ROUNDS);
		wins += WEXITSTATUS(status);
	}
	/* A round may end without a winner (all deadlocked), never with two. */
	assert_in_range(wins, 1, ROUNDS);
	expect(store, "race@b", (uint64_t)wins, 100);
	bs_store_keys_close(store);
}

static void
test_prune_and_remove(void **state)
{
	struct bs_store_keys *store = open_empty();

	(void)state;
	for (uint64_t g = 1; g <= 4; g++)
		assert_int_equal(bs_store_keys_put(store, "a@b", g, blob, 10 * g), BS_OK);
	assert_int_equal(bs_store_keys_put(store, "c@d", 1, blob, 5), BS_OK);
	assert_int_equal(bs_store_keys_prune(store, "a@b", 3), BS_OK);
	expect(store, "a@b", 4, 40);
	assert_int_equal(bs_store_keys_prune(store, "a@b", UINT64_MAX), BS_OK);
	expect(store, "a@b", 4, 40);
	assert_int_equal(bs_store_keys_prune(store, "nobody@b", 9), BS_OK);
	assert_int_equal(bs_store_keys_put(store, "a@b", 5, blob, 50), BS_OK);
	assert_int_equal(bs_store_keys_remove(store, "a@b"), BS_OK);
	assert_int_equal(bs_store_keys_remove(store, "a@b"), BS_ERR_NOENT);
	expect_none(store, "a@b");
	expect(store, "c@d", 1, 5);
	assert_int_equal(bs_store_keys_put(store, "a@b", 1, blob, 10), BS_OK);
	bs_store_keys_close(store);
}

static void
test_newer_schema_is_refused(void **state)
{
	struct bs_store_keys *store = NULL;
	struct bs_sql *db = NULL;

	(void)state;
	bs_store_keys_close(open_store());
	assert_int_equal(bs_sql_open(fx.keys_url, fx.keys_password, FIXTURE_TIMEOUT_MS, &db), BS_OK);
	assert_int_equal(bs_sql_run(db, "INSERT INTO schema_version (number, applied) VALUES (999, 0)", NULL, 0, NULL, NULL), BS_OK);
	assert_int_equal(bs_store_keys_open(fx.keys_url, fx.keys_password, FIXTURE_TIMEOUT_MS, &store), BS_ERR_VERSION);
	assert_non_null(strstr(bs_store_keys_errmsg(NULL), "newer"));
	assert_int_equal(bs_sql_run(db, "DELETE FROM schema_version WHERE number = 999", NULL, 0, NULL, NULL), BS_OK);
	bs_sql_close(db);
}

static void
test_hung_server(void **state)
{
	struct bs_store_keys *store = open_empty();
	uint8_t *got = NULL;
	size_t len;
	uint64_t generation;
	int64_t start;

	(void)state;
	assert_int_equal(bs_store_keys_put(store, "a@b", 1, blob, 10), BS_OK);
	fixture_freeze();
	start = bs_now_ms();
	assert_true(bs_err_is_transient(bs_store_keys_put(store, "a@b", 2, blob, 20)));
	assert_in_range(bs_now_ms() - start, 0, FIXTURE_DEADLINE_MS);
	start = bs_now_ms();
	assert_true(bs_err_is_transient(bs_store_keys_get(store, "a@b", &got, &len, &generation)));
	assert_in_range(bs_now_ms() - start, 0, FIXTURE_DEADLINE_MS);
	assert_int_equal(kill(fx.server, SIGCONT), 0);
	expect(store, "a@b", 1, 10);
	assert_int_equal(bs_store_keys_put(store, "a@b", 2, blob, 20), BS_OK);
	bs_store_keys_close(store);
}

/* The server dies again and again under a writer: what was acknowledged is there, generation by generation. */
static void
test_kill_under_a_writer(void **state)
{
	struct bs_store_keys *store = open_empty();
	uint64_t stored = 0;

	(void)state;
	for (int round = 0; round < 3; round++) {
		pid_t killer = fork();

		if (killer == 0) {
			usleep(20000 + 7000 * (unsigned)round);
			kill(fx.server, SIGKILL);
			_exit(0);
		}
		while (bs_store_keys_put(store, "a@b", stored + 1, blob, 100 + stored + 1) == BS_OK)
			stored++;
		waitpid(killer, NULL, 0);
		fixture_server_kill();
		fixture_server_start();
		uint8_t *got = NULL;
		size_t len = 0;
		uint64_t generation = 0;
		enum bs_err err = bs_store_keys_get(store, "a@b", &got, &len, &generation);

		if (err == BS_ERR_NOENT && stored == 0)
			continue;
		assert_int_equal(err, BS_OK);
		assert_in_range(generation, stored, stored + 1); /* the last one may have lost its answer */
		assert_int_equal(len, 100 + generation);
		stored = generation;
		free(got);
	}
	assert_true(stored > 0);
	bs_store_keys_close(store);
}

int
main(void)
{
#define BOTH                                                                                                           \
	cmocka_unit_test(test_newest_generation), cmocka_unit_test(test_only_newest_plus_one),                             \
	    cmocka_unit_test(test_racing_writers), cmocka_unit_test(test_prune_and_remove),                                \
	    cmocka_unit_test(test_newer_schema_is_refused)
	const struct CMUnitTest sqlite[] = { BOTH };
	const struct CMUnitTest mariadb[] = { BOTH, cmocka_unit_test(test_hung_server),
		cmocka_unit_test(test_kill_under_a_writer) };

	return cmocka_run_group_tests_name("store_keys on SQLite", sqlite, fixture_sqlite, fixture_end) +
	       cmocka_run_group_tests_name("store_keys on MariaDB", mariadb, fixture_mariadb, fixture_end);
}
