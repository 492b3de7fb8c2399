/* store_policy_preferences: what is wanted of the checks, for the site, a plan, a domain, an account. */
#include <stdio.h>
#include <string.h>

#include "store_policy_priv.h"

static const char *const scope_names[BS_SCOPE_COUNT] = { "site", "plan", "domain", "account" };

/* What must exist is what is selected from, so that none is set for what is being removed. */
static const char *const set_sql[BS_SCOPE_COUNT] = {
	"REPLACE INTO preferences (scope, item, value, name) VALUES (?, ?, ?, ?)",
	"REPLACE INTO preferences (scope, item, value, name) SELECT ?, ?, ?, name FROM plans WHERE name = ?",
	"REPLACE INTO preferences (scope, item, value, name) SELECT ?, ?, ?, domain FROM domains WHERE domain = ?",
	"REPLACE INTO preferences (scope, item, value, name) SELECT ?, ?, ?, address FROM accounts WHERE address = ?",
};

const char *
bs_scope_name(enum bs_scope scope)
{
	return scope_names[scope];
}

enum bs_err
bs_preference_set(struct bs_store_policy *store, enum bs_scope scope, const char *name, const char *item, const char *value,
    char *why, size_t why_size)
{
	struct bs_sql_arg args[] = { BS_SQL_INT(scope), BS_SQL_TEXT(item), BS_SQL_TEXT(value), BS_SQL_TEXT(name) };
	struct bs_policy scratch;

	bs_policy_defaults(&scratch);
	if ((scope == BS_SCOPE_SITE) != (name[0] == '\0') ||
	    bs_policy_set(&scratch, item, value, why_size > 0 ? why : NULL, why_size) != BS_OK)
		return BS_ERR_ARG;
	return bs_store_policy_change(store, set_sql[scope], args, 4);
}

enum bs_err
bs_preference_unset(struct bs_store_policy *store, enum bs_scope scope, const char *name, const char *item)
{
	struct bs_sql_arg args[] = { BS_SQL_INT(scope), BS_SQL_TEXT(name), BS_SQL_TEXT(item) };

	return bs_store_policy_change(store, "DELETE FROM preferences WHERE scope = ? AND name = ? AND item = ?", args, 3);
}

/* What is shown of a column that may hold anything: a text that fits, without NUL. */
static void
show(const struct bs_sql_col *col, char *out, size_t size)
{
	(void)snprintf(out, size, "%s", col->p != NULL ? (const char *)col->p : "");
}

struct preference_list {
	bs_preference_fn fn;
	void *ctx;
};

static enum bs_err
preference_row(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	const struct preference_list *list = ctx;
	struct bs_preference preference = { 0 };

	if (n != 4)
		return BS_ERR_INTERNAL;
	if (cols[0].i < 0 || cols[0].i >= BS_SCOPE_COUNT)
		return BS_ERR_IO;
	preference.scope = (enum bs_scope)cols[0].i;
	show(&cols[1], preference.name, sizeof(preference.name));
	show(&cols[2], preference.item, sizeof(preference.item));
	show(&cols[3], preference.value, sizeof(preference.value));
	return list->fn(list->ctx, &preference);
}

#define PREFERENCE_COLUMNS "SELECT scope, name, item, value FROM preferences WHERE "

enum bs_err
bs_preference_list(struct bs_store_policy *store, enum bs_scope scope, const char *name, bs_preference_fn fn, void *ctx)
{
	struct preference_list list = { .fn = fn, .ctx = ctx };
	struct bs_sql_arg args[] = { BS_SQL_INT(scope), BS_SQL_TEXT(name != NULL ? name : "") };

	return bs_store_policy_run(store, name != NULL ? PREFERENCE_COLUMNS "scope = ? AND name = ? ORDER BY name, item"
	    : PREFERENCE_COLUMNS "scope = ? ORDER BY name, item", args, name != NULL ? 2 : 1, preference_row, &list);
}

#define BEARING                                                                                                        \
	"(scope = 0 AND name = '') OR (scope = 1 AND name = ?) OR (scope = 2 AND name = ?) OR (scope = 3 AND name = ?) "  \
	"ORDER BY scope, item"

enum bs_err
bs_preference_bearing(struct bs_store_policy *store, const char *plan, const char *domain, const char *account,
    bs_preference_fn fn, void *ctx)
{
	struct preference_list list = { .fn = fn, .ctx = ctx };
	struct bs_sql_arg args[] = { BS_SQL_TEXT(plan), BS_SQL_TEXT(domain), BS_SQL_TEXT(account) };

	return bs_store_policy_run(store, PREFERENCE_COLUMNS BEARING, args, 3, preference_row, &list);
}

void
bs_store_policy_apply(const struct bs_sql_col *item, const struct bs_sql_col *value, struct bs_policy *policy, unsigned *ignored)
{
	char name[BS_POLICY_ITEM_MAX + 1], text[BS_POLICY_VALUE_MAX + 1];

	if (bs_store_policy_text(item, name, sizeof(name)) != BS_OK ||
	    bs_store_policy_text(value, text, sizeof(text)) != BS_OK || bs_policy_set(policy, name, text, NULL, 0) != BS_OK)
		(*ignored)++;
}

struct policy_load {
	struct bs_policy policy;
	unsigned ignored;
};

static enum bs_err
policy_row(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	struct policy_load *load = ctx;

	if (n != 4)
		return BS_ERR_INTERNAL;
	bs_store_policy_apply(&cols[2], &cols[3], &load->policy, &load->ignored);
	return BS_OK;
}

enum bs_err
bs_policy_load(struct bs_store_policy *store, const char *plan, const char *domain, const char *account,
    struct bs_policy *out, unsigned *ignored)
{
	struct bs_sql_arg args[] = { BS_SQL_TEXT(plan), BS_SQL_TEXT(domain), BS_SQL_TEXT(account) };
	struct policy_load load = { 0 };
	enum bs_err err;

	bs_policy_defaults(&load.policy);
	err = bs_store_policy_run(store, PREFERENCE_COLUMNS BEARING, args, 3, policy_row, &load);
	if (err != BS_OK)
		return err;
	*out = load.policy;
	if (ignored != NULL)
		*ignored = load.ignored;
	return BS_OK;
}
