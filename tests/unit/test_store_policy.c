/* common/store_policy: the same contract on SQLite and MariaDB. */
#include "store_policy.h"

#include "store_fixture.h"

#define TIMEOUT_MS FIXTURE_TIMEOUT_MS

static struct bs_sql *
open_sql(void)
{
	struct bs_sql *db = NULL;

	assert_int_equal(bs_sql_open(fx.policy_url, fx.policy_password, TIMEOUT_MS, &db), BS_OK);
	return db;
}

static void
run(struct bs_sql *db, const char *sql)
{
	enum bs_err err = bs_sql_run(db, sql, NULL, 0, NULL, NULL);

	if (err != BS_OK)
		fail_msg("%s: %s", sql, bs_sql_errmsg(db));
}

static struct bs_store_policy *
open_store(void)
{
	struct bs_store_policy *store = NULL;
	enum bs_err err = bs_store_policy_open(fx.policy_url, fx.policy_password, TIMEOUT_MS, true, &store);

	if (err != BS_OK)
		fail_msg("open: %s", bs_store_policy_errmsg(NULL));
	return store;
}

static struct bs_store_policy *
open_empty(void)
{
	struct bs_store_policy *store = open_store();
	struct bs_sql *db = open_sql();

	run(db, "DELETE FROM aliases");
	run(db, "DELETE FROM accounts");
	run(db, "DELETE FROM domains");
	bs_sql_close(db);
	return store;
}

static enum bs_err
add_account(struct bs_store_policy *store, const char *address, const char *plan)
{
	struct bs_account account = { .enabled = true, .created = 12345 };

	snprintf(account.address, sizeof(account.address), "%s", address);
	snprintf(account.plan, sizeof(account.plan), "%s", plan);
	return bs_account_add(store, &account);
}

#define LIST_SIZE 1024

/* Lists come as one text: "a,b,". */
static enum bs_err
join_domain(void *ctx, const char *domain)
{
	size_t len = strlen(ctx);

	assert_true(snprintf((char *)ctx + len, LIST_SIZE - len, "%s,", domain) < (int)(LIST_SIZE - len));
	return BS_OK;
}

static enum bs_err
join_account(void *ctx, const struct bs_account *account)
{
	return join_domain(ctx, account->address);
}

static enum bs_err
join_plan(void *ctx, const struct bs_plan *plan)
{
	return join_domain(ctx, plan->name);
}

static enum bs_err
join_alias(void *ctx, const char *alias, const char *target)
{
	char both[2 * BS_ADDRESS_MAX + 2];

	snprintf(both, sizeof(both), "%s>%s", alias, target);
	return join_domain(ctx, both);
}

static void
test_schema_must_be_there(void **state)
{
	struct bs_store_policy *store = NULL;
	struct bs_sql *db = open_sql();

	(void)state;
	run(db, "DROP TABLE IF EXISTS aliases");
	run(db, "DROP TABLE IF EXISTS accounts");
	run(db, "DROP TABLE IF EXISTS plans");
	run(db, "DROP TABLE IF EXISTS domains");
	run(db, "DROP TABLE IF EXISTS schema_version");
	assert_int_equal(bs_store_policy_open(fx.policy_url, fx.policy_password, TIMEOUT_MS, false, &store), BS_ERR_VERSION);
	assert_non_null(strstr(bs_store_policy_errmsg(NULL), "db migrate"));
	store = open_store();
	bs_store_policy_close(store);
	assert_int_equal(bs_store_policy_open(fx.policy_url, fx.policy_password, TIMEOUT_MS, false, &store), BS_OK);
	bs_store_policy_close(store);
	run(db, "INSERT INTO schema_version (number, applied) VALUES (999, 0)");
	assert_int_equal(bs_store_policy_open(fx.policy_url, fx.policy_password, TIMEOUT_MS, false, &store), BS_ERR_VERSION);
	assert_int_equal(bs_store_policy_open(fx.policy_url, fx.policy_password, TIMEOUT_MS, true, &store), BS_ERR_VERSION);
	assert_non_null(strstr(bs_store_policy_errmsg(NULL), "newer"));
	run(db, "DELETE FROM schema_version WHERE number = 999");
	bs_sql_close(db);
}

static void
test_domains(void **state)
{
	struct bs_store_policy *store = open_empty();
	char list[LIST_SIZE] = "";

	(void)state;
	assert_int_equal(bs_domain_exists(store, "example.org"), BS_ERR_NOENT);
	assert_int_equal(bs_domain_add(store, "example.org"), BS_OK);
	assert_int_equal(bs_domain_add(store, "example.org"), BS_ERR_EXISTS);
	assert_int_equal(bs_domain_add(store, "a.example"), BS_OK);
	assert_int_equal(bs_domain_exists(store, "example.org"), BS_OK);
	assert_int_equal(bs_domain_exists(store, "example_org"), BS_ERR_NOENT);
	assert_int_equal(bs_domain_exists(store, "' OR '1'='1"), BS_ERR_NOENT);
	assert_int_equal(bs_domain_list(store, join_domain, list), BS_OK);
	assert_string_equal(list, "a.example,example.org,");
	assert_int_equal(bs_domain_remove(store, "a.example"), BS_OK);
	assert_int_equal(bs_domain_remove(store, "a.example"), BS_ERR_NOENT);
	bs_store_policy_close(store);
}

static void
test_domain_in_use_stays(void **state)
{
	struct bs_store_policy *store = open_empty();

	(void)state;
	assert_int_equal(bs_domain_add(store, "example.org"), BS_OK);
	assert_int_equal(add_account(store, "alice@example.org", "private"), BS_OK);
	assert_int_equal(bs_domain_remove(store, "example.org"), BS_ERR_CONFLICT);
	assert_int_equal(bs_account_remove(store, "alice@example.org"), BS_OK);
	assert_int_equal(bs_alias_add(store, "info@example.org", "x@elsewhere.example"), BS_OK);
	assert_int_equal(bs_domain_remove(store, "example.org"), BS_ERR_CONFLICT);
	assert_int_equal(bs_alias_remove(store, "info@example.org", "x@elsewhere.example"), BS_OK);
	assert_int_equal(bs_domain_remove(store, "example.org"), BS_OK);
	bs_store_policy_close(store);
}

static void
test_plans(void **state)
{
	struct bs_store_policy *store = open_empty();
	struct bs_plan plan = { 0 };
	char list[LIST_SIZE] = "";

	(void)state;
	assert_int_equal(bs_plan_get(store, "private", &plan), BS_OK);
	assert_true(plan.sealed && plan.compress && plan.linger_s == BS_LINGER_DEFAULT);
	assert_int_equal(bs_plan_get(store, "plain", &plan), BS_OK);
	assert_true(!plan.sealed && plan.compress);
	assert_int_equal(bs_plan_get(store, "PLAIN", &plan), BS_ERR_NOENT);
	plan = (struct bs_plan){ .name = "tmp", .sealed = true, .compress = false, .linger_s = UINT32_MAX };
	assert_int_equal(bs_plan_set(store, &plan), BS_OK);
	plan.linger_s = 0;
	assert_int_equal(bs_plan_set(store, &plan), BS_OK);
	assert_int_equal(bs_plan_set(store, &plan), BS_OK); /* a change that changes nothing is no error */
	assert_int_equal(bs_plan_get(store, "tmp", &plan), BS_OK);
	assert_true(plan.sealed && !plan.compress && plan.linger_s == 0);
	assert_int_equal(bs_plan_list(store, join_plan, list), BS_OK);
	assert_string_equal(list, "plain,private,tmp,");
	plan.name[0] = '\0';
	assert_int_equal(bs_plan_set(store, &plan), BS_ERR_ARG);
	bs_store_policy_close(store);
}

static void
test_accounts(void **state)
{
	struct bs_store_policy *store = open_empty();
	struct bs_account account = { 0 };
	char list[LIST_SIZE] = "";
	int64_t linger_s = 0;

	(void)state;
	assert_int_equal(add_account(store, "alice@example.org", "private"), BS_ERR_NOENT);
	assert_int_equal(bs_domain_add(store, "example.org"), BS_OK);
	assert_int_equal(bs_domain_add(store, "b.example"), BS_OK);
	assert_int_equal(add_account(store, "alice@example.org", "none"), BS_ERR_NOENT);
	assert_int_equal(add_account(store, "alice@example.org", "private"), BS_OK);
	assert_int_equal(add_account(store, "alice@example.org", "plain"), BS_ERR_EXISTS);
	assert_int_equal(add_account(store, "bob@b.example", "plain"), BS_OK);
	assert_int_equal(bs_account_get(store, "alice@example.org", &account), BS_OK);
	assert_string_equal(account.address, "alice@example.org");
	assert_string_equal(account.plan, "private");
	assert_true(account.enabled);
	assert_int_equal(account.created, 12345);
	account.enabled = false;
	snprintf(account.plan, sizeof(account.plan), "plain");
	assert_int_equal(bs_account_set(store, &account), BS_OK);
	assert_int_equal(bs_account_set(store, &account), BS_OK);
	assert_int_equal(bs_account_get(store, "alice@example.org", &account), BS_OK);
	assert_true(!account.enabled && strcmp(account.plan, "plain") == 0);
	assert_int_equal(bs_account_linger(store, "alice@example.org", &linger_s), BS_OK);
	assert_int_equal(linger_s, BS_LINGER_DEFAULT);
	assert_int_equal(bs_plan_set(store, &(struct bs_plan){ .name = "plain", .linger_s = 7 }), BS_OK);
	assert_int_equal(bs_account_linger(store, "alice@example.org", &linger_s), BS_OK);
	assert_int_equal(linger_s, 7);
	assert_int_equal(bs_account_linger(store, "carol@example.org", &linger_s), BS_ERR_NOENT);
	snprintf(account.plan, sizeof(account.plan), "none");
	assert_int_equal(bs_account_set(store, &account), BS_ERR_NOENT);
	assert_int_equal(bs_account_list(store, NULL, join_account, list), BS_OK);
	assert_string_equal(list, "alice@example.org,bob@b.example,");
	list[0] = '\0';
	assert_int_equal(bs_account_list(store, "b.example", join_account, list), BS_OK);
	assert_string_equal(list, "bob@b.example,");
	assert_int_equal(bs_account_remove(store, "alice@example.org"), BS_OK);
	assert_int_equal(bs_account_remove(store, "alice@example.org"), BS_ERR_NOENT);
	assert_int_equal(bs_account_get(store, "alice@example.org", &account), BS_ERR_NOENT);
	bs_store_policy_close(store);
}

static void
test_first_logins(void **state)
{
	struct bs_store_policy *store = open_empty();
	struct bs_account account = { .enabled = true, .plan = "private" };
	char page[2][BS_ADDRESS_MAX + 1];
	size_t n = 9;

	(void)state;
	assert_int_equal(bs_domain_add(store, "example.org"), BS_OK);
	assert_int_equal(add_account(store, "dave@example.org", "private"), BS_OK);
	for (const char *who = "bca"; *who != '\0'; who++) {
		snprintf(account.address, sizeof(account.address), "%c@example.org", *who);
		assert_int_equal(bs_account_expect(store, &account), BS_OK);
	}
	assert_int_equal(bs_account_expect(store, &account), BS_ERR_EXISTS);
	assert_int_equal(bs_account_untold(store, "", page, 2, &n), BS_OK);
	assert_int_equal(n, 2);
	assert_string_equal(page[0], "a@example.org");
	assert_string_equal(page[1], "b@example.org");
	assert_int_equal(bs_account_untold(store, page[1], page, 2, &n), BS_OK);
	assert_int_equal(n, 1);
	assert_string_equal(page[0], "c@example.org");
	assert_int_equal(bs_account_told(store, "a@example.org"), BS_OK);
	assert_int_equal(bs_account_told(store, "dave@example.org"), BS_ERR_NOENT);
	assert_int_equal(bs_account_remove(store, "b@example.org"), BS_OK);
	assert_int_equal(bs_account_untold(store, "", page, 2, &n), BS_OK);
	assert_int_equal(n, 1);
	assert_string_equal(page[0], "c@example.org");
	bs_store_policy_close(store);
}

static void
test_only_canonical_addresses(void **state)
{
	static const char *const bad[] = { "Alice@example.org", "alice", "alice+x@example.org", "a b@example.org", "",
		"alice@example.org'; DROP TABLE accounts; --" };
	struct bs_store_policy *store = open_empty();

	(void)state;
	assert_int_equal(bs_domain_add(store, "example.org"), BS_OK);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(add_account(store, bad[i], "plain"), BS_ERR_ARG);
		assert_int_equal(bs_alias_add(store, bad[i], "bob@example.org"), BS_ERR_ARG);
	}
	assert_int_equal(bs_alias_add(store, "info@example.org", "Bob@example.org"), BS_ERR_ARG);
	assert_int_equal(bs_alias_add(store, "info@example.org", "bob+sales@example.org"), BS_OK);
	bs_store_policy_close(store);
}

static void
test_aliases(void **state)
{
	struct bs_store_policy *store = open_empty();
	char list[LIST_SIZE] = "";

	(void)state;
	assert_int_equal(bs_alias_add(store, "info@example.org", "bob@example.org"), BS_ERR_NOENT);
	assert_int_equal(bs_domain_add(store, "example.org"), BS_OK);
	assert_int_equal(bs_alias_add(store, "info@example.org", "bob@example.org"), BS_OK);
	assert_int_equal(bs_alias_add(store, "info@example.org", "bob@example.org"), BS_ERR_EXISTS);
	assert_int_equal(bs_alias_add(store, "info@example.org", "alice@elsewhere.example"), BS_OK);
	assert_int_equal(bs_alias_add(store, "abuse@example.org", "bob@example.org"), BS_OK);
	assert_int_equal(bs_alias_list(store, "info@example.org", join_alias, list), BS_OK);
	assert_string_equal(list, "info@example.org>alice@elsewhere.example,info@example.org>bob@example.org,");
	assert_int_equal(bs_alias_remove(store, "info@example.org", "bob@example.org"), BS_OK);
	assert_int_equal(bs_alias_remove(store, "info@example.org", "bob@example.org"), BS_ERR_NOENT);
	list[0] = '\0';
	assert_int_equal(bs_alias_list(store, NULL, join_alias, list), BS_OK);
	assert_string_equal(list, "abuse@example.org>bob@example.org,info@example.org>alice@elsewhere.example,");
	bs_store_policy_close(store);
}

/* A row that no program of ours wrote is a reason to defer, never to refuse mail for ever. */
static void
test_damaged_row_is_transient(void **state)
{
	struct bs_store_policy *store = open_empty();
	struct bs_sql *db = open_sql();
	struct bs_plan plan = { 0 };
	int64_t linger_s;

	(void)state;
	assert_int_equal(bs_domain_add(store, "example.org"), BS_OK);
	assert_int_equal(add_account(store, "alice@example.org", "plain"), BS_OK);
	run(db, "UPDATE plans SET linger_s = -2 WHERE name = 'plain'");
	assert_true(bs_err_is_transient(bs_plan_get(store, "plain", &plan)));
	assert_true(bs_err_is_transient(bs_account_linger(store, "alice@example.org", &linger_s)));
	run(db, "UPDATE plans SET linger_s = 900 WHERE name = 'plain'");
	bs_sql_close(db);
	bs_store_policy_close(store);
}

static void
test_tables_gone_is_transient(void **state)
{
	struct bs_store_policy *store = open_empty();
	struct bs_sql *db = open_sql();

	(void)state;
	run(db, "DROP TABLE aliases");
	assert_true(bs_err_is_transient(bs_alias_list(store, NULL, join_alias, NULL)));
	run(db, "DELETE FROM schema_version");
	bs_sql_close(db);
	bs_store_policy_close(store);
}

static void
test_hung_server(void **state)
{
	struct bs_store_policy *store = open_empty();
	struct bs_account account = { 0 };
	int64_t start;

	(void)state;
	fixture_freeze();
	for (int i = 0; i < 3; i++) {
		start = bs_now_ms();
		assert_true(bs_err_is_transient(bs_account_get(store, "alice@example.org", &account)));
		assert_in_range(bs_now_ms() - start, 0, FIXTURE_DEADLINE_MS);
	}
	assert_int_equal(kill(fx.server, SIGCONT), 0);
	assert_int_equal(bs_account_get(store, "alice@example.org", &account), BS_ERR_NOENT);
	bs_store_policy_close(store);
}

static void
test_hung_writer_on_sqlite(void **state)
{
	struct bs_store_policy *store = open_empty();
	struct bs_sql *db = open_sql();
	int64_t start = bs_now_ms();

	(void)state;
	assert_int_equal(bs_sql_begin(db), BS_OK);
	assert_int_equal(bs_domain_exists(store, "example.org"), BS_ERR_NOENT); /* readers go on */
	assert_true(bs_err_is_transient(bs_domain_add(store, "example.org")));
	assert_in_range(bs_now_ms() - start, TIMEOUT_MS / 2, FIXTURE_DEADLINE_MS);
	bs_sql_close(db);
	bs_store_policy_close(store);
}

int
main(void)
{
#define BOTH                                                                                                           \
	cmocka_unit_test(test_schema_must_be_there), cmocka_unit_test(test_domains),                                       \
	    cmocka_unit_test(test_domain_in_use_stays), cmocka_unit_test(test_plans), cmocka_unit_test(test_accounts), cmocka_unit_test(test_first_logins), \
	    cmocka_unit_test(test_only_canonical_addresses), cmocka_unit_test(test_aliases),                               \
	    cmocka_unit_test(test_damaged_row_is_transient)
	const struct CMUnitTest sqlite[] = { BOTH, cmocka_unit_test(test_hung_writer_on_sqlite),
		cmocka_unit_test(test_tables_gone_is_transient) };
	const struct CMUnitTest mariadb[] = { BOTH, cmocka_unit_test(test_hung_server),
		cmocka_unit_test(test_tables_gone_is_transient) };

	return cmocka_run_group_tests_name("store_policy on SQLite", sqlite, fixture_sqlite, fixture_end) +
	       cmocka_run_group_tests_name("store_policy on MariaDB", mariadb, fixture_mariadb, fixture_end);
}
