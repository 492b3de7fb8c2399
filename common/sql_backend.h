/*
 * sql_backend: what an engine gives to sql.c; private to sql.c, sql_sqlite.c and sql_mariadb.c.
 *
 * An engine is a table of three functions over a connection of its own kind. It neither reconnects nor retries: it says
 * in struct bs_sql_outcome what happened, and sql.c decides.
 *
 *     err = engine->connect(&params, &conn, &outcome);
 *     err = engine->run(conn, "DELETE FROM t", NULL, 0, NULL, NULL, &outcome);
 */
#ifndef BS_SQL_BACKEND_H
#define BS_SQL_BACKEND_H

#include "sql.h"

#define BS_SQL_ERRMSG_MAX 320
#define BS_SQL_PARAMS_MAX 16
#define BS_SQL_COLUMNS_MAX 16

/* Where to connect to; strings are sql.c's and outlive the connection. */
struct bs_sql_params {
	const char *path; /* SQLite: the file. MariaDB: the socket, or "" */
	const char *user;
	const char *host;
	const char *database;
	const char *password;
	unsigned port;
	int timeout_ms;
};

struct bs_sql_outcome {
	uint64_t changes;
	bool lost;     /* the connection is of no more use */
	bool started;  /* the statement may have taken effect */
	bool no_table; /* the statement names a table that is not there */
	char errmsg[BS_SQL_ERRMSG_MAX]; /* never holds a parameter's value */
};

struct bs_sql_engine {
	const char *begin; /* the statement that begins a transaction */
	enum bs_err (*connect)(const struct bs_sql_params *params, void **conn, struct bs_sql_outcome *outcome);
	void (*disconnect)(void *conn);
	enum bs_err (*run)(void *conn, const char *sql, const struct bs_sql_arg *args, size_t n, bs_sql_row_fn row,
	    void *ctx, struct bs_sql_outcome *outcome);
};

extern const struct bs_sql_engine bs_sql_engine_sqlite;
extern const struct bs_sql_engine bs_sql_engine_mariadb;

#endif
