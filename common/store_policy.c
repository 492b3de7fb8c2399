#include "store_policy.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "migrations.h"
#include "store_policy_priv.h"

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

enum bs_err
bs_store_policy_run(struct bs_store_policy *store, const char *sql, const struct bs_sql_arg *args, size_t n,
    bs_sql_row_fn row, void *ctx)
{
	store->statements++;
	return bs_sql_run(store->db, sql, args, n, row, ctx);
}

uint64_t
bs_store_policy_statements(const struct bs_store_policy *store)
{
	return store->statements;
}

enum bs_err
bs_store_policy_text(const struct bs_sql_col *col, char *out, size_t size)
{
	if (col->p == NULL || col->len >= size || memchr(col->p, '\0', col->len) != NULL)
		return BS_ERR_IO;
	memcpy(out, col->p, col->len + 1);
	return BS_OK;
}

static enum bs_err
mark_found(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	struct bs_store_found *found = ctx;

	(void)cols;
	(void)n;
	found->yes = true;
	return BS_OK;
}

enum bs_err
bs_store_policy_exists(struct bs_store_policy *store, const char *sql, const char *key)
{
	struct bs_store_found found = { 0 };
	enum bs_err err = bs_store_policy_run(store, sql, (struct bs_sql_arg[]){ BS_SQL_TEXT(key) }, 1, mark_found, &found);

	if (err != BS_OK)
		return err;
	return found.yes ? BS_OK : BS_ERR_NOENT;
}

enum bs_err
bs_store_policy_change(struct bs_store_policy *store, const char *sql, const struct bs_sql_arg *args, size_t n)
{
	enum bs_err err = bs_store_policy_run(store, sql, args, n, NULL, NULL);

	if (err == BS_OK && bs_sql_changes(store->db) == 0)
		err = BS_ERR_NOENT;
	return err;
}

enum bs_err
bs_store_policy_remove(struct bs_store_policy *store, const char *sql, enum bs_scope scope, const char *name)
{
	struct bs_sql_arg args[] = { BS_SQL_TEXT(name), BS_SQL_INT(scope) };
	enum bs_err err = bs_sql_begin(store->db);

	if (err != BS_OK)
		return err;
	err = bs_store_policy_change(store, sql, args, 1);
	if (err == BS_OK)
		err = bs_store_policy_run(store, "DELETE FROM preferences WHERE name = ? AND scope = ?", args, 2, NULL, NULL);
	if (err == BS_OK)
		return bs_sql_commit(store->db);
	bs_sql_rollback(store->db);
	return err;
}

/* --- domains --- */

enum bs_err
bs_domain_add(struct bs_store_policy *store, const char *domain)
{
	struct bs_sql_arg args[] = { BS_SQL_TEXT(domain), BS_SQL_INT(time(NULL)) };

	return bs_store_policy_run(store, "INSERT INTO domains (domain, created) VALUES (?, ?)", args, 2, NULL, NULL);
}

enum bs_err
bs_domain_remove(struct bs_store_policy *store, const char *domain)
{
	/* Accounts and aliases hold it by their foreign keys. */
	return bs_store_policy_remove(store, "DELETE FROM domains WHERE domain = ?", BS_SCOPE_DOMAIN, domain);
}

enum bs_err
bs_domain_exists(struct bs_store_policy *store, const char *domain)
{
	return bs_store_policy_exists(store, "SELECT domain FROM domains WHERE domain = ?", domain);
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
	enum bs_err err = n == 1 ? bs_store_policy_text(&cols[0], domain, sizeof(domain)) : BS_ERR_INTERNAL;

	return err == BS_OK ? list->fn(list->ctx, domain) : err;
}

enum bs_err
bs_domain_list(struct bs_store_policy *store, bs_domain_fn fn, void *ctx)
{
	struct domain_list list = { .fn = fn, .ctx = ctx };

	return bs_store_policy_run(store, "SELECT domain FROM domains ORDER BY domain", NULL, 0, domain_row, &list);
}

/* --- plans --- */

#define PLAN_COLUMNS "SELECT name, sealed, compress, linger_s FROM plans"

enum bs_err
bs_store_policy_linger(const struct bs_sql_col *col, int64_t *out)
{
	if (col->p == NULL || col->i < BS_LINGER_DEFAULT || col->i > UINT32_MAX)
		return BS_ERR_IO;
	*out = col->i;
	return BS_OK;
}

static enum bs_err
plan_parse(const struct bs_sql_col *cols, size_t n, struct bs_plan *out)
{
	if (n != 4)
		return BS_ERR_IO;
	out->sealed = cols[1].i != 0;
	out->compress = cols[2].i != 0;
	if (bs_store_policy_linger(&cols[3], &out->linger_s) != BS_OK)
		return BS_ERR_IO;
	return bs_store_policy_text(&cols[0], out->name, sizeof(out->name));
}

static enum bs_err
plan_found(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	struct bs_store_found *found = ctx;

	found->yes = true;
	return plan_parse(cols, n, found->out);
}

enum bs_err
bs_plan_get(struct bs_store_policy *store, const char *name, struct bs_plan *out)
{
	struct bs_plan plan = { 0 };
	struct bs_store_found found = { .out = &plan };
	enum bs_err err = bs_store_policy_run(store, PLAN_COLUMNS " WHERE name = ?", (struct bs_sql_arg[]){ BS_SQL_TEXT(name) }, 1,
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
	err = bs_store_policy_change(store, "UPDATE plans SET sealed = ?, compress = ?, linger_s = ? WHERE name = ?", args, 4);
	if (err == BS_ERR_NOENT)
		err = bs_store_policy_run(store, "INSERT INTO plans (sealed, compress, linger_s, name) VALUES (?, ?, ?, ?)", args, 4,
		    NULL, NULL);
	return err == BS_ERR_EXISTS ? BS_ERR_CONFLICT : err;
}

enum bs_err
bs_plan_remove(struct bs_store_policy *store, const char *name)
{
	/* Accounts hold it by their foreign key. */
	return bs_store_policy_remove(store, "DELETE FROM plans WHERE name = ?", BS_SCOPE_PLAN, name);
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

	return bs_store_policy_run(store, PLAN_COLUMNS " ORDER BY name", NULL, 0, plan_row, &list);
}
