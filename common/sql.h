/*
 * sql: one small door to SQLite (sql_sqlite.c) and MariaDB (sql_mariadb.c): statements with ? parameters, transactions,
 * numbered migrations, deadlines. The stores stand on it; nobody else includes it.
 *
 * URL: "sqlite:/path/file.db", "mariadb://USER@HOST:PORT/DATABASE" or "mariadb://USER@localhost/DATABASE?socket=/path".
 * The password comes from a file, never from the URL. A handle belongs to one thread at a time. A lost connection is
 * opened again by the next call outside a transaction.
 * Errors: BS_ERR_UNAVAIL (server gone), BS_ERR_TIMEOUT, BS_ERR_CONFLICT (deadlock, lock, certification: retry),
 * BS_ERR_EXISTS (a key is there already), BS_ERR_IO, BS_ERR_FORMAT (a bad URL).
 * SQLite: WAL, synchronous=FULL. MariaDB: innodb_flush_log_at_trx_commit=1 is checked at open; wsrep_sync_wait=1 where
 * Galera runs.
 *
 *     err = bs_sql_open(url, password_file, 2000, &db);
 *     err = bs_sql_run(db, "SELECT plan FROM accounts WHERE address = ?", (struct bs_sql_arg[]){ BS_SQL_TEXT(a) }, 1, row_cb, ctx);
 */
#ifndef BS_SQL_H
#define BS_SQL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "err.h"

struct bs_sql;

struct bs_sql_arg {
	enum { BS_SQL_T_INT, BS_SQL_T_TEXT, BS_SQL_T_BLOB } type;
	int64_t i;
	const void *p;
	size_t len;
};
#define BS_SQL_INT(v) { .type = BS_SQL_T_INT, .i = (v) }
#define BS_SQL_TEXT(s) { .type = BS_SQL_T_TEXT, .p = (s), .len = strlen(s) }
#define BS_SQL_BLOB(d, n) { .type = BS_SQL_T_BLOB, .p = (d), .len = (n) }

/* One result column; p is valid inside the row callback only, and NUL-terminated beyond len. NULL columns: p == NULL;
 * integers: p is "". */
struct bs_sql_col {
	int64_t i;
	const uint8_t *p;
	size_t len;
};
/* Called once a row; what it returns other than BS_OK ends the statement and comes back. */
typedef enum bs_err (*bs_sql_row_fn)(void *ctx, const struct bs_sql_col *cols, size_t n);

/* Whether url has one of the two forms; opens nothing. BS_ERR_FORMAT. */
enum bs_err bs_sql_check_url(const char *url) BS_MUST_USE;
/*
 * password_file may be NULL or ""; its first line counts, and is kept for later connections. timeout_ms bounds every wait
 * for the server (MariaDB: rounded up to seconds; a call that connects anew may wait twice). Permanent errors:
 * BS_ERR_FORMAT, BS_ERR_CONF (unreadable password file, a server that does not keep what it commits). A handle that is
 * open answers with transient errors only, BS_ERR_EXISTS, and what the row callback returns.
 */
enum bs_err bs_sql_open(const char *url, const char *password_file, int timeout_ms, struct bs_sql **out) BS_MUST_USE;
void bs_sql_close(struct bs_sql *db);
/* The engine's own words about the last error, for a log line; never holds a parameter's value.
 * NULL: about this thread's last bs_sql_open() that failed. */
const char *bs_sql_errmsg(const struct bs_sql *db);
/* Makes db's last error the one of bs_sql_errmsg(NULL): for an open of more than one step that is about to close db. */
void bs_sql_keep_errmsg(const struct bs_sql *db);
/* Runs one statement; row may be NULL, and must not use db. At most 16 parameters and 16 columns. */
enum bs_err bs_sql_run(struct bs_sql *db, const char *sql, const struct bs_sql_arg *args, size_t n, bs_sql_row_fn row,
    void *ctx) BS_MUST_USE;
/* bs_sql_row_fn of one number: ctx is its int64_t *. BS_ERR_INTERNAL: more than one column. */
enum bs_err bs_sql_take_int(void *ctx, const struct bs_sql_col *cols, size_t n) BS_MUST_USE;
/* Rows that the last INSERT, UPDATE or DELETE changed. */
uint64_t bs_sql_changes(const struct bs_sql *db);
enum bs_err bs_sql_begin(struct bs_sql *db) BS_MUST_USE;
enum bs_err bs_sql_commit(struct bs_sql *db) BS_MUST_USE;
void bs_sql_rollback(struct bs_sql *db);

/* A numbered migration: the text of sql/<set>/NNN.sql, statements ended by ';' at a line's end. */
struct bs_sql_migration {
	unsigned number;
	const char *text;
};
/* Brings the schema up, one migration after the other, kept in table schema_version; BS_ERR_VERSION if it is newer. */
enum bs_err bs_sql_migrate(struct bs_sql *db, const struct bs_sql_migration *list, size_t n) BS_MUST_USE;
/* BS_ERR_VERSION unless the schema is exactly as new as list. */
enum bs_err bs_sql_check_version(struct bs_sql *db, const struct bs_sql_migration *list, size_t n) BS_MUST_USE;

#endif
