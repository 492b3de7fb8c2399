#include "store_policy_dmarc.h"

#include <string.h>

#include "crypto.h"
#include "store_policy_priv.h"

static void
digest(const struct bs_dmarc_row *row, uint8_t out[BS_HASH_LEN])
{
	bs_sha256(row, offsetof(struct bs_dmarc_row, messages), out);
}

static enum bs_err
count_up(struct bs_store_policy *store, const struct bs_dmarc_row *row, const uint8_t *key, bool *found)
{
	struct bs_sql_arg args[] = { BS_SQL_INT((int64_t)row->messages), BS_SQL_INT(row->day), BS_SQL_BLOB(key, BS_HASH_LEN) };
	enum bs_err err = bs_store_policy_change(store,
	    "UPDATE dmarc_results SET messages = messages + ? WHERE day = ? AND digest = ?", args, 3);

	*found = err == BS_OK;
	return err == BS_ERR_NOENT ? BS_OK : err;
}

static enum bs_err
insert(struct bs_store_policy *store, const struct bs_dmarc_row *row, const uint8_t *key)
{
	struct bs_sql_arg args[] = { BS_SQL_INT(row->day), BS_SQL_BLOB(key, BS_HASH_LEN), BS_SQL_TEXT(row->author),
		BS_SQL_TEXT(row->domain), BS_SQL_TEXT(row->policy), BS_SQL_TEXT(row->rua), BS_SQL_TEXT(row->source),
		BS_SQL_TEXT(row->envelope), BS_SQL_TEXT(row->spf), BS_SQL_TEXT(row->dkim), BS_SQL_TEXT(row->disposition),
		BS_SQL_INT(row->dkim_aligned), BS_SQL_INT(row->spf_aligned), BS_SQL_TEXT(row->reason),
		BS_SQL_INT((int64_t)row->messages) };

	return bs_store_policy_run(store, "INSERT INTO dmarc_results (day, digest, author, domain, policy, rua, source, envelope, spf,"
	    " dkim, disposition, dkim_aligned, spf_aligned, reason, messages) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	    args, sizeof(args) / sizeof(args[0]), NULL, NULL);
}

/* What is known of the room for new rows: of one day, since a batch seldom has two. */
struct room {
	int64_t max; /* 0: no bound */
	int64_t day, rows;
	int64_t full_day;
};

/* *left: whether a new row of that day may come. */
static enum bs_err
look_for_room(struct bs_store_policy *store, struct room *room, int64_t day, bool *left)
{
	struct bs_sql_arg args[] = { BS_SQL_INT(day) };
	enum bs_err err = BS_OK;

	if (room->max > 0 && room->day != day)
		err = bs_store_policy_run(store, "SELECT COUNT(*) FROM dmarc_results WHERE day = ?", args, 1, bs_sql_take_int, &room->rows);
	if (err != BS_OK)
		return err;
	room->day = day;
	*left = room->max == 0 || room->rows < room->max;
	if (*left)
		room->rows++;
	else
		room->full_day = day;
	return BS_OK;
}

/* Another node may insert between our look and our insertion: then it is there to be counted up. */
static enum bs_err
add_one(struct bs_store_policy *store, const struct bs_dmarc_row *row, struct room *room)
{
	uint8_t key[BS_HASH_LEN];
	bool found = false, left = false;
	enum bs_err err;

	digest(row, key);
	err = count_up(store, row, key, &found);
	if (err != BS_OK || found)
		return err;
	err = look_for_room(store, room, row->day, &left);
	if (err != BS_OK || !left)
		return err;
	err = insert(store, row, key);
	if (err == BS_ERR_EXISTS)
		err = count_up(store, row, key, &found);
	return err;
}

enum bs_err
bs_dmarc_add(struct bs_store_policy *store, const struct bs_dmarc_row *rows, size_t n, int64_t max, int64_t *full_day)
{
	struct room room = { .max = max, .day = -1, .full_day = -1 };
	enum bs_err err = bs_sql_begin(store->db);

	if (err != BS_OK)
		return err;
	for (size_t i = 0; err == BS_OK && i < n; i++)
		err = add_one(store, &rows[i], &room);
	if (err == BS_OK)
		err = bs_sql_commit(store->db);
	else
		bs_sql_rollback(store->db);
	if (err == BS_OK && room.full_day >= 0)
		*full_day = room.full_day;
	return err;
}

struct listing {
	bs_dmarc_fn fn;
	void *ctx;
};

static enum bs_err
take_row(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	struct listing *listing = ctx;
	struct bs_dmarc_row row = { 0 };
	const struct {
		char *out;
		size_t size;
	} texts[] = { { row.author, sizeof(row.author) }, { row.domain, sizeof(row.domain) }, { row.policy, sizeof(row.policy) },
		{ row.rua, sizeof(row.rua) }, { row.source, sizeof(row.source) }, { row.envelope, sizeof(row.envelope) },
		{ row.spf, sizeof(row.spf) }, { row.dkim, sizeof(row.dkim) }, { row.disposition, sizeof(row.disposition) },
		{ row.reason, sizeof(row.reason) } };
	size_t n_texts = sizeof(texts) / sizeof(texts[0]);
	enum bs_err err = BS_OK;

	if (n != n_texts + 4)
		return BS_ERR_INTERNAL;
	for (size_t i = 0; err == BS_OK && i < n_texts; i++)
		err = bs_store_policy_text(&cols[i], texts[i].out, texts[i].size);
	if (err != BS_OK)
		return err;
	row.day = cols[n_texts].i;
	row.dkim_aligned = cols[n_texts + 1].i != 0;
	row.spf_aligned = cols[n_texts + 2].i != 0;
	row.messages = (uint64_t)cols[n_texts + 3].i;
	return listing->fn(listing->ctx, &row);
}

enum bs_err
bs_dmarc_list(struct bs_store_policy *store, const char *domain, int64_t day, bs_dmarc_fn fn, void *ctx)
{
	const char *wanted = domain != NULL ? domain : "";
	struct bs_sql_arg args[] = { BS_SQL_TEXT(wanted), BS_SQL_TEXT(wanted), BS_SQL_INT(day), BS_SQL_INT(day) };
	struct listing listing = { fn, ctx };

	return bs_store_policy_run(store, "SELECT author, domain, policy, rua, source, envelope, spf, dkim, disposition, reason, day,"
	    " dkim_aligned, spf_aligned, messages FROM dmarc_results WHERE (? = '' OR domain = ?) AND (? < 0 OR day = ?)"
	    " ORDER BY day, domain, policy, author, digest", args, 4, take_row, &listing);
}

enum bs_err
bs_dmarc_forget(struct bs_store_policy *store, int64_t day)
{
	struct bs_sql_arg args[] = { BS_SQL_INT(day) };

	return bs_store_policy_run(store, "DELETE FROM dmarc_results WHERE day < ?", args, 1, NULL, NULL);
}
