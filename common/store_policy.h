/*
 * store_policy: the policy database of milter, basaltctl and keyd's role `policy`: domains, plans, accounts, aliases, and preferences. No key is
 * ever in it.
 *
 * Addresses are lower-case and checked by bs_address_parse(). A handle belongs to one thread at a time.
 * Errors are sql.h's, and BS_ERR_NOENT, BS_ERR_EXISTS, BS_ERR_ARG.
 *
 *     err = bs_store_policy_open(url, password_file, 2000, false, &store);
 *     err = bs_account_get(store, "alice@example.org", &account);
 */
#ifndef BS_STORE_POLICY_H
#define BS_STORE_POLICY_H

#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "err.h"
#include "policy.h"

#define BS_PLAN_NAME_MAX 32
#define BS_LINGER_DEFAULT (-1) /* of a plan: what keyd's own configuration says */

struct bs_store_policy;

struct bs_plan {
	char name[BS_PLAN_NAME_MAX + 1];
	bool sealed;
	bool compress;
	int64_t linger_s; /* how long keys stay unlocked after the last session, or BS_LINGER_DEFAULT */
};

struct bs_account {
	char address[BS_ADDRESS_MAX + 1];
	char plan[BS_PLAN_NAME_MAX + 1];
	bool enabled;
	uint64_t created; /* seconds since 1970 */
};

/* migrate: bring the schema up (basaltctl); else a schema that is not this program's is BS_ERR_VERSION. */
enum bs_err bs_store_policy_open(const char *url, const char *password_file, int timeout_ms, bool migrate,
    struct bs_store_policy **out) BS_MUST_USE;
/* Whether url has a form that open understands; opens nothing. BS_ERR_FORMAT. */
enum bs_err bs_store_policy_check_url(const char *url) BS_MUST_USE;
void bs_store_policy_close(struct bs_store_policy *store);
/* For a log line. NULL: about this thread's last open that failed. */
const char *bs_store_policy_errmsg(const struct bs_store_policy *store);
/* How many statements were run with this handle. */
uint64_t bs_store_policy_statements(const struct bs_store_policy *store);

enum bs_err bs_domain_add(struct bs_store_policy *store, const char *domain) BS_MUST_USE;
enum bs_err bs_domain_remove(struct bs_store_policy *store, const char *domain) BS_MUST_USE; /* BS_ERR_CONFLICT: has accounts */
enum bs_err bs_domain_exists(struct bs_store_policy *store, const char *domain) BS_MUST_USE; /* BS_ERR_NOENT */
typedef enum bs_err (*bs_domain_fn)(void *ctx, const char *domain);
enum bs_err bs_domain_list(struct bs_store_policy *store, bs_domain_fn fn, void *ctx) BS_MUST_USE;

enum bs_err bs_plan_get(struct bs_store_policy *store, const char *name, struct bs_plan *out) BS_MUST_USE;
enum bs_err bs_plan_set(struct bs_store_policy *store, const struct bs_plan *plan) BS_MUST_USE; /* adds or changes */
/* With its preferences, as everything that is removed here. BS_ERR_CONFLICT: has accounts. */
enum bs_err bs_plan_remove(struct bs_store_policy *store, const char *name) BS_MUST_USE;
typedef enum bs_err (*bs_plan_fn)(void *ctx, const struct bs_plan *plan);
enum bs_err bs_plan_list(struct bs_store_policy *store, bs_plan_fn fn, void *ctx) BS_MUST_USE;

enum bs_err bs_account_add(struct bs_store_policy *store, const struct bs_account *account) BS_MUST_USE;
enum bs_err bs_account_get(struct bs_store_policy *store, const char *address, struct bs_account *out) BS_MUST_USE;
enum bs_err bs_account_set(struct bs_store_policy *store, const struct bs_account *account) BS_MUST_USE;
enum bs_err bs_account_remove(struct bs_store_policy *store, const char *address) BS_MUST_USE;
/* Adds one whose keys a first login makes, or has made: its owner is to be told of them. */
enum bs_err bs_account_expect(struct bs_store_policy *store, const struct bs_account *account) BS_MUST_USE;
/* Of those the first max behind an address ("": all), in order; they may have no keys yet. *n: how many. */
enum bs_err bs_account_untold(struct bs_store_policy *store, const char *after, char (*addresses)[BS_ADDRESS_MAX + 1], size_t max,
    size_t *n) BS_MUST_USE;
/* Its owner was told. BS_ERR_NOENT: is none of those. */
enum bs_err bs_account_told(struct bs_store_policy *store, const char *address) BS_MUST_USE;
/* What the account's plan says: bs_plan.linger_s. BS_ERR_NOENT: no such account. */
enum bs_err bs_account_linger(struct bs_store_policy *store, const char *address, int64_t *linger_s) BS_MUST_USE;
typedef enum bs_err (*bs_account_fn)(void *ctx, const struct bs_account *account);
/* domain NULL: all. In order of address. */
enum bs_err bs_account_list(struct bs_store_policy *store, const char *domain, bs_account_fn fn, void *ctx) BS_MUST_USE;

/* alias is an address, or "@domain": every address of the domain that is no account and no alias. */
enum bs_err bs_alias_add(struct bs_store_policy *store, const char *alias, const char *target) BS_MUST_USE;
enum bs_err bs_alias_remove(struct bs_store_policy *store, const char *alias, const char *target) BS_MUST_USE;
typedef enum bs_err (*bs_alias_fn)(void *ctx, const char *alias, const char *target);
/* alias NULL: all. */
enum bs_err bs_alias_list(struct bs_store_policy *store, const char *alias, bs_alias_fn fn, void *ctx) BS_MUST_USE;

/* --- preferences (policy.h): what is wanted of the checks --- */

/* Of one item the last that is set counts. */
enum bs_scope { BS_SCOPE_SITE, BS_SCOPE_PLAN, BS_SCOPE_DOMAIN, BS_SCOPE_ACCOUNT };
#define BS_SCOPE_COUNT 4

struct bs_preference {
	enum bs_scope scope;
	char name[BS_ADDRESS_MAX + 1]; /* of the plan, domain or account; "" for the site */
	char item[BS_POLICY_ITEM_MAX + 1];
	char value[BS_POLICY_VALUE_MAX + 1];
};

/* "site", "plan", "domain", "account" */
const char *bs_scope_name(enum bs_scope scope);
/*
 * name "" for the site. BS_ERR_NOENT: no such plan, domain or account. An item or value that bs_policy_set() does not take
 * is BS_ERR_ARG, and why says what would be right; why_size may be 0.
 */
enum bs_err bs_preference_set(struct bs_store_policy *store, enum bs_scope scope, const char *name, const char *item,
    const char *value, char *why, size_t why_size) BS_MUST_USE;
/* BS_ERR_NOENT: it is not set. item need not be one that this program knows. */
enum bs_err bs_preference_unset(struct bs_store_policy *store, enum bs_scope scope, const char *name, const char *item) BS_MUST_USE;
typedef enum bs_err (*bs_preference_fn)(void *ctx, const struct bs_preference *preference);
/* What is set for one name; name NULL: for all of this scope. In order of name and item. What is too long is cut off. */
enum bs_err bs_preference_list(struct bs_store_policy *store, enum bs_scope scope, const char *name, bs_preference_fn fn,
    void *ctx) BS_MUST_USE;
/* All that bears on one account, in the order in which it counts: the last of an item is effective. Any of the three may be "". */
enum bs_err bs_preference_bearing(struct bs_store_policy *store, const char *plan, const char *domain, const char *account,
    bs_preference_fn fn, void *ctx) BS_MUST_USE;
/*
 * The effective values: the table's own, then site, plan, domain, account; "" for what there is not. A preference that
 * this program does not understand (a newer one's, a damaged one) counts as not set; *ignored (may be NULL) is their number.
 */
enum bs_err bs_policy_load(struct bs_store_policy *store, const char *plan, const char *domain, const char *account,
    struct bs_policy *out, unsigned *ignored) BS_MUST_USE;

/* --- all that there is of one address, by one statement --- */

struct bs_address_facts {
	bool domain; /* it is ours */
	bool account, enabled;
	bool alias, catch_all;   /* of the address; of its domain */
	struct bs_policy policy; /* effective: its account's, or else its domain's, or else the site's */
	unsigned ignored;        /* as bs_policy_load() has it */
};
/* Called for each target of the address's alias, and then for each of its domain's catch-all. */
typedef enum bs_err (*bs_target_fn)(void *ctx, bool catch_all, const char *target);
/* base: an address without extension. */
enum bs_err bs_address_look(struct bs_store_policy *store, const char *base, bs_target_fn fn, void *ctx,
    struct bs_address_facts *out) BS_MUST_USE;

#endif
