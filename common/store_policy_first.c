/* store_policy_first: accounts whose keys a first login makes, until their owner was told. */
#include <stdlib.h>
#include <string.h>

#include "store_policy_priv.h"

enum bs_err
bs_account_expect(struct bs_store_policy *store, const struct bs_account *account)
{
	struct bs_sql_arg args[] = { BS_SQL_TEXT(account->address) };
	enum bs_err err = bs_sql_begin(store->db);

	if (err != BS_OK)
		return err;
	err = bs_account_add(store, account);
	if (err == BS_OK)
		err = bs_store_policy_run(store, "INSERT INTO first_logins (address) VALUES (?)", args, 1, NULL, NULL);
	if (err == BS_OK)
		return bs_sql_commit(store->db);
	bs_sql_rollback(store->db);
	return err;
}

struct first_list {
	char (*addresses)[BS_ADDRESS_MAX + 1];
	size_t max, n;
};

static enum bs_err
first_row(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	struct first_list *list = ctx;

	if (n != 1 || list->n == list->max)
		return BS_ERR_INTERNAL;
	return bs_store_policy_text(&cols[0], list->addresses[list->n++], sizeof(list->addresses[0]));
}

enum bs_err
bs_account_untold(struct bs_store_policy *store, const char *after, char (*addresses)[BS_ADDRESS_MAX + 1], size_t max, size_t *n)
{
	struct first_list list = { .addresses = addresses, .max = max };
	struct bs_sql_arg args[] = { BS_SQL_TEXT(after), BS_SQL_INT((int64_t)max) };
	enum bs_err err = bs_store_policy_run(store, "SELECT address FROM first_logins WHERE address > ? ORDER BY address LIMIT ?", args, 2, first_row, &list);

	*n = err == BS_OK ? list.n : 0;
	return err;
}

enum bs_err
bs_account_told(struct bs_store_policy *store, const char *address)
{
	return bs_store_policy_change(store, "DELETE FROM first_logins WHERE address = ?", (struct bs_sql_arg[]){ BS_SQL_TEXT(address) }, 1);
}
