#include "store_policy_history.h"

#include <string.h>

#include "store_policy_priv.h"

#define COLUMNS "account, at, id, sender, outcome, decided_by, reply, queue_id"

static enum bs_err
insert(struct bs_store_policy *store, const struct bs_history_row *row)
{
	struct bs_sql_arg args[] = { BS_SQL_BLOB(row->account, BS_HISTORY_ID_LEN), BS_SQL_INT(row->at),
		BS_SQL_BLOB(row->id, BS_HISTORY_ID_LEN), BS_SQL_BLOB(row->sender, BS_HISTORY_ID_LEN), BS_SQL_TEXT(row->outcome),
		BS_SQL_TEXT(row->by), BS_SQL_TEXT(row->reply), BS_SQL_TEXT(row->queue_id) };

	return bs_store_policy_run(store, "INSERT INTO history (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?)", args,
	    sizeof(args) / sizeof(args[0]), NULL, NULL);
}

enum bs_err
bs_history_add(struct bs_store_policy *store, const struct bs_history_row *rows, size_t n)
{
	enum bs_err err = bs_sql_begin(store->db);

	if (err != BS_OK)
		return err;
	for (size_t i = 0; i < n && err == BS_OK; i++)
		err = insert(store, &rows[i]);
	if (err == BS_OK)
		return bs_sql_commit(store->db);
	bs_sql_rollback(store->db);
	return err;
}

struct list {
	bs_history_fn fn;
	void *ctx;
};

static enum bs_err
copy_id(const struct bs_sql_col *col, uint8_t out[BS_HISTORY_ID_LEN])
{
	if (col->p == NULL || col->len != BS_HISTORY_ID_LEN)
		return BS_ERR_IO;
	memcpy(out, col->p, BS_HISTORY_ID_LEN);
	return BS_OK;
}

static enum bs_err
list_row(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	const struct list *list = ctx;
	struct bs_history_row row = { 0 };
	enum bs_err err = n == 8 ? copy_id(&cols[0], row.account) : BS_ERR_INTERNAL;

	if (err == BS_OK)
		err = copy_id(&cols[2], row.id);
	if (err == BS_OK)
		err = copy_id(&cols[3], row.sender);
	if (err == BS_OK)
		err = bs_store_policy_text(&cols[4], row.outcome, sizeof(row.outcome));
	if (err == BS_OK)
		err = bs_store_policy_text(&cols[5], row.by, sizeof(row.by));
	if (err == BS_OK)
		err = bs_store_policy_text(&cols[6], row.reply, sizeof(row.reply));
	if (err == BS_OK)
		err = bs_store_policy_text(&cols[7], row.queue_id, sizeof(row.queue_id));
	if (err != BS_OK)
		return err;
	row.at = cols[1].i;
	return list->fn(list->ctx, &row);
}

enum bs_err
bs_history_list(struct bs_store_policy *store, const uint8_t *account, size_t max, bs_history_fn fn, void *ctx)
{
	struct list list = { .fn = fn, .ctx = ctx };
	struct bs_sql_arg of_all[] = { BS_SQL_INT((int64_t)max) };
	struct bs_sql_arg of_one[] = { BS_SQL_BLOB(account, BS_HISTORY_ID_LEN), BS_SQL_INT((int64_t)max) };

	if (account == NULL)
		return bs_store_policy_run(store, "SELECT " COLUMNS " FROM history ORDER BY at DESC, id LIMIT ?", of_all, 1, list_row,
		    &list);
	return bs_store_policy_run(store, "SELECT " COLUMNS " FROM history WHERE account = ? ORDER BY at DESC, id LIMIT ?", of_one, 2,
	    list_row, &list);
}

enum bs_err
bs_history_forget(struct bs_store_policy *store, int64_t before_s)
{
	enum bs_err err = bs_store_policy_change(store, "DELETE FROM history WHERE at < ?",
	    (struct bs_sql_arg[]){ BS_SQL_INT(before_s) }, 1);

	return err == BS_ERR_NOENT ? BS_OK : err;
}
