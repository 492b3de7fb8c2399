/*
 * store_policy: the policy database of milter and basaltctl: domains, plans, accounts, aliases. No key is ever in it.
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

#define BS_PLAN_NAME_MAX 32

struct bs_store_policy;

struct bs_plan {
	char name[BS_PLAN_NAME_MAX + 1];
	bool sealed;
	bool compress;
	uint32_t linger_s; /* how long keys stay unlocked after the last session */
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

enum bs_err bs_domain_add(struct bs_store_policy *store, const char *domain) BS_MUST_USE;
enum bs_err bs_domain_remove(struct bs_store_policy *store, const char *domain) BS_MUST_USE; /* BS_ERR_CONFLICT: has accounts */
enum bs_err bs_domain_exists(struct bs_store_policy *store, const char *domain) BS_MUST_USE; /* BS_ERR_NOENT */
typedef enum bs_err (*bs_domain_fn)(void *ctx, const char *domain);
enum bs_err bs_domain_list(struct bs_store_policy *store, bs_domain_fn fn, void *ctx) BS_MUST_USE;

enum bs_err bs_plan_get(struct bs_store_policy *store, const char *name, struct bs_plan *out) BS_MUST_USE;
enum bs_err bs_plan_set(struct bs_store_policy *store, const struct bs_plan *plan) BS_MUST_USE; /* adds or changes */
typedef enum bs_err (*bs_plan_fn)(void *ctx, const struct bs_plan *plan);
enum bs_err bs_plan_list(struct bs_store_policy *store, bs_plan_fn fn, void *ctx) BS_MUST_USE;

enum bs_err bs_account_add(struct bs_store_policy *store, const struct bs_account *account) BS_MUST_USE;
enum bs_err bs_account_get(struct bs_store_policy *store, const char *address, struct bs_account *out) BS_MUST_USE;
enum bs_err bs_account_set(struct bs_store_policy *store, const struct bs_account *account) BS_MUST_USE;
enum bs_err bs_account_remove(struct bs_store_policy *store, const char *address) BS_MUST_USE;
typedef enum bs_err (*bs_account_fn)(void *ctx, const struct bs_account *account);
/* domain NULL: all. In order of address. */
enum bs_err bs_account_list(struct bs_store_policy *store, const char *domain, bs_account_fn fn, void *ctx) BS_MUST_USE;

enum bs_err bs_alias_add(struct bs_store_policy *store, const char *alias, const char *target) BS_MUST_USE;
enum bs_err bs_alias_remove(struct bs_store_policy *store, const char *alias, const char *target) BS_MUST_USE;
typedef enum bs_err (*bs_alias_fn)(void *ctx, const char *alias, const char *target);
/* alias NULL: all. */
enum bs_err bs_alias_list(struct bs_store_policy *store, const char *alias, bs_alias_fn fn, void *ctx) BS_MUST_USE;

#endif
