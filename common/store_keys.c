#include "store_keys.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "migrations.h"
#include "sql.h"

struct bs_store_keys {
	struct bs_sql *db;
	struct bs_sql *check; /* a second connection, which sees only what was committed */
};

struct row {
	uint8_t *blob; /* malloced */
	size_t len;
	int64_t generation;
	bool found;
};

static enum bs_err
take_row(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	struct row *row = ctx;

	if (n != 2 || row->found || cols[1].p == NULL)
		return BS_ERR_INTERNAL;
	row->blob = malloc(cols[1].len + 1);
	if (row->blob == NULL)
		return BS_ERR_NOMEM;
	memcpy(row->blob, cols[1].p, cols[1].len);
	row->len = cols[1].len;
	row->generation = cols[0].i;
	row->found = true;
	return BS_OK;
}

enum bs_err
bs_store_keys_open(const char *url, const char *password_file, int timeout_ms, struct bs_store_keys **out)
{
	struct bs_store_keys *store = calloc(1, sizeof(*store));
	enum bs_err err;

	if (store == NULL)
		return BS_ERR_NOMEM;
	err = bs_sql_open(url, password_file, timeout_ms, &store->db);
	if (err == BS_OK)
		err = bs_sql_open(url, password_file, timeout_ms, &store->check);
	if (err == BS_OK) {
		err = bs_sql_migrate(store->db, bs_sql_migrations_keys, bs_sql_migrations_keys_count);
		if (err != BS_OK)
			bs_sql_keep_errmsg(store->db);
	}
	if (err != BS_OK) {
		bs_store_keys_close(store);
		return err;
	}
	*out = store;
	return BS_OK;
}

enum bs_err
bs_store_keys_check_url(const char *url)
{
	return bs_sql_check_url(url);
}

void
bs_store_keys_close(struct bs_store_keys *store)
{
	if (store == NULL)
		return;
	bs_sql_close(store->check);
	bs_sql_close(store->db);
	free(store);
}

const char *
bs_store_keys_errmsg(const struct bs_store_keys *store)
{
	return bs_sql_errmsg(store == NULL ? NULL : store->db);
}

enum bs_err
bs_store_keys_get(struct bs_store_keys *store, const char *account, uint8_t **blob, size_t *len, uint64_t *generation)
{
	struct bs_sql_arg args[] = { BS_SQL_TEXT(account) };
	struct row row = { 0 };
	enum bs_err err = bs_sql_run(store->db,
	    "SELECT generation, keyset FROM keysets WHERE account = ? ORDER BY generation DESC LIMIT 1", args, 1, take_row, &row);

	if (err == BS_OK && !row.found)
		err = BS_ERR_NOENT;
	if (err != BS_OK) {
		free(row.blob);
		return err;
	}
	*blob = row.blob;
	*len = row.len;
	*generation = (uint64_t)row.generation;
	return BS_OK;
}

/* Inside a transaction. */
static enum bs_err
insert_next(struct bs_store_keys *store, const char *account, uint64_t generation, bool gap, const void *blob, size_t len)
{
	struct bs_sql_arg args[] = {
		BS_SQL_TEXT(account), BS_SQL_INT((int64_t)generation), BS_SQL_BLOB(blob, len), BS_SQL_INT(time(NULL)),
	};
	int64_t newest = 0;
	enum bs_err err =
	    bs_sql_run(store->db, "SELECT MAX(generation) FROM keysets WHERE account = ?", args, 1, bs_sql_take_int, &newest);

	if (err == BS_OK && (gap ? generation <= (uint64_t)newest : generation != (uint64_t)newest + 1))
		err = BS_ERR_CONFLICT;
	if (err == BS_OK)
		err = bs_sql_run(store->db, "INSERT INTO keysets (account, generation, keyset, created) VALUES (?, ?, ?, ?)",
		    args, 4, NULL, NULL);
	return err == BS_ERR_EXISTS ? BS_ERR_CONFLICT : err;
}

/* What another connection sees of this very generation. BS_ERR_NOENT, BS_ERR_AUTH: other bytes. */
static enum bs_err
read_back(struct bs_store_keys *store, const char *account, uint64_t generation, const void *blob, size_t len)
{
	struct bs_sql_arg args[] = { BS_SQL_TEXT(account), BS_SQL_INT((int64_t)generation) };
	struct row row = { 0 };
	enum bs_err err = bs_sql_run(store->check,
	    "SELECT generation, keyset FROM keysets WHERE account = ? AND generation = ?", args, 2, take_row, &row);

	if (err == BS_OK && !row.found)
		err = BS_ERR_NOENT;
	if (err == BS_OK && (row.len != len || (len > 0 && memcmp(row.blob, blob, len) != 0)))
		err = BS_ERR_AUTH;
	free(row.blob);
	return err;
}

static enum bs_err
put(struct bs_store_keys *store, const char *account, uint64_t generation, bool gap, const void *blob, size_t len)
{
	enum bs_err err, seen;

	if (generation == 0 || generation > INT64_MAX || account[0] == '\0' || len == 0)
		return BS_ERR_ARG;
	err = bs_sql_begin(store->db);
	if (err != BS_OK)
		return err;
	err = insert_next(store, account, generation, gap, blob, len);
	if (err != BS_OK) {
		bs_sql_rollback(store->db);
		return err;
	}
	err = bs_sql_commit(store->db);
	if (err == BS_ERR_CONFLICT) /* certainly not committed */
		return err;
	/* A commit whose answer was lost may have happened: what another connection sees decides. */
	seen = read_back(store, account, generation, blob, len);
	if (err != BS_OK)
		return seen == BS_OK ? BS_OK : err;
	if (seen == BS_ERR_NOENT || seen == BS_ERR_AUTH) /* the database lies: nothing may rest on this row */
		return BS_ERR_IO;
	return seen;
}

enum bs_err
bs_store_keys_put(struct bs_store_keys *store, const char *account, uint64_t generation, const void *blob, size_t len)
{
	return put(store, account, generation, false, blob, len);
}

enum bs_err
bs_store_keys_put_past(struct bs_store_keys *store, const char *account, uint64_t generation, const void *blob,
    size_t len)
{
	return put(store, account, generation, true, blob, len);
}

enum bs_err
bs_store_keys_prune(struct bs_store_keys *store, const char *account, uint64_t keep_from)
{
	struct bs_sql_arg args[] = {
		BS_SQL_TEXT(account), BS_SQL_INT(keep_from > INT64_MAX ? INT64_MAX : (int64_t)keep_from),
	};
	int64_t newest = 0;
	enum bs_err err =
	    bs_sql_run(store->db, "SELECT MAX(generation) FROM keysets WHERE account = ?", args, 1, bs_sql_take_int, &newest);

	if (err == BS_OK && args[1].i > newest) /* the newest stays, whatever the caller believes */
		args[1].i = newest;
	if (err == BS_OK)
		err = bs_sql_run(store->db, "DELETE FROM keysets WHERE account = ? AND generation < ?", args, 2, NULL, NULL);
	return err;
}

enum bs_err
bs_store_keys_remove(struct bs_store_keys *store, const char *account)
{
	struct bs_sql_arg args[] = { BS_SQL_TEXT(account) };
	enum bs_err err = bs_sql_run(store->db, "DELETE FROM keysets WHERE account = ?", args, 1, NULL, NULL);

	if (err == BS_OK && bs_sql_changes(store->db) == 0)
		err = BS_ERR_NOENT;
	return err;
}

enum bs_err
bs_store_keys_count(struct bs_store_keys *store, uint64_t *accounts)
{
	int64_t count = 0;
	enum bs_err err =
	    bs_sql_run(store->db, "SELECT COUNT(DISTINCT account) FROM keysets", NULL, 0, bs_sql_take_int, &count);

	if (err == BS_OK)
		*accounts = (uint64_t)count;
	return err;
}
