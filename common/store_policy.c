#include "store_policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "migrations.h"
#include "sql.h"

struct bs_store_policy {
	struct bs_sql *db;
};

/* One thing that a SELECT brings back. */
struct found {
	void *out;
	bool yes;
};

enum bs_err
bs_store_policy_open(const char *url, const char *password_file, int timeout_ms, bool migrate,
    struct bs_store_policy **out)
{
	struct bs_store_policy *store = calloc(1, sizeof(*store));
	enum bs_err err;

	if (store == NULL)
		return BS_ERR_NOMEM;
	err = bs_sql_open(url, password_file, timeout_ms, &store->db);
	if (err == BS_OK) {
		err = migrate ? bs_sql_migrate(store->db, bs_sql_migrations_policy, bs_sql_migrations_policy_count)
		              : bs_sql_check_version(store->db, bs_sql_migrations_policy, bs_sql_migrations_policy_count);
		if (err != BS_OK)
			bs_sql_keep_errmsg(store->db);
	}
	if (err != BS_OK) {
		bs_store_policy_close(store);
		return err;
	}
	*out = store;
	return BS_OK;
}

enum bs_err
bs_store_policy_check_url(const char *url)
{
	return bs_sql_check_url(url);
}

void
bs_store_policy_close(struct bs_store_policy *store)
{
	if (store == NULL)
		return;
	bs_sql_close(store->db);
	free(store);
}

const char *
bs_store_policy_errmsg(const struct bs_store_policy *store)
{
	return bs_sql_errmsg(store == NULL ? NULL : store->db);
}

/* Copies a text column. A row that can't be is BS_ERR_IO: mail waits until somebody has mended it. */
static enum bs_err
col_text(const struct bs_sql_col *col, char *out, size_t size)
{
	if (col->p == NULL || col->len >= size || memchr(col->p, '\0', col->len) != NULL)
		return BS_ERR_IO;
	memcpy(out, col->p, col->len + 1);
	return BS_OK;
}

static enum bs_err
mark_found(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	struct found *found = ctx;

	(void)cols;
	(void)n;
	found->yes = true;
	return BS_OK;
}

/* sql selects by one text. BS_ERR_NOENT. */
static enum bs_err
exists(struct bs_store_policy *store, const char *sql, const char *key)
{
	struct found found = { 0 };
	enum bs_err err = bs_sql_run(store->db, sql, (struct bs_sql_arg[]){ BS_SQL_TEXT(key) }, 1, mark_found, &found);

	if (err != BS_OK)
		return err;
	return found.yes ? BS_OK : BS_ERR_NOENT;
}

/* Runs a DELETE or UPDATE. BS_ERR_NOENT when it found nothing. */
static enum bs_err
change(struct bs_store_policy *store, const char *sql, const struct bs_sql_arg *args, size_t n)
{
	enum bs_err err = bs_sql_run(store->db, sql, args, n, NULL, NULL);

	if (err == BS_OK && bs_sql_changes(store->db) == 0)
		err = BS_ERR_NOENT;
	return err;
}

/* --- domains --- */

enum bs_err
bs_domain_add(struct bs_store_policy *store, const char *domain)
{
	struct bs_sql_arg args[] = { BS_SQL_TEXT(domain), BS_SQL_INT(time(NULL)) };

	return bs_sql_run(store->db, "INSERT INTO domains (domain, created) VALUES (?, ?)", args, 2, NULL, NULL);
}

enum bs_err
bs_domain_remove(struct bs_store_policy *store, const char *domain)
{
	/* Accounts and aliases hold it by their foreign keys. */
	return change(store, "DELETE FROM domains WHERE domain = ?", (struct bs_sql_arg[]){ BS_SQL_TEXT(domain) }, 1);
}

enum bs_err
bs_domain_exists(struct bs_store_policy *store, const char *domain)
{
	return exists(store, "SELECT domain FROM domains WHERE domain = ?", domain);
}

struct domain_list {
	bs_domain_fn fn;
	void *ctx;
};

static enum bs_err
domain_row(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	const struct domain_list *list = ctx;
	char domain[BS_DOMAIN_MAX + 1];
	enum bs_err err = n == 1 ? col_text(&cols[0], domain, sizeof(domain)) : BS_ERR_INTERNAL;

	return err == BS_OK ? list->fn(list->ctx, domain) : err;
}

enum bs_err
bs_domain_list(struct bs_store_policy *store, bs_domain_fn fn, void *ctx)
{
	struct domain_list list = { .fn = fn, .ctx = ctx };

	return bs_sql_run(store->db, "SELECT domain FROM domains ORDER BY domain", NULL, 0, domain_row, &list);
}

/* --- plans --- */

#define PLAN_COLUMNS "SELECT name, sealed, compress, linger_s FROM plans"

static enum bs_err
plan_parse(const struct bs_sql_col *cols, size_t n, struct bs_plan *out)
{
	if (n != 4 || cols[3].i < 0 || cols[3].i > UINT32_MAX)
		return BS_ERR_IO;
	out->sealed = cols[1].i != 0;
	out->compress = cols[2].i != 0;
	out->linger_s = (uint32_t)cols[3].i;
	return col_text(&cols[0], out->name, sizeof(out->name));
}

static enum bs_err
plan_found(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	struct found *found = ctx;

	found->yes = true;
	return plan_parse(cols, n, found->out);
}

enum bs_err
bs_plan_get(struct bs_store_policy *store, const char *name, struct bs_plan *out)
{
	struct bs_plan plan = { 0 };
	struct found found = { .out = &plan };
	enum bs_err err = bs_sql_run(store->db, PLAN_COLUMNS " WHERE name = ?", (struct bs_sql_arg[]){ BS_SQL_TEXT(name) }, 1,
	    plan_found, &found);

	if (err == BS_OK && !found.yes)
		err = BS_ERR_NOENT;
	if (err == BS_OK)
		*out = plan;
	return err;
}

enum bs_err
bs_plan_set(struct bs_store_policy *store, const struct bs_plan *plan)
{
	struct bs_sql_arg args[] = {
		BS_SQL_INT(plan->sealed), BS_SQL_INT(plan->compress), BS_SQL_INT(plan->linger_s), BS_SQL_TEXT(plan->name),
	};
	enum bs_err err;

	if (plan->name[0] == '\0')
		return BS_ERR_ARG;
	err = change(store, "UPDATE plans SET sealed = ?, compress = ?, linger_s = ? WHERE name = ?", args, 4);
	if (err == BS_ERR_NOENT)
		err = bs_sql_run(store->db, "INSERT INTO plans (sealed, compress, linger_s, name) VALUES (?, ?, ?, ?)", args, 4,
		    NULL, NULL);
	return err == BS_ERR_EXISTS ? BS_ERR_CONFLICT : err;
}

struct plan_list {
	bs_plan_fn fn;
	void *ctx;
};

static enum bs_err
plan_row(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	const struct plan_list *list = ctx;
	struct bs_plan plan = { 0 };
	enum bs_err err = plan_parse(cols, n, &plan);

	return err == BS_OK ? list->fn(list->ctx, &plan) : err;
}

enum bs_err
bs_plan_list(struct bs_store_policy *store, bs_plan_fn fn, void *ctx)
{
	struct plan_list list = { .fn = fn, .ctx = ctx };

	return bs_sql_run(store->db, PLAN_COLUMNS " ORDER BY name", NULL, 0, plan_row, &list);
}

/* --- accounts --- */

#define ACCOUNT_COLUMNS "SELECT address, plan, enabled, created FROM accounts"

static enum bs_err
account_parse(const struct bs_sql_col *cols, size_t n, struct bs_account *out)
{
	enum bs_err err = n == 4 ? col_text(&cols[0], out->address, sizeof(out->address)) : BS_ERR_INTERNAL;

	if (err == BS_OK)
		err = col_text(&cols[1], out->plan, sizeof(out->plan));
	out->enabled = err == BS_OK && cols[2].i != 0;
	out->created = err == BS_OK ? (uint64_t)cols[3].i : 0;
	return err;
}

static enum bs_err
account_found(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	struct found *found = ctx;

	found->yes = true;
	return account_parse(cols, n, found->out);
}

/* A canonical address whose own base it is: mail for a+b@c is a@c's. */
static bool
is_account_address(const char *address)
{
	char parsed[BS_ADDRESS_MAX + 1], base[BS_ADDRESS_MAX + 1];

	if (bs_address_parse(address, parsed) != BS_OK)
		return false;
	bs_address_base(parsed, base);
	return strcmp(address, base) == 0;
}

static enum bs_err
domain_and_plan_exist(struct bs_store_policy *store, const char *address, const char *plan)
{
	enum bs_err err = bs_domain_exists(store, bs_address_domain(address));

	return err == BS_OK ? exists(store, "SELECT name FROM plans WHERE name = ?", plan) : err;
}

enum bs_err
bs_account_add(struct bs_store_policy *store, const struct bs_account *account)
{
	struct bs_sql_arg args[] = {
		BS_SQL_TEXT(account->address), BS_SQL_TEXT(bs_address_domain(account->address)), BS_SQL_TEXT(account->plan),
		BS_SQL_INT(account->enabled),
		BS_SQL_INT(account->created != 0 ? (int64_t)account->created : (int64_t)time(NULL)),
	};
	enum bs_err err;

	if (!is_account_address(account->address))
		return BS_ERR_ARG;
	err = domain_and_plan_exist(store, account->address, account->plan);
	if (err != BS_OK)
		return err;
	return bs_sql_run(store->db, "INSERT INTO accounts (address, domain, plan, enabled, created) VALUES (?, ?, ?, ?, ?)",
	    args, 5, NULL, NULL);
}

enum bs_err
bs_account_get(struct bs_store_policy *store, const char *address, struct bs_account *out)
{
	struct bs_account account = { 0 };
	struct found found = { .out = &account };
	enum bs_err err = bs_sql_run(store->db, ACCOUNT_COLUMNS " WHERE address = ?",
	    (struct bs_sql_arg[]){ BS_SQL_TEXT(address) }, 1, account_found, &found);

	if (err == BS_OK && !found.yes)
		err = BS_ERR_NOENT;
	if (err == BS_OK)
		*out = account;
	return err;
}

enum bs_err
bs_account_set(struct bs_store_policy *store, const struct bs_account *account)
{
	struct bs_sql_arg args[] = {
		BS_SQL_TEXT(account->plan), BS_SQL_INT(account->enabled), BS_SQL_TEXT(account->address),
	};
	enum bs_err err = exists(store, "SELECT name FROM plans WHERE name = ?", account->plan);

	return err == BS_OK ? change(store, "UPDATE accounts SET plan = ?, enabled = ? WHERE address = ?", args, 3) : err;
}

enum bs_err
bs_account_remove(struct bs_store_policy *store, const char *address)
{
	return change(store, "DELETE FROM accounts WHERE address = ?", (struct bs_sql_arg[]){ BS_SQL_TEXT(address) }, 1);
}

struct account_list {
	bs_account_fn fn;
	void *ctx;
};

static enum bs_err
account_row(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	const struct account_list *list = ctx;
	struct bs_account account = { 0 };
	enum bs_err err = account_parse(cols, n, &account);

	return err == BS_OK ? list->fn(list->ctx, &account) : err;
}

enum bs_err
bs_account_list(struct bs_store_policy *store, const char *domain, bs_account_fn fn, void *ctx)
{
	struct account_list list = { .fn = fn, .ctx = ctx };

	if (domain == NULL)
		return bs_sql_run(store->db, ACCOUNT_COLUMNS " ORDER BY address", NULL, 0, account_row, &list);
	return bs_sql_run(store->db, ACCOUNT_COLUMNS " WHERE domain = ? ORDER BY address",
	    (struct bs_sql_arg[]){ BS_SQL_TEXT(domain) }, 1, account_row, &list);
}

/* --- aliases --- */

enum bs_err
bs_alias_add(struct bs_store_policy *store, const char *alias, const char *target)
{
	const char *domain = bs_address_domain(alias);
	struct bs_sql_arg args[] = {
		BS_SQL_TEXT(alias), BS_SQL_TEXT(target), BS_SQL_TEXT(domain), BS_SQL_INT(time(NULL)),
	};
	char parsed[BS_ADDRESS_MAX + 1];
	enum bs_err err;

	if (!is_account_address(alias) || bs_address_parse(target, parsed) != BS_OK || strcmp(target, parsed) != 0)
		return BS_ERR_ARG;
	err = bs_domain_exists(store, domain);
	if (err != BS_OK)
		return err;
	return bs_sql_run(store->db, "INSERT INTO aliases (alias, target, domain, created) VALUES (?, ?, ?, ?)", args, 4,
	    NULL, NULL);
}

enum bs_err
bs_alias_remove(struct bs_store_policy *store, const char *alias, const char *target)
{
	struct bs_sql_arg args[] = { BS_SQL_TEXT(alias), BS_SQL_TEXT(target) };

	return change(store, "DELETE FROM aliases WHERE alias = ? AND target = ?", args, 2);
}

struct alias_list {
	bs_alias_fn fn;
	void *ctx;
};

static enum bs_err
alias_row(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	const struct alias_list *list = ctx;
	char alias[BS_ADDRESS_MAX + 1], target[BS_ADDRESS_MAX + 1];
	enum bs_err err = n == 2 ? col_text(&cols[0], alias, sizeof(alias)) : BS_ERR_INTERNAL;

	if (err == BS_OK)
		err = col_text(&cols[1], target, sizeof(target));
	return err == BS_OK ? list->fn(list->ctx, alias, target) : err;
}

enum bs_err
bs_alias_list(struct bs_store_policy *store, const char *alias, bs_alias_fn fn, void *ctx)
{
	struct alias_list list = { .fn = fn, .ctx = ctx };

	if (alias == NULL)
		return bs_sql_run(store->db, "SELECT alias, target FROM aliases ORDER BY alias, target", NULL, 0, alias_row, &list);
	return bs_sql_run(store->db, "SELECT alias, target FROM aliases WHERE alias = ? ORDER BY target",
	    (struct bs_sql_arg[]){ BS_SQL_TEXT(alias) }, 1, alias_row, &list);
}
