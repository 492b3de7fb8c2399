#include "sql_backend.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PASSWORD_MAX 1024
#define STATEMENT_MAX 8192

struct bs_sql {
	const struct bs_sql_engine *engine;
	struct bs_sql_params params;
	char *url;                   /* cut into the strings of params */
	char password[PASSWORD_MAX]; /* kept: a process in its jail can't read the file again */
	void *conn;                  /* NULL: to be opened by the next call */
	bool in_transaction;
	uint64_t changes;
	char errmsg[BS_SQL_ERRMSG_MAX];
};

/* What bs_sql_errmsg(NULL) says: like errno, of this thread's last open that failed. */
static _Thread_local char open_errmsg[BS_SQL_ERRMSG_MAX];

static void
no_text(struct bs_sql_outcome *outcome, enum bs_err err)
{
	if (err != BS_OK && outcome->errmsg[0] == '\0')
		snprintf(outcome->errmsg, sizeof(outcome->errmsg), "%s", bs_err_text(err));
}

/* USER@HOST[:PORT]/DATABASE[?socket=PATH], in place. */
static enum bs_err
parse_mariadb(char *s, struct bs_sql_params *params)
{
	char *host = strchr(s, '@');
	char *database = host == NULL ? NULL : strchr(host, '/');
	char *query, *port, *end;
	unsigned long number;

	if (database == NULL)
		return BS_ERR_FORMAT;
	*host++ = '\0';
	*database++ = '\0';
	query = strchr(database, '?');
	port = strchr(host, ':');
	params->port = 3306;
	params->path = "";
	if (query != NULL) {
		*query++ = '\0';
		if (strncmp(query, "socket=/", 8) != 0)
			return BS_ERR_FORMAT;
		params->path = query + 7;
	}
	if (port != NULL) {
		*port++ = '\0';
		number = strtoul(port, &end, 10);
		if (*port < '0' || *port > '9' || *end != '\0' || number == 0 || number > 65535)
			return BS_ERR_FORMAT;
		params->port = (unsigned)number;
	}
	params->user = s;
	params->host = host;
	params->database = database;
	return *s != '\0' && *host != '\0' && *database != '\0' ? BS_OK : BS_ERR_FORMAT;
}

static enum bs_err
parse_url(struct bs_sql *db, const char *url)
{
	db->url = strdup(url);
	if (db->url == NULL)
		return BS_ERR_NOMEM;
	if (strncmp(url, "sqlite:/", 8) == 0) {
		db->engine = &bs_sql_engine_sqlite;
		db->params.path = db->url + 7;
		return BS_OK;
	}
	if (strncmp(url, "mariadb://", 10) == 0) {
		db->engine = &bs_sql_engine_mariadb;
		return parse_mariadb(db->url + 10, &db->params);
	}
	return BS_ERR_FORMAT;
}

enum bs_err
bs_sql_check_url(const char *url)
{
	struct bs_sql db = { 0 };
	enum bs_err err = parse_url(&db, url);

	free(db.url);
	return err;
}

/* The first line of the file. */
static enum bs_err
read_password(struct bs_sql *db, const char *path)
{
	ssize_t n = 0;
	int fd;

	db->params.password = db->password;
	if (path == NULL || path[0] == '\0')
		return BS_OK;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return BS_ERR_CONF;
	n = read(fd, db->password, sizeof(db->password) - 1);
	close(fd);
	if (n < 0)
		return BS_ERR_CONF;
	db->password[n] = '\0';
	db->password[strcspn(db->password, "\r\n")] = '\0';
	return BS_OK;
}

static enum bs_err
make_handle(const char *url, const char *password_file, int timeout_ms, struct bs_sql *db, struct bs_sql_outcome *outcome)
{
	enum bs_err err = parse_url(db, url);

	if (err == BS_ERR_FORMAT)
		snprintf(outcome->errmsg, sizeof(outcome->errmsg),
		    "bad database URL: use sqlite:/PATH or mariadb://USER@HOST[:PORT]/DATABASE[?socket=/PATH]");
	if (err != BS_OK)
		return err;
	err = read_password(db, password_file);
	if (err != BS_OK) {
		snprintf(outcome->errmsg, sizeof(outcome->errmsg), "database password file %s can't be read", password_file);
		return err;
	}
	db->params.timeout_ms = timeout_ms > 0 ? timeout_ms : 1;
	return db->engine->connect(&db->params, &db->conn, outcome);
}

enum bs_err
bs_sql_open(const char *url, const char *password_file, int timeout_ms, struct bs_sql **out)
{
	struct bs_sql_outcome outcome = { 0 };
	struct bs_sql *db = calloc(1, sizeof(*db));
	enum bs_err err;

	if (db == NULL)
		return BS_ERR_NOMEM;
	err = make_handle(url, password_file, timeout_ms, db, &outcome);
	no_text(&outcome, err);
	if (err != BS_OK) {
		memcpy(open_errmsg, outcome.errmsg, sizeof(open_errmsg));
		bs_sql_close(db);
		return err;
	}
	*out = db;
	return BS_OK;
}

static void
drop_connection(struct bs_sql *db)
{
	if (db->conn != NULL)
		db->engine->disconnect(db->conn);
	db->conn = NULL;
}

void
bs_sql_close(struct bs_sql *db)
{
	if (db == NULL)
		return;
	drop_connection(db);
	explicit_bzero(db->password, sizeof(db->password));
	free(db->url);
	free(db);
}

const char *
bs_sql_errmsg(const struct bs_sql *db)
{
	return db == NULL ? open_errmsg : db->errmsg;
}

void
bs_sql_keep_errmsg(const struct bs_sql *db)
{
	memcpy(open_errmsg, db->errmsg, sizeof(open_errmsg));
}

uint64_t
bs_sql_changes(const struct bs_sql *db)
{
	return db->changes;
}

/* Once: opens the connection when there is none, runs. */
static enum bs_err
attempt(struct bs_sql *db, const char *sql, const struct bs_sql_arg *args, size_t n, bs_sql_row_fn row, void *ctx,
    struct bs_sql_outcome *outcome)
{
	enum bs_err err;

	memset(outcome, 0, sizeof(*outcome));
	if (db->conn == NULL && db->in_transaction) {
		snprintf(outcome->errmsg, sizeof(outcome->errmsg), "the connection was lost inside a transaction");
		return BS_ERR_UNAVAIL;
	}
	if (db->conn == NULL) {
		err = db->engine->connect(&db->params, &db->conn, outcome);
		if (err != BS_OK) /* what is wrong with the server may be put right while we run: transient */
			return err == BS_ERR_CONF ? BS_ERR_UNAVAIL : err;
	}
	err = db->engine->run(db->conn, sql, args, n, row, ctx, outcome);
	if (outcome->lost)
		drop_connection(db);
	return err;
}

static enum bs_err
run(struct bs_sql *db, const char *sql, const struct bs_sql_arg *args, size_t n, bs_sql_row_fn row, void *ctx,
    struct bs_sql_outcome *outcome)
{
	bool had_connection = db->conn != NULL;
	enum bs_err err = attempt(db, sql, args, n, row, ctx, outcome);

	/* The server closed an idle connection, or was restarted: nothing has begun, so a second try is safe. */
	if (err == BS_ERR_UNAVAIL && outcome->lost && had_connection && !outcome->started && !db->in_transaction)
		err = attempt(db, sql, args, n, row, ctx, outcome);
	no_text(outcome, err);
	memcpy(db->errmsg, outcome->errmsg, sizeof(db->errmsg));
	db->changes = outcome->changes;
	return err;
}

enum bs_err
bs_sql_run(struct bs_sql *db, const char *sql, const struct bs_sql_arg *args, size_t n, bs_sql_row_fn row, void *ctx)
{
	struct bs_sql_outcome outcome;

	return run(db, sql, args, n, row, ctx, &outcome);
}

enum bs_err
bs_sql_begin(struct bs_sql *db)
{
	struct bs_sql_outcome outcome;
	bool had_connection = db->conn != NULL;
	enum bs_err err;

	if (db->in_transaction)
		return BS_ERR_INTERNAL;
	err = run(db, db->engine->begin, NULL, 0, NULL, NULL, &outcome);
	if (err == BS_ERR_UNAVAIL && outcome.lost && had_connection) /* begun twice on two connections does no harm */
		err = run(db, db->engine->begin, NULL, 0, NULL, NULL, &outcome);
	db->in_transaction = err == BS_OK;
	return err;
}

enum bs_err
bs_sql_commit(struct bs_sql *db)
{
	enum bs_err err;

	if (!db->in_transaction)
		return BS_ERR_INTERNAL;
	err = bs_sql_run(db, "COMMIT", NULL, 0, NULL, NULL);
	if (err != BS_OK)
		bs_sql_rollback(db);
	db->in_transaction = false;
	return err;
}

void
bs_sql_rollback(struct bs_sql *db)
{
	struct bs_sql_outcome outcome = { 0 };

	if (!db->in_transaction)
		return;
	db->in_transaction = false;
	/* A connection that can't roll back is dropped: the server rolls back then. errmsg stays the first error's. */
	if (db->conn != NULL && db->engine->run(db->conn, "ROLLBACK", NULL, 0, NULL, NULL, &outcome) != BS_OK)
		drop_connection(db);
}

enum bs_err
bs_sql_take_int(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	if (n != 1)
		return BS_ERR_INTERNAL;
	*(int64_t *)ctx = cols[0].i;
	return BS_OK;
}

/* --- migrations --- */

/* 0: no schema yet. */
static enum bs_err
schema_number(struct bs_sql *db, int64_t *out)
{
	struct bs_sql_outcome outcome;
	int64_t number = 0;
	enum bs_err err = run(db, "SELECT MAX(number) FROM schema_version", NULL, 0, bs_sql_take_int, &number, &outcome);

	if (err != BS_OK && !outcome.no_table)
		return err;
	*out = number;
	return BS_OK;
}

static enum bs_err
run_text(struct bs_sql *db, const char *text)
{
	char statement[STATEMENT_MAX];

	while (text[strspn(text, " \t\r\n")] != '\0') {
		const char *end = strstr(text, ";\n");
		size_t len = end == NULL ? strlen(text) : (size_t)(end - text);
		enum bs_err err;

		if (len >= sizeof(statement))
			return BS_ERR_LIMIT;
		memcpy(statement, text, len);
		statement[len] = '\0';
		err = bs_sql_run(db, statement, NULL, 0, NULL, NULL);
		if (err != BS_OK)
			return err;
		text += end == NULL ? len : len + 2;
	}
	return BS_OK;
}

/* MariaDB commits at every table definition, so a migration's text must bear being run again after a crash. */
static enum bs_err
apply(struct bs_sql *db, const struct bs_sql_migration *migration)
{
	struct bs_sql_arg args[] = { BS_SQL_INT(migration->number), BS_SQL_INT(time(NULL)) };
	enum bs_err err = bs_sql_begin(db);

	if (err != BS_OK)
		return err;
	err = run_text(db, migration->text);
	if (err == BS_OK)
		err = bs_sql_run(db, "INSERT INTO schema_version (number, applied) VALUES (?, ?)", args, 2, NULL, NULL);
	if (err == BS_ERR_EXISTS) { /* another process was faster, with the same text */
		bs_sql_rollback(db);
		return BS_OK;
	}
	if (err != BS_OK) {
		bs_sql_rollback(db);
		return err;
	}
	return bs_sql_commit(db);
}

static enum bs_err
wrong_version(struct bs_sql *db, int64_t have, unsigned want)
{
	snprintf(db->errmsg, sizeof(db->errmsg), "the database has schema %lld, this program needs %u: %s", (long long)have,
	    want, have > (int64_t)want ? "it was upgraded by a newer Basalt, upgrade this one too"
	                               : "run `basaltctl db migrate`");
	return BS_ERR_VERSION;
}

enum bs_err
bs_sql_migrate(struct bs_sql *db, const struct bs_sql_migration *list, size_t n)
{
	int64_t have = 0;
	enum bs_err err = schema_number(db, &have);

	if (err == BS_OK && have == 0)
		err = bs_sql_run(db, "CREATE TABLE IF NOT EXISTS schema_version (number BIGINT NOT NULL, applied BIGINT NOT NULL,"
		                     " PRIMARY KEY (number))", NULL, 0, NULL, NULL);
	if (err == BS_OK && n > 0 && have > (int64_t)list[n - 1].number)
		return wrong_version(db, have, list[n - 1].number);
	for (size_t i = 0; err == BS_OK && i < n; i++)
		if ((int64_t)list[i].number > have)
			err = apply(db, &list[i]);
	return err;
}

enum bs_err
bs_sql_check_version(struct bs_sql *db, const struct bs_sql_migration *list, size_t n)
{
	int64_t have = 0;
	enum bs_err err = schema_number(db, &have);

	if (err == BS_OK && n > 0 && have != (int64_t)list[n - 1].number)
		return wrong_version(db, have, list[n - 1].number);
	return err;
}
