#include "sql_backend.h"

#include <errmsg.h>
#include <mysql.h>
#include <mysqld_error.h>
#include <stdio.h>
#include <stdlib.h>

#include "sock.h"

#define WSREP_NOT_READY 1047 /* ER_UNKNOWN_COM_ERROR: what a Galera node outside its cluster answers */

struct conn {
	MYSQL my;
	unsigned timeout_s;
	int timeout_ms;
};

/* What the server says while a statement runs may quote a parameter ("Duplicate entry 'x'"): then the number alone. */
static bool
may_be_quoted(unsigned code)
{
	return code >= CR_MIN_ERROR || code == ER_LOCK_WAIT_TIMEOUT || code == ER_LOCK_DEADLOCK ||
	       code == ER_STATEMENT_TIMEOUT || code == WSREP_NOT_READY;
}

static enum bs_err
classify(unsigned code)
{
	switch (code) {
	case ER_DUP_ENTRY:
		return BS_ERR_EXISTS;
	case ER_LOCK_WAIT_TIMEOUT:
	case ER_LOCK_DEADLOCK:
	case ER_ROW_IS_REFERENCED_2:
	case ER_NO_REFERENCED_ROW_2:
	case ER_CHECKREAD:
		return BS_ERR_CONFLICT;
	case ER_STATEMENT_TIMEOUT:
	case ER_QUERY_INTERRUPTED:
		return BS_ERR_TIMEOUT;
	case ER_ACCESS_DENIED_ERROR:
	case ER_DBACCESS_DENIED_ERROR:
	case ER_BAD_DB_ERROR:
	case ER_CON_COUNT_ERROR:
	case ER_TOO_MANY_USER_CONNECTIONS:
	case ER_SERVER_SHUTDOWN:
	case WSREP_NOT_READY:
		return BS_ERR_UNAVAIL;
	case CR_OUT_OF_MEMORY:
		return BS_ERR_NOMEM;
	default:
		return code >= CR_MIN_ERROR && code <= CR_MAX_ERROR ? BS_ERR_UNAVAIL : BS_ERR_IO;
	}
}

static enum bs_err
fail(const struct conn *conn, unsigned code, const char *text, int64_t since_ms, struct bs_sql_outcome *outcome)
{
	enum bs_err err = classify(code);

	if (!outcome->started || may_be_quoted(code))
		snprintf(outcome->errmsg, sizeof(outcome->errmsg), "%s (%u)", text, code);
	else
		snprintf(outcome->errmsg, sizeof(outcome->errmsg), "the server answered with error %u", code);
	outcome->no_table = code == ER_NO_SUCH_TABLE;
	/* A client-side error leaves the protocol in an unknown state; so does a server that is going down. */
	outcome->lost = (code >= CR_MIN_ERROR && code <= CR_MAX_ERROR) || code == ER_SERVER_SHUTDOWN ||
	                code == ER_CONNECTION_KILLED;
	if (code == ER_CONNECTION_KILLED)
		err = BS_ERR_UNAVAIL;
	if (outcome->lost && err == BS_ERR_UNAVAIL && bs_now_ms() - since_ms >= conn->timeout_ms)
		err = BS_ERR_TIMEOUT;
	return err;
}

static enum bs_err
fail_stmt(const struct conn *conn, MYSQL_STMT *stmt, int64_t since_ms, struct bs_sql_outcome *outcome)
{
	return fail(conn, mysql_stmt_errno(stmt), mysql_stmt_error(stmt), since_ms, outcome);
}

static enum bs_err
query(struct conn *conn, const char *sql, struct bs_sql_outcome *outcome)
{
	int64_t since_ms = bs_now_ms();

	if (mysql_real_query(&conn->my, sql, (unsigned long)strlen(sql)) != 0)
		return fail(conn, mysql_errno(&conn->my), mysql_error(&conn->my), since_ms, outcome);
	outcome->changes = mysql_affected_rows(&conn->my);
	return BS_OK;
}

/* The first row's last column as text; "" without a row. */
static enum bs_err
query_text(struct conn *conn, const char *sql, char *out, size_t size, struct bs_sql_outcome *outcome)
{
	enum bs_err err = query(conn, sql, outcome);
	MYSQL_RES *res;
	MYSQL_ROW row;

	if (err != BS_OK)
		return err;
	res = mysql_store_result(&conn->my);
	if (res == NULL)
		return fail(conn, mysql_errno(&conn->my), mysql_error(&conn->my), bs_now_ms(), outcome);
	row = mysql_fetch_row(res);
	snprintf(out, size, "%s", row != NULL && row[mysql_num_fields(res) - 1] != NULL ? row[mysql_num_fields(res) - 1] : "");
	mysql_free_result(res);
	return BS_OK;
}

/* What every session needs: strict mode, server-side deadlines, durable commits, and causal reads under Galera. */
static enum bs_err
set_up(struct conn *conn, struct bs_sql_outcome *outcome)
{
	char text[256];
	/* The server gives up first, so that the connection survives a slow statement. */
	unsigned statement_ms = (unsigned)conn->timeout_ms * 3 / 4;
	enum bs_err err;

	snprintf(text, sizeof(text),
	    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_BACKSLASH_ESCAPES',"
	    " innodb_lock_wait_timeout = %u, lock_wait_timeout = %u, max_statement_time = %u.%03u, autocommit = 1",
	    conn->timeout_s, conn->timeout_s, statement_ms / 1000, statement_ms % 1000 + (statement_ms == 0));
	err = query(conn, text, outcome);
	if (err == BS_OK)
		err = query_text(conn, "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit", text, sizeof(text), outcome);
	if (err != BS_OK)
		return err;
	if (strcmp(text, "1") != 0) {
		snprintf(outcome->errmsg, sizeof(outcome->errmsg),
		    "innodb_flush_log_at_trx_commit is %.16s: a power cut could take back what was committed; "
		    "set innodb_flush_log_at_trx_commit = 1 in the server's [mysqld] section", text);
		return BS_ERR_CONF;
	}
	err = query_text(conn, "SHOW VARIABLES LIKE 'wsrep_on'", text, sizeof(text), outcome);
	if (err == BS_OK && strcmp(text, "ON") == 0)
		err = query(conn, "SET SESSION wsrep_sync_wait = 1", outcome);
	return err;
}

static void
disconnect(void *arg)
{
	struct conn *conn = arg;

	if (conn == NULL)
		return;
	mysql_close(&conn->my);
	free(conn);
}

static void
set_options(struct conn *conn, const struct bs_sql_params *params)
{
	unsigned protocol = params->path[0] != '\0' ? MYSQL_PROTOCOL_SOCKET : MYSQL_PROTOCOL_TCP;
	unsigned local_infile = 0;

	conn->timeout_ms = params->timeout_ms;
	conn->timeout_s = (unsigned)(params->timeout_ms + 999) / 1000;
	mysql_options(&conn->my, MYSQL_OPT_CONNECT_TIMEOUT, &conn->timeout_s);
	mysql_options(&conn->my, MYSQL_OPT_READ_TIMEOUT, &conn->timeout_s);
	mysql_options(&conn->my, MYSQL_OPT_WRITE_TIMEOUT, &conn->timeout_s);
	mysql_options(&conn->my, MYSQL_OPT_PROTOCOL, &protocol);
	mysql_options(&conn->my, MYSQL_OPT_LOCAL_INFILE, &local_infile);
	mysql_options(&conn->my, MYSQL_SET_CHARSET_NAME, "utf8mb4");
}

static enum bs_err
connect_to(const struct bs_sql_params *params, void **out, struct bs_sql_outcome *outcome)
{
	struct conn *conn = calloc(1, sizeof(*conn));
	int64_t since_ms = bs_now_ms();
	enum bs_err err;

	if (conn == NULL)
		return BS_ERR_NOMEM;
	if (mysql_init(&conn->my) == NULL) {
		free(conn);
		return BS_ERR_NOMEM;
	}
	set_options(conn, params);
	if (mysql_real_connect(&conn->my, params->path[0] != '\0' ? NULL : params->host, params->user, params->password,
	        params->database, params->port, params->path[0] != '\0' ? params->path : NULL, CLIENT_FOUND_ROWS) != NULL)
		err = set_up(conn, outcome);
	else
		err = fail(conn, mysql_errno(&conn->my), mysql_error(&conn->my), since_ms, outcome);
	if (err != BS_OK) {
		disconnect(conn);
		return err;
	}
	*out = conn;
	return BS_OK;
}

static void
bind_param(MYSQL_BIND *bind, const struct bs_sql_arg *arg)
{
	static char empty[1];
	union {
		const void *in;
		void *out;
	} p = { .in = arg->type == BS_SQL_T_INT ? (const void *)&arg->i : arg->p };

	/* The library's struct has no const; it only reads parameters. */
	bind->buffer = p.out != NULL ? p.out : empty;
	bind->buffer_length = (unsigned long)arg->len;
	bind->length_value = (unsigned long)arg->len;
	bind->buffer_type = arg->type == BS_SQL_T_INT ? MYSQL_TYPE_LONGLONG
	                    : arg->type == BS_SQL_T_TEXT ? MYSQL_TYPE_STRING : MYSQL_TYPE_BLOB;
	bind->length = &bind->length_value;
}

static bool
is_integer(enum enum_field_types type)
{
	return type == MYSQL_TYPE_LONGLONG || type == MYSQL_TYPE_LONG || type == MYSQL_TYPE_SHORT ||
	       type == MYSQL_TYPE_TINY || type == MYSQL_TYPE_INT24;
}

/* One result's columns: where the library puts a row. */
struct result {
	MYSQL_BIND bind[BS_SQL_COLUMNS_MAX];
	int64_t ints[BS_SQL_COLUMNS_MAX];
	unsigned n;
};

/* After mysql_stmt_store_result: max_length of each column is known, so one buffer a column fits every row. */
static enum bs_err
bind_result(MYSQL_STMT *stmt, struct result *res)
{
	MYSQL_RES *meta = mysql_stmt_result_metadata(stmt);
	enum bs_err err = BS_ERR_NOMEM;

	if (meta == NULL)
		return BS_ERR_NOMEM;
	res->n = mysql_num_fields(meta);
	if (res->n > BS_SQL_COLUMNS_MAX) {
		res->n = 0;
		err = BS_ERR_LIMIT;
		goto out;
	}
	for (unsigned i = 0; i < res->n; i++) {
		const MYSQL_FIELD *field = mysql_fetch_field_direct(meta, i);
		MYSQL_BIND *bind = &res->bind[i];

		bind->length = &bind->length_value;
		bind->is_null = &bind->is_null_value;
		bind->error = &bind->error_value;
		if (is_integer(field->type)) {
			bind->buffer_type = MYSQL_TYPE_LONGLONG;
			bind->buffer = &res->ints[i];
			bind->buffer_length = sizeof(res->ints[i]);
			continue;
		}
		bind->buffer_type = MYSQL_TYPE_BLOB;
		bind->buffer_length = field->max_length + 1;
		bind->buffer = calloc(1, field->max_length + 1);
		if (bind->buffer == NULL)
			goto out;
	}
	err = mysql_stmt_bind_result(stmt, res->bind) == 0 ? BS_OK : BS_ERR_NOMEM;
out:
	mysql_free_result(meta);
	return err;
}

static void
result_clear(struct result *res)
{
	for (unsigned i = 0; i < res->n; i++)
		if (res->bind[i].buffer != &res->ints[i])
			free(res->bind[i].buffer);
}

static enum bs_err
give_row(const struct result *res, bs_sql_row_fn row, void *ctx)
{
	struct bs_sql_col cols[BS_SQL_COLUMNS_MAX] = { 0 };

	for (unsigned i = 0; i < res->n; i++) {
		const MYSQL_BIND *bind = &res->bind[i];

		if (bind->is_null_value)
			continue;
		cols[i].p = (const uint8_t *)"";
		if (bind->buffer_type == MYSQL_TYPE_LONGLONG) {
			cols[i].i = res->ints[i];
			continue;
		}
		if (bind->length_value >= bind->buffer_length)
			return BS_ERR_INTERNAL;
		((uint8_t *)bind->buffer)[bind->length_value] = '\0';
		cols[i].p = bind->buffer;
		cols[i].len = bind->length_value;
	}
	return row(ctx, cols, res->n);
}

static enum bs_err
fetch_all(const struct conn *conn, MYSQL_STMT *stmt, bs_sql_row_fn row, void *ctx, struct bs_sql_outcome *outcome)
{
	struct result res = { 0 };
	int64_t since_ms = bs_now_ms();
	enum bs_err err;
	int rc;

	if (mysql_stmt_store_result(stmt) != 0)
		return fail_stmt(conn, stmt, since_ms, outcome);
	err = bind_result(stmt, &res);
	while (err == BS_OK && (rc = mysql_stmt_fetch(stmt)) != MYSQL_NO_DATA)
		err = rc == 0 ? give_row(&res, row, ctx) : fail_stmt(conn, stmt, since_ms, outcome);
	result_clear(&res);
	return err;
}

static enum bs_err
run_prepared(struct conn *conn, MYSQL_STMT *stmt, const char *sql, const struct bs_sql_arg *args, size_t n,
    bs_sql_row_fn row, void *ctx, struct bs_sql_outcome *outcome)
{
	MYSQL_BIND binds[BS_SQL_PARAMS_MAX] = { 0 };
	my_bool yes = 1;
	int64_t since_ms = bs_now_ms();

	mysql_stmt_attr_set(stmt, STMT_ATTR_UPDATE_MAX_LENGTH, &yes);
	if (mysql_stmt_prepare(stmt, sql, (unsigned long)strlen(sql)) != 0)
		return fail_stmt(conn, stmt, since_ms, outcome);
	if (mysql_stmt_param_count(stmt) != n)
		return BS_ERR_INTERNAL;
	for (size_t i = 0; i < n; i++)
		bind_param(&binds[i], &args[i]);
	outcome->started = true;
	since_ms = bs_now_ms();
	if ((n > 0 && mysql_stmt_bind_param(stmt, binds) != 0) || mysql_stmt_execute(stmt) != 0)
		return fail_stmt(conn, stmt, since_ms, outcome);
	if (row != NULL && mysql_stmt_field_count(stmt) > 0)
		return fetch_all(conn, stmt, row, ctx, outcome);
	outcome->changes = mysql_stmt_affected_rows(stmt);
	return BS_OK;
}

static enum bs_err
run_statement(void *arg, const char *sql, const struct bs_sql_arg *args, size_t n, bs_sql_row_fn row, void *ctx,
    struct bs_sql_outcome *outcome)
{
	struct conn *conn = arg;
	MYSQL_STMT *stmt;
	enum bs_err err;

	if (n > BS_SQL_PARAMS_MAX)
		return BS_ERR_LIMIT;
	if (n == 0 && row == NULL) {
		/* BEGIN, COMMIT and table definitions can't be prepared everywhere. */
		err = query(conn, sql, outcome);
		outcome->started = true;
		return err;
	}
	stmt = mysql_stmt_init(&conn->my);
	if (stmt == NULL)
		return BS_ERR_NOMEM;
	err = run_prepared(conn, stmt, sql, args, n, row, ctx, outcome);
	mysql_stmt_close(stmt);
	return err;
}

const struct bs_sql_engine bs_sql_engine_mariadb = {
	.begin = "START TRANSACTION",
	.connect = connect_to,
	.disconnect = disconnect,
	.run = run_statement,
};
