/* milter/expand: whose policy a target has, catch-alls, and what a look-up costs; on both engines. */
#include "milter/expand.h"
#include "store_fixture.h"

static struct bs_store_policy *store;

static void
account(const char *address, const char *plan, bool enabled)
{
	struct bs_account a = { .enabled = enabled, .created = 1 };

	snprintf(a.address, sizeof(a.address), "%s", address);
	snprintf(a.plan, sizeof(a.plan), "%s", plan);
	assert_int_equal(bs_account_add(store, &a), BS_OK);
}

static void
alias(const char *name, const char *target)
{
	assert_int_equal(bs_alias_add(store, name, target), BS_OK);
}

static void
label(enum bs_scope scope, const char *name, const char *value)
{
	assert_int_equal(bs_preference_set(store, scope, name, "label", value, NULL, 0), BS_OK);
}

static int
fill(void **state)
{
	(void)state;
	if (bs_store_policy_open(fx.policy_url, fx.policy_password, 1000, true, &store) != BS_OK)
		return -1;
	assert_int_equal(bs_domain_add(store, "x.org"), BS_OK);
	assert_int_equal(bs_domain_add(store, "y.org"), BS_OK);
	assert_int_equal(bs_domain_add(store, "all.org"), BS_OK);
	assert_int_equal(bs_domain_add(store, "round.org"), BS_OK);
	account("alice@x.org", "private", true);
	account("bob@x.org", "private", true);
	account("carol@y.org", "plain", true);
	account("dave@y.org", "private", true);
	account("off@all.org", "private", false);
	account("erin@all.org", "private", true);
	alias("team@x.org", "alice@x.org");
	alias("team@x.org", "bob+list@x.org");
	alias("team@x.org", "carol@y.org");
	alias("team@x.org", "dave@y.org");
	alias("team@x.org", "gone@x.org");
	alias("team@x.org", "out@elsewhere.example");
	alias("@all.org", "alice@x.org");
	alias("@all.org", "out@elsewhere.example");
	alias("info@all.org", "bob@x.org");
	alias("through@x.org", "whatever@all.org");
	alias("both@x.org", "alice@x.org");
	alias("both@x.org", "a@all.org");
	alias("@round.org", "gone@round.org");
	label(BS_SCOPE_SITE, "", "site");
	label(BS_SCOPE_PLAN, "private", "plan");
	label(BS_SCOPE_DOMAIN, "x.org", "domain");
	label(BS_SCOPE_ACCOUNT, "alice@x.org", "account");
	return 0;
}

static int
fill_sqlite(void **state)
{
	return fixture_sqlite(state) == 0 ? fill(state) : -1;
}

static int
fill_mariadb(void **state)
{
	return fixture_mariadb(state) == 0 ? fill(state) : -1;
}

static int
finish(void **state)
{
	bs_store_policy_close(store);
	store = NULL;
	return fixture_end(state);
}

static struct resolution *
expand(struct policies *policies, const char *address, uint64_t *statements)
{
	uint64_t before = bs_store_policy_statements(store);
	struct resolution *res = NULL;

	assert_int_equal(expand_address(store, policies, address, bs_now_ms() + 5000, &res), BS_OK);
	*statements = bs_store_policy_statements(store) - before;
	return res;
}

/* "state its-policy | address ours policy ..." */
static const char *
describe(const struct resolution *res)
{
	static char text[1024];
	size_t n = (size_t)snprintf(text, sizeof(text), "%s %s |", resolve_state_text(res->state), res->policy->label);

	for (size_t i = 0; i < res->n; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, " %s%s %s", res->targets[i].ours ? "" : "!",
		    res->targets[i].address, res->targets[i].policy->label);
	return text;
}

static const struct {
	const char *address, *expected;
	unsigned statements; /* one an address on the way */
} table[] = {
	{ "alice@x.org", "account account | alice@x.org account", 1 },
	{ "Alice+x@X.org", "account account | alice+x@x.org account", 1 },
	{ "bob@x.org", "account domain | bob@x.org domain", 1 },
	{ "carol@y.org", "account site | carol@y.org site", 1 },
	{ "dave@y.org", "account plan | dave@y.org plan", 1 },
	{ "team@x.org", "alias domain | alice@x.org account bob+list@x.org domain carol@y.org site dave@y.org plan "
	                "!out@elsewhere.example site !gone@x.org domain", 7 },
	{ "nobody@x.org", "unknown domain |", 1 },
	{ "a b@x.org", "unknown domain |", 1 },
	{ "nobody@y.org", "unknown site |", 1 },
	{ "alice@elsewhere.example", "foreign site |", 1 },
	{ "whatever+x@all.org", "alias site | alice@x.org account !out@elsewhere.example site", 3 },
	{ "info@all.org", "alias site | bob@x.org domain", 2 },
	{ "erin@all.org", "account plan | erin@all.org plan", 1 },
	{ "off@all.org", "disabled plan |", 1 },
	{ "\"a b\"@all.org", "unknown site |", 1 },
	{ "through@x.org", "alias domain | alice@x.org account !out@elsewhere.example site", 4 },
	{ "anybody@round.org", "unknown site |", 2 },
};

static void
test_whose_policy(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		uint64_t statements;
		struct resolution *res = expand(NULL, table[i].address, &statements);

		if (strcmp(describe(res), table[i].expected) != 0 || statements != table[i].statements)
			fail_msg("%s: %s (%d statements), not %s (%u)", table[i].address, describe(res), (int)statements,
			    table[i].expected, table[i].statements);
		resolution_unref(res);
	}
}

/* Whoever gets a domain's stray mail must not be able to send as everybody of that domain. */
static void
test_nobody_sends_by_a_catch_all(void **state)
{
	static const struct {
		const char *address, *logins;
	} senders[] = {
		{ "whatever@all.org", NULL }, { "through@x.org", NULL }, { "info@all.org", "bob@x.org" },
		{ "both@x.org", "alice@x.org" }, { "erin@all.org", "erin@all.org" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(senders) / sizeof(senders[0]); i++) {
		uint64_t statements;
		struct resolution *res = expand(NULL, senders[i].address, &statements);

		if (senders[i].logins == NULL)
			assert_null(res->logins);
		else
			assert_string_equal(res->logins, senders[i].logins);
		resolution_unref(res);
	}
}

static void
test_equal_policies_are_kept_once(void **state)
{
	struct policies *policies = policies_new();
	struct resolution *kept[8];
	uint64_t statements;

	(void)state;
	for (int i = 0; i < 4; i++) {
		kept[2 * i] = expand(policies, "team@x.org", &statements);
		kept[2 * i + 1] = expand(policies, "nobody@x.org", &statements);
	}
	assert_int_equal(policies_count(policies), 4); /* site, plan, domain, account */
	assert_ptr_equal(kept[0]->policy, kept[7]->policy);
	for (int i = 0; i < 7; i++)
		resolution_unref(kept[i]);
	assert_int_equal(policies_count(policies), 1);
	policies_free(policies);
	assert_string_equal(kept[7]->policy->label, "domain"); /* what is still held stays */
	resolution_unref(kept[7]);
}

static enum bs_err
label_of(struct resolver *resolver, const char *address, char *out, size_t size)
{
	struct resolution *res = NULL;
	enum bs_err err = resolver_get(resolver, address, bs_now_ms() + 5000, &res);

	if (err == BS_OK)
		snprintf(out, size, "%s", res->policy->label);
	resolution_unref(res);
	return err;
}

static void
test_a_change_is_seen_after_cache_s(void **state)
{
	struct pool_settings ps = { .database = fx.policy_url, .password_file = fx.policy_password, .timeout_ms = 1000,
		.threads = 1, .queue_max = 10 };
	struct resolver_settings rs = { .known_ms = 300, .unknown_ms = 300, .entries_max = 20 };
	int64_t start = bs_now_ms(), deadline = start + 10000;
	struct resolver *resolver;
	struct pool *pool = NULL;
	char got[BS_POLICY_LABEL_MAX + 1] = "";

	(void)state;
	assert_int_equal(pool_new(&ps, &pool), BS_OK);
	resolver = resolver_new(pool, &rs);
	assert_int_equal(label_of(resolver, "bob@x.org", got, sizeof(got)), BS_OK);
	assert_string_equal(got, "domain");
	label(BS_SCOPE_DOMAIN, "x.org", "changed");
	while (strcmp(got, "domain") == 0 && bs_now_ms() < deadline) {
		usleep(20000);
		assert_int_equal(label_of(resolver, "bob@x.org", got, sizeof(got)), BS_OK);
	}
	assert_string_equal(got, "changed");
	assert_true(bs_now_ms() - start >= 290);
	label(BS_SCOPE_DOMAIN, "x.org", "domain");
	pool_free(pool);
	resolver_free(resolver);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whose_policy),
		cmocka_unit_test(test_nobody_sends_by_a_catch_all),
		cmocka_unit_test(test_equal_policies_are_kept_once),
		cmocka_unit_test(test_a_change_is_seen_after_cache_s),
	};
	int failed = cmocka_run_group_tests_name("sqlite", tests, fill_sqlite, finish);

	return failed + cmocka_run_group_tests_name("mariadb", tests, fill_mariadb, finish);
}
