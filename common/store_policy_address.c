/* store_policy_address: accounts, aliases, and all that there is of one address. */
#include <string.h>
#include <time.h>

#include "store_policy_priv.h"

/* --- accounts --- */

#define ACCOUNT_COLUMNS "SELECT address, plan, enabled, created FROM accounts"

static enum bs_err
account_parse(const struct bs_sql_col *cols, size_t n, struct bs_account *out)
{
	enum bs_err err = n == 4 ? bs_store_policy_text(&cols[0], out->address, sizeof(out->address)) : BS_ERR_INTERNAL;

	if (err == BS_OK)
		err = bs_store_policy_text(&cols[1], out->plan, sizeof(out->plan));
	out->enabled = err == BS_OK && cols[2].i != 0;
	out->created = err == BS_OK ? (uint64_t)cols[3].i : 0;
	return err;
}

static enum bs_err
account_found(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	struct bs_store_found *found = ctx;

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

	return err == BS_OK ? bs_store_policy_exists(store, "SELECT name FROM plans WHERE name = ?", plan) : err;
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
	return bs_store_policy_run(store, "INSERT INTO accounts (address, domain, plan, enabled, created) VALUES (?, ?, ?, ?, ?)",
	    args, 5, NULL, NULL);
}

enum bs_err
bs_account_get(struct bs_store_policy *store, const char *address, struct bs_account *out)
{
	struct bs_account account = { 0 };
	struct bs_store_found found = { .out = &account };
	enum bs_err err = bs_store_policy_run(store, ACCOUNT_COLUMNS " WHERE address = ?",
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
	enum bs_err err = bs_store_policy_exists(store, "SELECT name FROM plans WHERE name = ?", account->plan);

	return err == BS_OK ? bs_store_policy_change(store, "UPDATE accounts SET plan = ?, enabled = ? WHERE address = ?", args, 3) : err;
}

enum bs_err
bs_account_remove(struct bs_store_policy *store, const char *address)
{
	return bs_store_policy_remove(store, "DELETE FROM accounts WHERE address = ?", BS_SCOPE_ACCOUNT, address);
}

static enum bs_err
linger_found(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	struct bs_store_found *found = ctx;

	found->yes = true;
	return n == 1 ? bs_store_policy_linger(&cols[0], found->out) : BS_ERR_INTERNAL;
}

enum bs_err
bs_account_linger(struct bs_store_policy *store, const char *address, int64_t *linger_s)
{
	int64_t seconds = 0;
	struct bs_store_found found = { .out = &seconds };
	enum bs_err err = bs_store_policy_run(store,
	    "SELECT plans.linger_s FROM accounts JOIN plans ON plans.name = accounts.plan WHERE accounts.address = ?",
	    (struct bs_sql_arg[]){ BS_SQL_TEXT(address) }, 1, linger_found, &found);

	if (err == BS_OK && !found.yes)
		err = BS_ERR_NOENT;
	if (err == BS_OK)
		*linger_s = seconds;
	return err;
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
		return bs_store_policy_run(store, ACCOUNT_COLUMNS " ORDER BY address", NULL, 0, account_row, &list);
	return bs_store_policy_run(store, ACCOUNT_COLUMNS " WHERE domain = ? ORDER BY address",
	    (struct bs_sql_arg[]){ BS_SQL_TEXT(domain) }, 1, account_row, &list);
}

/* --- aliases --- */

static bool
is_alias_name(const char *alias)
{
	char parsed[BS_DOMAIN_MAX + 1];

	if (alias[0] != '@')
		return is_account_address(alias);
	return bs_domain_parse(alias + 1, parsed) == BS_OK && strcmp(alias + 1, parsed) == 0;
}

enum bs_err
bs_alias_add(struct bs_store_policy *store, const char *alias, const char *target)
{
	const char *domain = bs_address_domain(alias);
	struct bs_sql_arg args[] = {
		BS_SQL_TEXT(alias), BS_SQL_TEXT(target), BS_SQL_TEXT(domain), BS_SQL_INT(time(NULL)),
	};
	char parsed[BS_ADDRESS_MAX + 1];
	enum bs_err err;

	if (!is_alias_name(alias) || bs_address_parse(target, parsed) != BS_OK || strcmp(target, parsed) != 0)
		return BS_ERR_ARG;
	err = bs_domain_exists(store, domain);
	if (err != BS_OK)
		return err;
	return bs_store_policy_run(store, "INSERT INTO aliases (alias, target, domain, created) VALUES (?, ?, ?, ?)", args, 4,
	    NULL, NULL);
}

enum bs_err
bs_alias_remove(struct bs_store_policy *store, const char *alias, const char *target)
{
	struct bs_sql_arg args[] = { BS_SQL_TEXT(alias), BS_SQL_TEXT(target) };

	return bs_store_policy_change(store, "DELETE FROM aliases WHERE alias = ? AND target = ?", args, 2);
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
	enum bs_err err = n == 2 ? bs_store_policy_text(&cols[0], alias, sizeof(alias)) : BS_ERR_INTERNAL;

	if (err == BS_OK)
		err = bs_store_policy_text(&cols[1], target, sizeof(target));
	return err == BS_OK ? list->fn(list->ctx, alias, target) : err;
}

enum bs_err
bs_alias_list(struct bs_store_policy *store, const char *alias, bs_alias_fn fn, void *ctx)
{
	struct alias_list list = { .fn = fn, .ctx = ctx };

	if (alias == NULL)
		return bs_store_policy_run(store, "SELECT alias, target FROM aliases ORDER BY alias, target", NULL, 0, alias_row, &list);
	return bs_store_policy_run(store, "SELECT alias, target FROM aliases WHERE alias = ? ORDER BY target",
	    (struct bs_sql_arg[]){ BS_SQL_TEXT(alias) }, 1, alias_row, &list);
}

/* --- all that there is of one address --- */

/* The rows' kinds; in this order, so that of the preferences the last one counts. */
enum { LOOK_DOMAIN, LOOK_ACCOUNT, LOOK_ALIAS, LOOK_CATCH_ALL, LOOK_PREFERENCE };

#define LOOK_PREFERENCES "SELECT 4 + scope, item, 0, value FROM preferences WHERE "
static const char look_sql[] =
    "SELECT 0, domain, 0, '' FROM domains WHERE domain = ? "
    "UNION ALL SELECT 1, plan, enabled, '' FROM accounts WHERE address = ? "
    "UNION ALL SELECT 2, target, 0, '' FROM aliases WHERE alias = ? "
    "UNION ALL SELECT 3, target, 0, '' FROM aliases WHERE alias = ? "
    "UNION ALL " LOOK_PREFERENCES "scope = 0 AND name = '' "
    "UNION ALL " LOOK_PREFERENCES "scope = 1 AND name = (SELECT plan FROM accounts WHERE address = ?) "
    "UNION ALL " LOOK_PREFERENCES "scope = 2 AND name = ? "
    "UNION ALL " LOOK_PREFERENCES "scope = 3 AND name = ? "
    "ORDER BY 1, 2";

struct look {
	bs_target_fn fn;
	void *ctx;
	struct bs_address_facts facts;
};

static enum bs_err
look_row(void *ctx, const struct bs_sql_col *cols, size_t n)
{
	struct look *look = ctx;
	char target[BS_ADDRESS_MAX + 1];
	enum bs_err err = BS_OK;

	if (n != 4)
		return BS_ERR_INTERNAL;
	switch (cols[0].i) {
	case LOOK_DOMAIN:
		look->facts.domain = true;
		break;
	case LOOK_ACCOUNT:
		look->facts.account = true;
		look->facts.enabled = cols[2].i != 0;
		break;
	case LOOK_ALIAS:
	case LOOK_CATCH_ALL:
		if (cols[0].i == LOOK_ALIAS)
			look->facts.alias = true;
		else
			look->facts.catch_all = true;
		err = bs_store_policy_text(&cols[1], target, sizeof(target));
		return err == BS_OK ? look->fn(look->ctx, cols[0].i == LOOK_CATCH_ALL, target) : err;
	default:
		bs_store_policy_apply(&cols[1], &cols[3], &look->facts.policy, &look->facts.ignored);
		break;
	}
	return BS_OK;
}

enum bs_err
bs_address_look(struct bs_store_policy *store, const char *base, bs_target_fn fn, void *ctx, struct bs_address_facts *out)
{
	struct look look = { .fn = fn, .ctx = ctx };
	const char *domain = bs_address_domain(base), *catch_all = domain - 1;
	struct bs_sql_arg args[] = {
		BS_SQL_TEXT(domain), BS_SQL_TEXT(base), BS_SQL_TEXT(base), BS_SQL_TEXT(catch_all),
		BS_SQL_TEXT(base), BS_SQL_TEXT(domain), BS_SQL_TEXT(base),
	};
	enum bs_err err;

	bs_policy_defaults(&look.facts.policy);
	err = bs_store_policy_run(store, look_sql, args, sizeof(args) / sizeof(args[0]), look_row, &look);
	if (err == BS_OK)
		*out = look.facts;
	return err;
}
