/* common/sql: the same contract on SQLite and MariaDB. */
#include "store_fixture.h"

#include <inttypes.h>

#define BLOB_LEN (256 * 1024)

static struct bs_sql *
open_db(void)
{
	struct bs_sql *db = NULL;
	enum bs_err err = bs_sql_open(fx.keys_url, fx.keys_password, FIXTURE_TIMEOUT_MS, &db);

	if (err != BS_OK)
		fail_msg("open: %s", bs_sql_errmsg(NULL));
	return db;
}

static void
must_run(struct bs_sql *db, const char *sql)
{
	enum bs_err err = bs_sql_run(db, sql, NULL, 0, NULL, NULL);

	if (err != BS_OK)
		fail_msg("%s: %s", sql, bs_sql_errmsg(db));
}

static struct bs_sql *
open_with_table(void)
{
	struct bs_sql *db = open_db();

	must_run(db, "DROP TABLE IF EXISTS t");
	must_run(db, "CREATE TABLE t (k VARCHAR(64) NOT NULL, i BIGINT, b LONGBLOB, PRIMARY KEY (k))"
	             "/*! ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */");
	return db;
}

static enum bs_err
insert(struct bs_sql *db, const char *k, int64_t i, const void *blob, size_t len)
{
	struct bs_sql_arg args[] = { BS_SQL_TEXT(k), BS_SQL_INT(i), BS_SQL_BLOB(blob, len) };

	return bs_sql_run(db, "INSERT INTO t (k, i, b) VALUES (?, ?, ?)", args, 3, NULL, NULL);
}

struct got {
	unsigned rows;
	int64_t i;
	uint8_t *b;
	size_t len;
	bool null;
	char k[512];
};

static enum bs_err
take(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	struct got *got = ctx;

	assert_int_equal(n, 3);
	got->rows++;
	snprintf(got->k, sizeof(got->k), "%s", (const char *)cols[0].p);
	got->i = cols[1].i;
	got->null = cols[2].p == NULL;
	got->len = cols[2].len;
	free(got->b);
	got->b = malloc(got->len + 1);
	if (!got->null) {
		assert_int_equal(cols[2].p[got->len], 0);
		memcpy(got->b, cols[2].p, got->len);
	}
	return BS_OK;
}

static struct got
get(struct bs_sql *db, const char *k)
{
	struct got got = { 0 };
	enum bs_err err =
	    bs_sql_run(db, "SELECT k, i, b FROM t WHERE k = ?", (struct bs_sql_arg[]){ BS_SQL_TEXT(k) }, 1, take, &got);

	if (err != BS_OK)
		fail_msg("select: %s", bs_sql_errmsg(db));
	return got;
}

static enum bs_err
count_row(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	(void)n;
	*(int64_t *)ctx = cols[0].i;
	return BS_OK;
}

static int64_t
count(struct bs_sql *db)
{
	int64_t n = -1;

	assert_int_equal(bs_sql_run(db, "SELECT COUNT(*) FROM t", NULL, 0, count_row, &n), BS_OK);
	return n;
}

/* --- values --- */

static void
test_values_come_back(void **state)
{
	static const int64_t ints[] = { 0, 1, -1, INT64_MAX, INT64_MIN };
	struct bs_sql *db = open_with_table();
	uint8_t *blob = malloc(BLOB_LEN);
	struct got got;

	(void)state;
	for (size_t i = 0; i < BLOB_LEN; i++)
		blob[i] = i % 7 == 0 ? 0 : (uint8_t)(i * 31);
	for (size_t i = 0; i < 5; i++) {
		char k[8];

		snprintf(k, sizeof(k), "%zu", i);
		assert_int_equal(insert(db, k, ints[i], blob, i == 0 ? 0 : (size_t)BLOB_LEN >> (i - 1)), BS_OK);
		assert_int_equal(bs_sql_changes(db), 1);
		got = get(db, k);
		assert_int_equal(got.rows, 1);
		assert_true(got.i == ints[i]);
		assert_false(got.null);
		assert_int_equal(got.len, i == 0 ? 0 : BLOB_LEN >> (i - 1));
		assert_memory_equal(got.b, blob, got.len);
		free(got.b);
	}
	free(blob);
	bs_sql_close(db);
}

static void
test_null_is_not_empty(void **state)
{
	struct bs_sql *db = open_with_table();
	struct got got;

	(void)state;
	must_run(db, "INSERT INTO t (k) VALUES ('n')");
	got = get(db, "n");
	assert_int_equal(got.rows, 1);
	assert_true(got.null);
	free(got.b);
	bs_sql_close(db);
}

static void
test_strings_are_never_sql(void **state)
{
	static const char *const evil[] = { "'", "\"", "\\", "'; DROP TABLE t; --", "x' OR '1'='1", "%", "_", "?", "\\'; --",
		"a\nb;\n", "\xc3\xa9\xf0\x9f\x92\xa9" };
	struct bs_sql *db = open_with_table();

	(void)state;
	for (size_t i = 0; i < sizeof(evil) / sizeof(evil[0]); i++) {
		struct got got;

		assert_int_equal(insert(db, evil[i], 1, evil[i], strlen(evil[i])), BS_OK);
		got = get(db, evil[i]);
		assert_int_equal(got.rows, 1);
		assert_string_equal(got.k, evil[i]);
		free(got.b);
	}
	assert_int_equal(count(db), sizeof(evil) / sizeof(evil[0]));
	bs_sql_close(db);
}

static void
test_case_counts(void **state)
{
	struct bs_sql *db = open_with_table();
	struct got got;

	(void)state;
	assert_int_equal(insert(db, "a", 1, "", 0), BS_OK);
	assert_int_equal(insert(db, "A", 2, "", 0), BS_OK);
	got = get(db, "A");
	assert_int_equal(got.i, 2);
	free(got.b);
	bs_sql_close(db);
}

static void
test_duplicate_key(void **state)
{
	struct bs_sql *db = open_with_table();

	(void)state;
	assert_int_equal(insert(db, "secret-value", 1, "", 0), BS_OK);
	assert_int_equal(insert(db, "secret-value", 2, "", 0), BS_ERR_EXISTS);
	assert_string_not_equal(bs_sql_errmsg(db), "");
	assert_null(strstr(bs_sql_errmsg(db), "secret-value"));
	assert_int_equal(count(db), 1);
	bs_sql_close(db);
}

static enum bs_err
stop_at_once(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	(void)cols;
	(void)n;
	++*(int *)ctx;
	return BS_ERR_LIMIT;
}

static void
test_callback_ends_the_statement(void **state)
{
	struct bs_sql *db = open_with_table();
	int calls = 0;

	(void)state;
	assert_int_equal(insert(db, "a", 1, "", 0), BS_OK);
	assert_int_equal(insert(db, "b", 1, "", 0), BS_OK);
	assert_int_equal(bs_sql_run(db, "SELECT k FROM t", NULL, 0, stop_at_once, &calls), BS_ERR_LIMIT);
	assert_int_equal(calls, 1);
	assert_int_equal(count(db), 2);
	bs_sql_close(db);
}

#define BY_NUMBER "SELECT k FROM t WHERE i = ? ORDER BY k"

static enum bs_err
count_rows(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	(void)cols;
	(void)n;
	++*(int *)ctx;
	return BS_OK;
}

/* A statement that was kept begins anew each time: after one that was left in its middle, and after one that failed. */
static void
test_the_same_statement_again(void **state)
{
	struct bs_sql *db = open_with_table();
	struct bs_sql_arg one[] = { BS_SQL_INT(1) }, two[] = { BS_SQL_INT(2) };
	int left = 0, rows = 0;

	(void)state;
	assert_int_equal(insert(db, "a", 1, "", 0), BS_OK);
	assert_int_equal(insert(db, "b", 1, "", 0), BS_OK);
	assert_int_equal(insert(db, "b", 1, "", 0), BS_ERR_EXISTS);
	assert_int_equal(insert(db, "c", 2, "", 0), BS_OK);
	assert_int_equal(bs_sql_run(db, BY_NUMBER, one, 1, stop_at_once, &left), BS_ERR_LIMIT);
	assert_int_equal(bs_sql_run(db, BY_NUMBER, one, 1, count_rows, &rows), BS_OK);
	assert_int_equal(rows, 2);
	assert_int_equal(bs_sql_run(db, BY_NUMBER, two, 1, count_rows, &rows), BS_OK);
	assert_int_equal(rows, 3);
	must_run(db, "ALTER TABLE t ADD COLUMN more BIGINT");
	assert_int_equal(bs_sql_run(db, BY_NUMBER, one, 1, count_rows, &rows), BS_OK);
	assert_int_equal(rows, 5);
	bs_sql_close(db);
}

/* More different statements than an engine keeps. */
static void
test_many_statements(void **state)
{
	struct bs_sql *db = open_with_table();
	struct bs_sql_arg one[] = { BS_SQL_INT(1) };
	char sql[64];
	int rows = 0;

	(void)state;
	assert_int_equal(insert(db, "a", 1, "", 0), BS_OK);
	for (int i = 0; i < 80; i++) {
		snprintf(sql, sizeof(sql), "SELECT k, %d FROM t WHERE i = ?", i % 40);
		assert_int_equal(bs_sql_run(db, sql, one, 1, count_rows, &rows), BS_OK);
	}
	assert_int_equal(rows, 80);
	bs_sql_close(db);
}

static void
test_bad_sql_is_transient(void **state)
{
	struct bs_sql *db = open_with_table();
	enum bs_err err = bs_sql_run(db, "SELECT nothing FROM nowhere", NULL, 0, NULL, NULL);

	(void)state;
	assert_true(bs_err_is_transient(err));
	assert_int_equal(count(db), 0);
	bs_sql_close(db);
}

/* --- transactions --- */

static void
test_commit_and_rollback(void **state)
{
	struct bs_sql *db = open_with_table(), *other = open_db();

	(void)state;
	assert_int_equal(bs_sql_begin(db), BS_OK);
	assert_int_equal(insert(db, "a", 1, "", 0), BS_OK);
	assert_int_equal(count(other), 0);
	bs_sql_rollback(db);
	assert_int_equal(count(db), 0);
	assert_int_equal(bs_sql_begin(db), BS_OK);
	assert_int_equal(bs_sql_begin(db), BS_ERR_INTERNAL);
	assert_int_equal(insert(db, "a", 1, "", 0), BS_OK);
	assert_int_equal(bs_sql_commit(db), BS_OK);
	assert_int_equal(count(other), 1);
	assert_int_equal(bs_sql_commit(db), BS_ERR_INTERNAL);
	bs_sql_close(other);
	bs_sql_close(db);
}

static void
test_closing_rolls_back(void **state)
{
	struct bs_sql *db = open_with_table(), *other = open_db();

	(void)state;
	assert_int_equal(bs_sql_begin(other), BS_OK);
	assert_int_equal(insert(other, "a", 1, "", 0), BS_OK);
	bs_sql_close(other);
	assert_int_equal(count(db), 0);
	bs_sql_close(db);
}

static void
test_two_writers_conflict_in_time(void **state)
{
	struct bs_sql *db = open_with_table(), *other = open_db();
	int64_t start;

	(void)state;
	assert_int_equal(insert(db, "a", 1, "", 0), BS_OK);
	assert_int_equal(bs_sql_begin(db), BS_OK);
	must_run(db, "UPDATE t SET i = 2 WHERE k = 'a'");
	start = bs_now_ms();
	assert_true(bs_err_is_transient(bs_sql_run(other, "UPDATE t SET i = 3 WHERE k = 'a'", NULL, 0, NULL, NULL)));
	assert_in_range(bs_now_ms() - start, FIXTURE_TIMEOUT_MS / 2, FIXTURE_DEADLINE_MS);
	assert_int_equal(bs_sql_commit(db), BS_OK);
	must_run(other, "UPDATE t SET i = 3 WHERE k = 'a'");
	bs_sql_close(other);
	bs_sql_close(db);
}

static void
test_slow_statement_is_cut(void **state)
{
	struct bs_sql *db = open_with_table();
	int64_t n = 0, start = bs_now_ms();
	const char *slow = fx.mariadb ? "SELECT COUNT(*) FROM seq_1_to_1000000 a, seq_1_to_1000000 b"
	                              : "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT COUNT(*) FROM c";

	(void)state;
	assert_int_equal(bs_sql_run(db, slow, NULL, 0, count_row, &n), BS_ERR_TIMEOUT);
	assert_in_range(bs_now_ms() - start, FIXTURE_TIMEOUT_MS / 2, FIXTURE_DEADLINE_MS);
	assert_int_equal(count(db), 0);
	bs_sql_close(db);
}

/* --- migrations --- */

static const struct bs_sql_migration migrations[] = {
	{ 1, "-- a comment\nCREATE TABLE IF NOT EXISTS m (\n\tk BIGINT NOT NULL,\n\tPRIMARY KEY (k)\n);\nREPLACE INTO m (k) VALUES (1);\n" },
	{ 2, "REPLACE INTO m (k) VALUES (2);\n" },
};

static int64_t
rows_of_m(struct bs_sql *db)
{
	int64_t n = -1;

	assert_int_equal(bs_sql_run(db, "SELECT COUNT(*) FROM m", NULL, 0, count_row, &n), BS_OK);
	return n;
}

static struct bs_sql *
open_without_schema(void)
{
	struct bs_sql *db = open_db();

	must_run(db, "DROP TABLE IF EXISTS schema_version");
	must_run(db, "DROP TABLE IF EXISTS m");
	return db;
}

static void
test_migrate_step_by_step(void **state)
{
	struct bs_sql *db = open_without_schema();

	(void)state;
	assert_int_equal(bs_sql_check_version(db, migrations, 1), BS_ERR_VERSION);
	assert_non_null(strstr(bs_sql_errmsg(db), "db migrate"));
	assert_int_equal(bs_sql_migrate(db, migrations, 1), BS_OK);
	assert_int_equal(rows_of_m(db), 1);
	assert_int_equal(bs_sql_check_version(db, migrations, 1), BS_OK);
	assert_int_equal(bs_sql_check_version(db, migrations, 2), BS_ERR_VERSION);
	assert_int_equal(bs_sql_migrate(db, migrations, 2), BS_OK);
	assert_int_equal(bs_sql_migrate(db, migrations, 2), BS_OK);
	assert_int_equal(rows_of_m(db), 2);
	bs_sql_close(db);
}

static void
test_newer_schema_is_refused(void **state)
{
	struct bs_sql *db = open_without_schema();

	(void)state;
	assert_int_equal(bs_sql_migrate(db, migrations, 2), BS_OK);
	assert_int_equal(bs_sql_migrate(db, migrations, 1), BS_ERR_VERSION);
	assert_non_null(strstr(bs_sql_errmsg(db), "newer"));
	assert_int_equal(bs_sql_check_version(db, migrations, 1), BS_ERR_VERSION);
	bs_sql_close(db);
}

static void
test_failed_migration_is_not_noted(void **state)
{
	static const struct bs_sql_migration bad[] = { { 1, "CREATE TABLE m (k BIGINT NOT NULL, PRIMARY KEY (k));\nNONSENSE;\n" } };
	struct bs_sql *db = open_without_schema();

	(void)state;
	assert_true(bs_sql_migrate(db, bad, 1) != BS_OK);
	assert_int_equal(bs_sql_check_version(db, migrations, 1), BS_ERR_VERSION);
	assert_int_equal(bs_sql_migrate(db, migrations, 2), BS_OK);
	assert_int_equal(rows_of_m(db), 2);
	bs_sql_close(db);
}

static void
test_two_migrate_at_once(void **state)
{
	enum { N = 4 };
	pid_t pids[N];
	struct bs_sql *db = open_without_schema();

	(void)state;
	for (int i = 0; i < N; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			struct bs_sql *mine = NULL;
			enum bs_err err = bs_sql_open(fx.keys_url, fx.keys_password, 5000, &mine);

			for (int tries = 0; err == BS_OK && tries < 5; tries++) {
				err = bs_sql_migrate(mine, migrations, 2);
				if (err == BS_OK)
					_exit(0);
				err = err == BS_ERR_CONFLICT ? BS_OK : err;
			}
			_exit((int)err);
		}
	}
	for (int i = 0; i < N; i++) {
		int status = -1;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(rows_of_m(db), 2);
	bs_sql_close(db);
}

/* --- opening --- */

static void
test_bad_urls(void **state)
{
	static const char *const urls[] = { "", "sqlite:", "sqlite:relative.db", "mysql://a@b/c", "mariadb://", "mariadb://host/db",
		"mariadb://u@h", "mariadb://u@h/", "mariadb://@h/d", "mariadb://u@/d", "mariadb://u@h:/d", "mariadb://u@h:x/d",
		"mariadb://u@h:70000/d", "mariadb://u@h:-1/d", "mariadb://u@h/d?sslmode=no", "mariadb://u@h/d?socket=relative" };
	struct bs_sql *db = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		assert_int_equal(bs_sql_open(urls[i], NULL, 500, &db), BS_ERR_FORMAT);
		assert_int_equal(bs_sql_check_url(urls[i]), BS_ERR_FORMAT);
		assert_null(db);
		assert_non_null(strstr(bs_sql_errmsg(NULL), "mariadb://USER@HOST"));
	}
	assert_int_equal(bs_sql_check_url(fx.keys_url), BS_OK);
	assert_int_equal(bs_sql_check_url("sqlite:/nonexistent/x.db"), BS_OK);
	assert_int_equal(bs_sql_check_url("mariadb://user@localhost/x?socket=/nonexistent"), BS_OK);
	assert_int_equal(bs_sql_open(fx.keys_url, "/nonexistent/password", 500, &db), BS_ERR_CONF);
	assert_non_null(strstr(bs_sql_errmsg(NULL), "/nonexistent/password"));
}

static void
test_nobody_there(void **state)
{
	struct bs_sql *db = NULL;

	(void)state;
	assert_int_equal(bs_sql_open("sqlite:/nonexistent/x.db", NULL, 500, &db), BS_ERR_UNAVAIL);
	assert_int_equal(bs_sql_open("mariadb://u@127.0.0.1:1/d", NULL, 500, &db), BS_ERR_UNAVAIL);
	assert_int_equal(bs_sql_open("mariadb://u@localhost/d?socket=/nonexistent/s", NULL, 500, &db), BS_ERR_UNAVAIL);
	assert_string_not_equal(bs_sql_errmsg(NULL), "");
}

static void
test_sqlite_file_is_private(void **state)
{
	char path[128];
	struct stat st;
	struct bs_sql *db = NULL;
	mode_t mask = umask(0);

	(void)state;
	snprintf(path, sizeof(path), "sqlite:%s/new.db", fx.folder);
	assert_int_equal(bs_sql_open(path, NULL, 500, &db), BS_OK);
	must_run(db, "CREATE TABLE t (k BIGINT)");
	umask(mask);
	assert_int_equal(stat(path + 7, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(path, sizeof(path), "%s/new.db-wal", fx.folder);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	bs_sql_close(db);
}

/* --- a server in trouble --- */

static void
within_deadline(int64_t start, enum bs_err err)
{
	assert_true(err == BS_ERR_TIMEOUT || err == BS_ERR_UNAVAIL);
	assert_in_range(bs_now_ms() - start, 0, FIXTURE_DEADLINE_MS);
}

static void
test_hung_server(void **state)
{
	struct bs_sql *db = open_with_table(), *in_tx = open_db(), *fresh = NULL;
	int64_t start;

	(void)state;
	assert_int_equal(bs_sql_begin(in_tx), BS_OK);
	assert_int_equal(insert(in_tx, "tx", 1, "", 0), BS_OK);
	fixture_freeze();
	start = bs_now_ms();
	within_deadline(start, insert(db, "a", 1, "", 0));
	start = bs_now_ms();
	within_deadline(start, insert(db, "b", 1, "", 0)); /* has to connect now */
	start = bs_now_ms();
	within_deadline(start, bs_sql_begin(db));
	start = bs_now_ms();
	within_deadline(start, bs_sql_commit(in_tx));
	start = bs_now_ms();
	within_deadline(start, bs_sql_open(fx.keys_url, fx.keys_password, FIXTURE_TIMEOUT_MS, &fresh));
	start = bs_now_ms();
	bs_sql_close(in_tx);
	assert_in_range(bs_now_ms() - start, 0, FIXTURE_DEADLINE_MS);
	assert_int_equal(kill(fx.server, SIGCONT), 0);
	assert_int_equal(insert(db, "c", 1, "", 0), BS_OK);
	bs_sql_close(db);
}

static void
test_server_killed_and_back(void **state)
{
	struct bs_sql *db = open_with_table();
	int64_t start;

	(void)state;
	assert_int_equal(insert(db, "before", 1, "", 0), BS_OK);
	fixture_server_kill();
	start = bs_now_ms();
	within_deadline(start, insert(db, "down", 1, "", 0));
	within_deadline(start, insert(db, "down", 1, "", 0));
	fixture_server_start();
	assert_int_equal(insert(db, "after", 1, "", 0), BS_OK);
	assert_int_equal(count(db), 2);
	bs_sql_close(db);
}

/* Restarted between two calls: the next one does not even notice. */
static void
test_restart_between_calls(void **state)
{
	struct bs_sql *db = open_with_table();

	(void)state;
	fixture_server_kill();
	fixture_server_start();
	assert_int_equal(insert(db, "a", 1, "", 0), BS_OK);
	fixture_server_kill();
	fixture_server_start();
	assert_int_equal(bs_sql_begin(db), BS_OK);
	assert_int_equal(insert(db, "b", 1, "", 0), BS_OK);
	assert_int_equal(bs_sql_commit(db), BS_OK);
	assert_int_equal(count(db), 2);
	bs_sql_close(db);
}

/* Half a transaction must never go on, by itself, on another connection. */
static void
test_restart_inside_a_transaction(void **state)
{
	struct bs_sql *db = open_with_table();

	(void)state;
	assert_int_equal(bs_sql_begin(db), BS_OK);
	assert_int_equal(insert(db, "first", 1, "", 0), BS_OK);
	fixture_server_kill();
	fixture_server_start();
	assert_int_equal(insert(db, "second", 1, "", 0), BS_ERR_UNAVAIL);
	assert_int_equal(insert(db, "third", 1, "", 0), BS_ERR_UNAVAIL);
	assert_int_equal(bs_sql_commit(db), BS_ERR_UNAVAIL);
	assert_int_equal(count(db), 0);
	assert_int_equal(insert(db, "fourth", 1, "", 0), BS_OK);
	bs_sql_close(db);
}

static void
test_users_are_disjoint(void **state)
{
	char url[320];
	char *slash;
	struct bs_sql *db = NULL;

	(void)state;
	snprintf(url, sizeof(url), "%s", fx.policy_url);
	slash = strrchr(url, '/');
	snprintf(slash, sizeof(url) - (size_t)(slash - url), "/basalt_keys");
	assert_int_equal(bs_sql_open(url, fx.policy_password, FIXTURE_TIMEOUT_MS, &db), BS_ERR_UNAVAIL);
	assert_int_equal(bs_sql_open(fx.policy_url, fx.keys_password, FIXTURE_TIMEOUT_MS, &db), BS_ERR_UNAVAIL);
}

static void
as_root(const char *sql)
{
	char command[256];

	snprintf(command, sizeof(command), "mariadb --no-defaults --socket=%s/s -e '%s'", fx.folder, sql);
	assert_int_equal(system(command), 0);
}

static void
test_server_that_forgets_is_refused(void **state)
{
	struct bs_sql *db = NULL;

	(void)state;
	as_root("SET GLOBAL innodb_flush_log_at_trx_commit = 2");
	assert_int_equal(bs_sql_open(fx.keys_url, fx.keys_password, FIXTURE_TIMEOUT_MS, &db), BS_ERR_CONF);
	assert_non_null(strstr(bs_sql_errmsg(NULL), "set innodb_flush_log_at_trx_commit = 1"));
	as_root("SET GLOBAL innodb_flush_log_at_trx_commit = 1");
	db = open_db();
	bs_sql_close(db);
}

int
main(void)
{
#define BOTH                                                                                                           \
	cmocka_unit_test(test_values_come_back), cmocka_unit_test(test_null_is_not_empty),                                 \
	    cmocka_unit_test(test_strings_are_never_sql), cmocka_unit_test(test_case_counts),                              \
	    cmocka_unit_test(test_duplicate_key), cmocka_unit_test(test_callback_ends_the_statement),                      \
	    cmocka_unit_test(test_the_same_statement_again), cmocka_unit_test(test_many_statements),                       \
	    cmocka_unit_test(test_bad_sql_is_transient), cmocka_unit_test(test_commit_and_rollback),                       \
	    cmocka_unit_test(test_closing_rolls_back), cmocka_unit_test(test_two_writers_conflict_in_time),                \
	    cmocka_unit_test(test_slow_statement_is_cut), cmocka_unit_test(test_migrate_step_by_step),                     \
	    cmocka_unit_test(test_newer_schema_is_refused), cmocka_unit_test(test_failed_migration_is_not_noted),          \
	    cmocka_unit_test(test_two_migrate_at_once), cmocka_unit_test(test_bad_urls)
	const struct CMUnitTest sqlite[] = { BOTH, cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_sqlite_file_is_private) };
	const struct CMUnitTest mariadb[] = { BOTH, cmocka_unit_test(test_users_are_disjoint),
		cmocka_unit_test(test_server_that_forgets_is_refused), cmocka_unit_test(test_hung_server),
		cmocka_unit_test(test_server_killed_and_back), cmocka_unit_test(test_restart_between_calls),
		cmocka_unit_test(test_restart_inside_a_transaction) };

	return cmocka_run_group_tests_name("sql on SQLite", sqlite, fixture_sqlite, fixture_end) +
	       cmocka_run_group_tests_name("sql on MariaDB", mariadb, fixture_mariadb, fixture_end);
}
