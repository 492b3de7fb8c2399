#include "sql_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sock.h"

#define PROGRESS_STEPS 4000 /* virtual machine steps between two looks at the clock */

#define KEPT_MAX 16         /* statements that stay prepared; there are about that many */

struct kept {
	sqlite3_stmt *stmt; /* NULL: free */
	bool running;
};

struct conn {
	sqlite3 *db;
	int timeout_ms;
	int64_t deadline_ms;
	struct kept kept[KEPT_MAX];
};

static enum bs_err
fail(sqlite3 *db, int rc, struct bs_sql_outcome *outcome)
{
	const char *text = db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(rc);

	snprintf(outcome->errmsg, sizeof(outcome->errmsg), "%s", text);
	switch (rc & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return BS_ERR_CONFLICT;
	case SQLITE_CONSTRAINT:
		if (rc == SQLITE_CONSTRAINT_PRIMARYKEY || rc == SQLITE_CONSTRAINT_UNIQUE)
			return BS_ERR_EXISTS;
		return rc == SQLITE_CONSTRAINT_FOREIGNKEY ? BS_ERR_CONFLICT : BS_ERR_IO;
	case SQLITE_INTERRUPT:
		return BS_ERR_TIMEOUT;
	case SQLITE_NOMEM:
		return BS_ERR_NOMEM;
	case SQLITE_CANTOPEN:
		return BS_ERR_UNAVAIL;
	case SQLITE_ERROR:
		outcome->no_table = strncmp(text, "no such table", 13) == 0;
		return BS_ERR_IO;
	default:
		return BS_ERR_IO;
	}
}

/* SQLite would make the file readable by all. Made by root, it belongs to whom its folder belongs. */
static enum bs_err
make_file(const char *path, struct bs_sql_outcome *outcome)
{
	enum bs_err err = BS_ERR_UNAVAIL;
	struct stat st;
	char folder[4096];
	const char *slash = strrchr(path, '/');
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0 && errno == EEXIST)
		return BS_OK;
	if (fd < 0)
		goto out;
	snprintf(folder, sizeof(folder), "%.*s", slash == NULL ? 1 : (int)(slash - path + 1), slash == NULL ? "." : path);
	if (geteuid() == 0 && (stat(folder, &st) < 0 || fchown(fd, st.st_uid, st.st_gid) < 0))
		goto out;
	err = BS_OK;
out:
	if (err != BS_OK)
		snprintf(outcome->errmsg, sizeof(outcome->errmsg), "creating %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return err;
}

static int
past_deadline(void *arg)
{
	const struct conn *conn = arg;

	return bs_now_ms() > conn->deadline_ms;
}

/* Parsing and planning a statement takes longer than running it, so those with parameters are kept. One that is running
 * already (a row function asks again) gets a second place. NULL: no place is left. */
static struct kept *
find_place(struct conn *conn, const char *sql)
{
	struct kept *empty = NULL;

	for (size_t i = 0; i < KEPT_MAX; i++) {
		struct kept *k = &conn->kept[i];

		if (k->stmt != NULL && !k->running && strcmp(sqlite3_sql(k->stmt), sql) == 0)
			return k;
		if (k->stmt == NULL && empty == NULL)
			empty = k;
	}
	return empty;
}

/* *k_r: where the statement is kept, or NULL. */
static int
prepare(struct conn *conn, const char *sql, bool keep, struct kept **k_r, sqlite3_stmt **stmt_r)
{
	struct kept *k = *k_r = keep ? find_place(conn, sql) : NULL;
	int rc = SQLITE_OK;

	if (k == NULL)
		return sqlite3_prepare_v2(conn->db, sql, -1, stmt_r, NULL);
	if (k->stmt == NULL)
		rc = sqlite3_prepare_v3(conn->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &k->stmt, NULL);
	k->running = rc == SQLITE_OK;
	*stmt_r = k->stmt;
	return rc;
}

static void
release(struct kept *k, sqlite3_stmt *stmt)
{
	if (k == NULL) {
		sqlite3_finalize(stmt);
		return;
	}
	(void)sqlite3_reset(k->stmt); /* says again what the last step said */
	(void)sqlite3_clear_bindings(k->stmt);
	k->running = false;
}

static void
sqlite_disconnect(void *arg)
{
	struct conn *conn = arg;

	if (conn == NULL)
		return;
	for (size_t i = 0; i < KEPT_MAX; i++)
		sqlite3_finalize(conn->kept[i].stmt);
	sqlite3_close_v2(conn->db);
	free(conn);
}

static enum bs_err
sqlite_connect(const struct bs_sql_params *params, void **out, struct bs_sql_outcome *outcome)
{
	static const char setup[] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
	                            "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;";
	struct conn *conn = calloc(1, sizeof(*conn));
	enum bs_err err;
	int rc;

	if (conn == NULL)
		return BS_ERR_NOMEM;
	err = make_file(params->path, outcome);
	if (err != BS_OK)
		goto out;
	conn->timeout_ms = params->timeout_ms;
	rc = sqlite3_open_v2(params->path, &conn->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK) {
		sqlite3_extended_result_codes(conn->db, 1);
		sqlite3_busy_timeout(conn->db, params->timeout_ms);
		rc = sqlite3_exec(conn->db, setup, NULL, NULL, NULL);
	}
	if (rc != SQLITE_OK) {
		err = fail(conn->db, rc, outcome);
		goto out;
	}
	sqlite3_progress_handler(conn->db, PROGRESS_STEPS, past_deadline, conn);
	*out = conn;
	conn = NULL;
out:
	sqlite_disconnect(conn);
	return err;
}

static int
bind(sqlite3_stmt *stmt, int at, const struct bs_sql_arg *arg)
{
	static const char empty[1];
	const char *p = arg->p != NULL ? arg->p : empty;

	switch (arg->type) {
	case BS_SQL_T_INT:
		return sqlite3_bind_int64(stmt, at, arg->i);
	case BS_SQL_T_TEXT:
		return sqlite3_bind_text64(stmt, at, p, arg->len, SQLITE_STATIC, SQLITE_UTF8);
	default:
		return sqlite3_bind_blob64(stmt, at, p, arg->len, SQLITE_STATIC);
	}
}

static enum bs_err
give_row(sqlite3_stmt *stmt, bs_sql_row_fn row, void *ctx)
{
	struct bs_sql_col cols[BS_SQL_COLUMNS_MAX] = { 0 };
	int n = sqlite3_column_count(stmt);

	if (row == NULL)
		return BS_OK;
	if (n > BS_SQL_COLUMNS_MAX)
		return BS_ERR_LIMIT;
	for (int i = 0; i < n; i++) {
		int type = sqlite3_column_type(stmt, i);

		if (type == SQLITE_NULL)
			continue;
		cols[i].p = (const uint8_t *)"";
		if (type == SQLITE_INTEGER) {
			cols[i].i = sqlite3_column_int64(stmt, i);
			continue;
		}
		/* The text form of a blob is the blob with a NUL behind it. */
		cols[i].p = sqlite3_column_text(stmt, i);
		cols[i].len = (size_t)sqlite3_column_bytes(stmt, i);
		if (cols[i].p == NULL)
			return BS_ERR_NOMEM;
	}
	return row(ctx, cols, (size_t)n);
}

static enum bs_err
step_all(struct conn *conn, sqlite3_stmt *stmt, bs_sql_row_fn row, void *ctx, struct bs_sql_outcome *outcome)
{
	int rc;

	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		enum bs_err err = give_row(stmt, row, ctx);

		if (err != BS_OK)
			return err;
	}
	if (rc != SQLITE_DONE)
		return fail(conn->db, rc, outcome);
	outcome->changes = (uint64_t)sqlite3_changes64(conn->db);
	return BS_OK;
}

static enum bs_err
sqlite_run(void *arg, const char *sql, const struct bs_sql_arg *args, size_t n, bs_sql_row_fn row, void *ctx,
    struct bs_sql_outcome *outcome)
{
	struct conn *conn = arg;
	sqlite3_stmt *stmt = NULL;
	struct kept *k;
	enum bs_err err;
	int rc;

	conn->deadline_ms = bs_now_ms() + conn->timeout_ms;
	rc = prepare(conn, sql, n > 0, &k, &stmt);
	for (size_t i = 0; rc == SQLITE_OK && i < n; i++)
		rc = bind(stmt, (int)i + 1, &args[i]);
	if (rc != SQLITE_OK) {
		err = fail(conn->db, rc, outcome);
		goto out;
	}
	outcome->started = true;
	err = step_all(conn, stmt, row, ctx, outcome);
out:
	release(k, stmt);
	return err;
}

const struct bs_sql_engine bs_sql_engine_sqlite = {
	.begin = "BEGIN IMMEDIATE",
	.connect = sqlite_connect,
	.disconnect = sqlite_disconnect,
	.run = sqlite_run,
};
