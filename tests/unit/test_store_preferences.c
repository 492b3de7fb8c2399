/* common/store_policy_preferences: what may be set where, which counts, what goes with what; on both engines. */
#include "migrations.h"
#include "store_policy.h"

#include "store_fixture.h"

static struct bs_store_policy *store;

static struct bs_sql *
open_sql(void)
{
	struct bs_sql *db = NULL;

	assert_int_equal(bs_sql_open(fx.policy_url, fx.policy_password, FIXTURE_TIMEOUT_MS, &db), BS_OK);
	return db;
}

static void
sql(const char *text)
{
	struct bs_sql *db = open_sql();
	enum bs_err err = bs_sql_run(db, text, NULL, 0, NULL, NULL);

	if (err != BS_OK)
		fail_msg("%s: %s", text, bs_sql_errmsg(db));
	bs_sql_close(db);
}

static struct bs_store_policy *
open_store(bool migrate)
{
	struct bs_store_policy *opened = NULL;
	enum bs_err err = bs_store_policy_open(fx.policy_url, fx.policy_password, FIXTURE_TIMEOUT_MS, migrate, &opened);

	if (err != BS_OK)
		fail_msg("open: %s", bs_store_policy_errmsg(NULL));
	return opened;
}

static void
add_account(const char *address, const char *plan)
{
	struct bs_account account = { .enabled = true, .created = 1 };

	snprintf(account.address, sizeof(account.address), "%s", address);
	snprintf(account.plan, sizeof(account.plan), "%s", plan);
	assert_int_equal(bs_account_add(store, &account), BS_OK);
}

static int
fresh(void **state)
{
	(void)state;
	store = open_store(true);
	sql("DELETE FROM preferences");
	sql("DELETE FROM aliases");
	sql("DELETE FROM accounts");
	sql("DELETE FROM domains");
	assert_int_equal(bs_domain_add(store, "x.org"), BS_OK);
	assert_int_equal(bs_domain_add(store, "y.org"), BS_OK);
	add_account("alice@x.org", "private");
	return 0;
}

static int
stale(void **state)
{
	(void)state;
	bs_store_policy_close(store);
	store = NULL;
	return 0;
}

static enum bs_err
set(enum bs_scope scope, const char *name, const char *item, const char *value)
{
	return bs_preference_set(store, scope, name, item, value, NULL, 0);
}

/* "site:=spf/label " and so on, of all that is stored in a scope. */
static enum bs_err
join(void *ctx, const struct bs_preference *p)
{
	size_t len = strlen(ctx);

	assert_true(snprintf((char *)ctx + len, 1024 - len, "%s:%s=%s/%s ", bs_scope_name(p->scope), p->name, p->item,
	    p->value) < (int)(1024 - len));
	return BS_OK;
}

static void
expect(enum bs_scope scope, const char *name, const char *expected)
{
	char text[1024] = "";

	assert_int_equal(bs_preference_list(store, scope, name, join, text), BS_OK);
	assert_string_equal(text, expected);
}

static void
test_set_list_unset(void **state)
{
	(void)state;
	assert_int_equal(set(BS_SCOPE_SITE, "", "spf", "label"), BS_OK);
	assert_int_equal(set(BS_SCOPE_SITE, "", "spf", "label"), BS_OK); /* the same again is no error */
	assert_int_equal(set(BS_SCOPE_SITE, "", "spf", "folder"), BS_OK);
	assert_int_equal(set(BS_SCOPE_SITE, "", "greylist.delay_s", "300"), BS_OK);
	assert_int_equal(set(BS_SCOPE_DOMAIN, "x.org", "label", "M\xc3\xbcll: it's \"here\""), BS_OK);
	expect(BS_SCOPE_SITE, "", "site:=greylist.delay_s/300 site:=spf/folder ");
	expect(BS_SCOPE_DOMAIN, NULL, "domain:x.org=label/M\xc3\xbcll: it's \"here\" ");
	expect(BS_SCOPE_DOMAIN, "y.org", "");
	assert_int_equal(bs_preference_unset(store, BS_SCOPE_SITE, "", "spf"), BS_OK);
	assert_int_equal(bs_preference_unset(store, BS_SCOPE_SITE, "", "spf"), BS_ERR_NOENT);
	expect(BS_SCOPE_SITE, "", "site:=greylist.delay_s/300 ");
}

static void
test_only_what_is_right_is_stored(void **state)
{
	char why[200] = "";

	(void)state;
	assert_int_equal(bs_preference_set(store, BS_SCOPE_SITE, "", "spf", "maybe", why, sizeof(why)), BS_ERR_ARG);
	assert_non_null(strstr(why, "folder"));
	assert_int_equal(set(BS_SCOPE_SITE, "", "no_such", "1"), BS_ERR_ARG);
	assert_int_equal(set(BS_SCOPE_SITE, "x.org", "spf", "label"), BS_ERR_ARG);
	assert_int_equal(set(BS_SCOPE_DOMAIN, "", "spf", "label"), BS_ERR_ARG);
	assert_int_equal(set(BS_SCOPE_PLAN, "gold", "spf", "label"), BS_ERR_NOENT);
	assert_int_equal(set(BS_SCOPE_DOMAIN, "z.org", "spf", "label"), BS_ERR_NOENT);
	assert_int_equal(set(BS_SCOPE_ACCOUNT, "nobody@x.org", "spf", "label"), BS_ERR_NOENT);
	assert_int_equal(set(BS_SCOPE_ACCOUNT, "x.org", "spf", "label"), BS_ERR_NOENT);
	for (int scope = 0; scope < BS_SCOPE_COUNT; scope++)
		expect((enum bs_scope)scope, NULL, "");
}

static const char *
loaded(const char *plan, const char *domain, const char *account, unsigned *ignored)
{
	struct bs_policy policy;

	assert_int_equal(bs_policy_load(store, plan, domain, account, &policy, ignored), BS_OK);
	return bs_hit_name(policy.check[BS_CHECK_SPF].hit);
}

static void
test_the_narrowest_counts(void **state)
{
	unsigned ignored = 9;
	char text[1024] = "";
	uint64_t before;

	(void)state;
	assert_string_equal(loaded("private", "x.org", "alice@x.org", &ignored), "header");
	assert_int_equal(ignored, 0);
	assert_int_equal(set(BS_SCOPE_ACCOUNT, "alice@x.org", "spf", "reject"), BS_OK);
	assert_string_equal(loaded("private", "x.org", "alice@x.org", NULL), "reject");
	assert_int_equal(set(BS_SCOPE_SITE, "", "spf", "off"), BS_OK);
	assert_int_equal(set(BS_SCOPE_PLAN, "private", "spf", "label"), BS_OK);
	assert_int_equal(set(BS_SCOPE_DOMAIN, "x.org", "spf", "folder"), BS_OK);
	before = bs_store_policy_statements(store);
	assert_string_equal(loaded("private", "x.org", "alice@x.org", NULL), "reject");
	assert_int_equal(bs_store_policy_statements(store) - before, 1);
	assert_string_equal(loaded("private", "x.org", "bob@x.org", NULL), "folder");
	assert_string_equal(loaded("private", "y.org", "bob@y.org", NULL), "label");
	assert_string_equal(loaded("plain", "y.org", "bob@y.org", NULL), "off");
	assert_string_equal(loaded("", "x.org", "", NULL), "folder");
	assert_string_equal(loaded("", "", "", NULL), "off");
	assert_int_equal(bs_preference_bearing(store, "private", "x.org", "alice@x.org", join, text), BS_OK);
	assert_string_equal(text, "site:=spf/off plan:private=spf/label domain:x.org=spf/folder account:alice@x.org=spf/reject ");
}

static enum bs_err
no_target(void *ctx, bool catch_all, const char *target)
{
	(void)ctx;
	(void)catch_all;
	fail_msg("a target: %s", target);
	return BS_OK;
}

/* What another program wrote, or damage, counts as not set, and says so: mail goes on. */
static void
test_what_is_not_understood_is_left_out(void **state)
{
	struct bs_address_facts facts = { 0 };
	unsigned ignored = 0;

	(void)state;
	assert_int_equal(set(BS_SCOPE_SITE, "", "spf", "label"), BS_OK);
	sql("INSERT INTO preferences (scope, name, item, value) VALUES (3, 'alice@x.org', 'spf', 'incinerate')");
	sql("INSERT INTO preferences (scope, name, item, value) VALUES (3, 'alice@x.org', 'telepathy', 'on')");
	sql("INSERT INTO preferences (scope, name, item, value) VALUES (2, 'x.org', 'greylist.delay_s', '')");
	assert_string_equal(loaded("private", "x.org", "alice@x.org", &ignored), "label");
	assert_int_equal(ignored, 3);
	assert_int_equal(bs_address_look(store, "alice@x.org", no_target, NULL, &facts), BS_OK);
	assert_int_equal(facts.ignored, 3);
	assert_int_equal(facts.policy.check[BS_CHECK_SPF].hit, BS_HIT_LABEL);
	expect(BS_SCOPE_ACCOUNT, "alice@x.org", "account:alice@x.org=spf/incinerate account:alice@x.org=telepathy/on ");
	assert_int_equal(bs_preference_unset(store, BS_SCOPE_ACCOUNT, "alice@x.org", "telepathy"), BS_OK);
}

static void
test_they_go_with_what_they_belong_to(void **state)
{
	struct bs_plan gold = { .name = "gold" };

	(void)state;
	assert_int_equal(bs_plan_set(store, &gold), BS_OK);
	add_account("bob@y.org", "gold");
	assert_int_equal(set(BS_SCOPE_PLAN, "gold", "spf", "label"), BS_OK);
	assert_int_equal(set(BS_SCOPE_DOMAIN, "y.org", "spf", "label"), BS_OK);
	assert_int_equal(set(BS_SCOPE_ACCOUNT, "bob@y.org", "spf", "label"), BS_OK);
	assert_int_equal(bs_plan_remove(store, "gold"), BS_ERR_CONFLICT); /* and keep them, where it stays */
	assert_int_equal(bs_domain_remove(store, "y.org"), BS_ERR_CONFLICT);
	expect(BS_SCOPE_PLAN, "gold", "plan:gold=spf/label ");
	expect(BS_SCOPE_DOMAIN, "y.org", "domain:y.org=spf/label ");
	assert_int_equal(bs_account_remove(store, "bob@y.org"), BS_OK);
	assert_int_equal(bs_plan_remove(store, "gold"), BS_OK);
	assert_int_equal(bs_plan_remove(store, "gold"), BS_ERR_NOENT);
	assert_int_equal(bs_domain_remove(store, "y.org"), BS_OK);
	for (int scope = 0; scope < BS_SCOPE_COUNT; scope++)
		expect((enum bs_scope)scope, NULL, "");
}

/* A database of the first schema, with what is in it, becomes this one; until then the milter says what to do. */
static void
test_an_older_database_is_brought_up(void **state)
{
	struct bs_store_policy *opened = NULL;
	struct bs_account account = { 0 };
	struct bs_sql *db = open_sql();

	(void)state;
	assert_true(bs_sql_migrations_policy_count >= 2);
	sql("DROP TABLE preferences");
	sql("DELETE FROM schema_version WHERE number > 1");
	assert_int_equal(bs_sql_migrate(db, bs_sql_migrations_policy, 1), BS_OK);
	assert_int_equal(bs_store_policy_open(fx.policy_url, fx.policy_password, FIXTURE_TIMEOUT_MS, false, &opened),
	    BS_ERR_VERSION);
	assert_non_null(strstr(bs_store_policy_errmsg(NULL), "basaltctl db migrate"));
	opened = open_store(true);
	assert_int_equal(bs_account_get(opened, "alice@x.org", &account), BS_OK);
	assert_string_equal(account.plan, "private");
	assert_int_equal(bs_preference_set(opened, BS_SCOPE_ACCOUNT, "alice@x.org", "spf", "drop", NULL, 0), BS_OK);
	bs_store_policy_close(opened);
	bs_store_policy_close(open_store(false));
	bs_sql_close(db);
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, fresh, stale)
	const struct CMUnitTest tests[] = {
		EACH(test_set_list_unset),
		EACH(test_only_what_is_right_is_stored),
		EACH(test_the_narrowest_counts),
		EACH(test_what_is_not_understood_is_left_out),
		EACH(test_they_go_with_what_they_belong_to),
		EACH(test_an_older_database_is_brought_up),
	};

	return cmocka_run_group_tests_name("preferences on SQLite", tests, fixture_sqlite, fixture_end) +
	       cmocka_run_group_tests_name("preferences on MariaDB", tests, fixture_mariadb, fixture_end);
}
