#include "store_ledger.h"

#include <stdlib.h>
#include <string.h>

#include "store_policy_priv.h"

#define IDS 8 /* in one statement */
#define EXPIRE_MAX 500

struct reading {
	struct bs_ledger_row *rows;
	size_t n;
};

static enum bs_err
take_row(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	struct reading *reading = ctx;

	if (n != 5 || cols[0].p == NULL || cols[0].len != BS_LEDGER_ID_LEN)
		return BS_ERR_IO;
	for (size_t i = 0; i < reading->n; i++) {
		struct bs_ledger_row *row = &reading->rows[i];

		if (memcmp(row->id, cols[0].p, BS_LEDGER_ID_LEN) != 0)
			continue;
		row->since = cols[1].i;
		row->n = cols[2].i;
		row->earlier = cols[3].i;
		row->expires = cols[4].i;
	}
	return BS_OK;
}

/* Up to IDS rows; of fewer, the first is asked for again. */
static enum bs_err
read_some(struct bs_store_policy *store, struct bs_ledger_row *rows, size_t n)
{
	struct reading reading = { rows, n };
	struct bs_sql_arg args[IDS];

	for (size_t i = 0; i < IDS; i++)
		args[i] = (struct bs_sql_arg)BS_SQL_BLOB(rows[i < n ? i : 0].id, BS_LEDGER_ID_LEN);
	for (size_t i = 0; i < n; i++)
		rows[i].since = rows[i].n = rows[i].earlier = rows[i].expires = 0;
	return bs_store_policy_run(store,
	    "SELECT id, since, n, earlier, expires FROM ledger WHERE id IN (?, ?, ?, ?, ?, ?, ?, ?)", args, IDS, take_row, &reading);
}

enum bs_err
bs_ledger_read(struct bs_store_policy *store, struct bs_ledger_row *rows, size_t n)
{
	enum bs_err err = BS_OK;

	for (size_t i = 0; err == BS_OK && i < n; i += IDS)
		err = read_some(store, rows + i, n - i < IDS ? n - i : IDS);
	return err;
}

static enum bs_err
insert_row(struct bs_store_policy *store, const struct bs_ledger_row *row)
{
	struct bs_sql_arg args[] = { BS_SQL_BLOB(row->id, BS_LEDGER_ID_LEN), BS_SQL_INT(row->since), BS_SQL_INT(row->n),
		BS_SQL_INT(row->earlier), BS_SQL_INT(row->expires) };
	enum bs_err err = bs_store_policy_run(store,
	    "INSERT INTO ledger (id, since, n, earlier, expires) VALUES (?, ?, ?, ?, ?)", args, 5, NULL, NULL);

	return err == BS_ERR_EXISTS ? BS_ERR_CONFLICT : err;
}

static enum bs_err
update_row(struct bs_store_policy *store, const struct bs_ledger_row *row, const struct bs_ledger_row *old)
{
	struct bs_sql_arg args[] = { BS_SQL_INT(row->since), BS_SQL_INT(row->n), BS_SQL_INT(row->earlier), BS_SQL_INT(row->expires),
		BS_SQL_BLOB(row->id, BS_LEDGER_ID_LEN), BS_SQL_INT(old->since), BS_SQL_INT(old->n), BS_SQL_INT(old->earlier),
		BS_SQL_INT(old->expires) };
	enum bs_err err = bs_store_policy_change(store,
	    "UPDATE ledger SET since = ?, n = ?, earlier = ?, expires = ?"
	    " WHERE id = ? AND since = ? AND n = ? AND earlier = ? AND expires = ?", args, 9);

	return err == BS_ERR_NOENT ? BS_ERR_CONFLICT : err;
}

static bool
same(const struct bs_ledger_row *a, const struct bs_ledger_row *b)
{
	return a->since == b->since && a->n == b->n && a->earlier == b->earlier && a->expires == b->expires;
}

/* Inside a transaction; *written: whether there is anything to commit. */
static enum bs_err
read_decide_write(struct bs_store_policy *store, struct bs_ledger_row *rows, struct bs_ledger_row *old, size_t n,
    bs_ledger_fn decide, void *ctx, bool *written)
{
	enum bs_err err = bs_ledger_read(store, rows, n);

	if (err != BS_OK)
		return err;
	memcpy(old, rows, n * sizeof(*rows));
	decide(ctx, rows, n);
	for (size_t i = 0; err == BS_OK && i < n; i++) {
		if (same(&rows[i], &old[i]))
			continue;
		*written = true;
		err = old[i].expires == 0 ? insert_row(store, &rows[i]) : update_row(store, &rows[i], &old[i]);
	}
	return err;
}

enum bs_err
bs_ledger_update(struct bs_store_policy *store, struct bs_ledger_row *rows, size_t n, bs_ledger_fn decide, void *ctx)
{
	struct bs_ledger_row *old = calloc(n + 1, sizeof(*old));
	bool written = false;
	enum bs_err err;

	if (old == NULL)
		return BS_ERR_NOMEM;
	err = bs_sql_begin(store->db);
	if (err != BS_OK)
		goto out;
	err = read_decide_write(store, rows, old, n, decide, ctx, &written);
	if (err == BS_OK && written)
		err = bs_sql_commit(store->db);
	else
		bs_sql_rollback(store->db);
out:
	free(old);
	return err;
}

struct expired {
	uint8_t ids[EXPIRE_MAX][BS_LEDGER_ID_LEN];
	size_t n;
};

static enum bs_err
take_id(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	struct expired *expired = ctx;

	if (n != 1 || cols[0].len != BS_LEDGER_ID_LEN || expired->n == EXPIRE_MAX)
		return BS_ERR_IO;
	memcpy(expired->ids[expired->n++], cols[0].p, BS_LEDGER_ID_LEN);
	return BS_OK;
}

/* Inside a transaction. A row that somebody has renewed stays. */
static enum bs_err
remove_all(struct bs_store_policy *store, const struct expired *expired, int64_t now_s, size_t *gone)
{
	enum bs_err err = BS_OK;

	for (size_t i = 0; err == BS_OK && i < expired->n; i += IDS) {
		struct bs_sql_arg args[IDS + 1];

		for (size_t j = 0; j < IDS; j++)
			args[j] = (struct bs_sql_arg)BS_SQL_BLOB(expired->ids[i + j < expired->n ? i + j : i], BS_LEDGER_ID_LEN);
		args[IDS] = (struct bs_sql_arg)BS_SQL_INT(now_s);
		err = bs_store_policy_run(store, "DELETE FROM ledger WHERE id IN (?, ?, ?, ?, ?, ?, ?, ?) AND expires < ?", args,
		    IDS + 1, NULL, NULL);
		*gone += err == BS_OK ? (size_t)bs_sql_changes(store->db) : 0;
	}
	return err;
}

enum bs_err
bs_ledger_expire(struct bs_store_policy *store, int64_t now_s, size_t max, size_t *gone)
{
	struct bs_sql_arg args[] = { BS_SQL_INT(now_s), BS_SQL_INT((int64_t)(max < EXPIRE_MAX ? max : EXPIRE_MAX)) };
	struct expired *expired = calloc(1, sizeof(*expired));
	size_t count = 0;
	enum bs_err err;

	if (expired == NULL)
		return BS_ERR_NOMEM;
	err = bs_store_policy_run(store, "SELECT id FROM ledger WHERE expires < ? ORDER BY expires LIMIT ?", args, 2, take_id, expired);
	if (err == BS_OK && expired->n > 0)
		err = bs_sql_begin(store->db);
	if (err == BS_OK && expired->n > 0) {
		err = remove_all(store, expired, now_s, &count);
		if (err == BS_OK)
			err = bs_sql_commit(store->db);
		else
			bs_sql_rollback(store->db);
	}
	free(expired);
	if (err == BS_OK)
		*gone = count;
	return err;
}
