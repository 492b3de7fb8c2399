/* milter/expand and milter/resolve: addresses, aliases, loops and bounds, and what is remembered; on both engines. */
#include "milter/resolve.h"

#include "milter/expand.h"
#include "store_fixture.h"

static struct bs_store_policy *store;

static void
account(const char *address, bool enabled)
{
	struct bs_account a = { .plan = "private", .enabled = enabled, .created = 1 };

	snprintf(a.address, sizeof(a.address), "%s", address);
	assert_int_equal(bs_account_add(store, &a), BS_OK);
}

static void
alias(const char *name, const char *target)
{
	assert_int_equal(bs_alias_add(store, name, target), BS_OK);
}

/* A chain of n aliases from NAME0 to the account alice. */
static void
chain(const char *name, int n)
{
	char from[64], to[64];

	for (int i = 0; i < n; i++) {
		snprintf(from, sizeof(from), "%s%d@x.org", name, i);
		if (i + 1 < n)
			snprintf(to, sizeof(to), "%s%d@x.org", name, i + 1);
		else
			snprintf(to, sizeof(to), "alice@x.org");
		alias(from, to);
	}
}

static void
crowd(const char *name, int n)
{
	char to[64];

	for (int i = 0; i < n; i++) {
		snprintf(to, sizeof(to), "someone%d@elsewhere.example", i);
		alias(name, to);
	}
}

/* An alias that doubles at each of n levels: 2^n ways, few addresses. */
static void
diamond(int n)
{
	char from[2][64], to[64];

	for (int i = 0; i < n; i++) {
		for (int side = 0; side < 2; side++) {
			snprintf(from[side], sizeof(from[side]), "d%d%c@x.org", i, 'a' + side);
			for (int k = 0; k < 2; k++) {
				snprintf(to, sizeof(to), "d%d%c@x.org", i + 1, 'a' + k);
				if (i + 1 == n)
					snprintf(to, sizeof(to), "%s@x.org", k ? "alice" : "bob");
				alias(from[side], to);
			}
		}
	}
}

static int
fill(void **state)
{
	(void)state;
	if (bs_store_policy_open(fx.policy_url, fx.policy_password, 1000, true, &store) != BS_OK)
		return -1;
	assert_int_equal(bs_domain_add(store, "x.org"), BS_OK);
	account("alice@x.org", true);
	account("bob@x.org", true);
	account("off@x.org", false);
	alias("team@x.org", "alice@x.org");
	alias("team@x.org", "bob@x.org");
	alias("nested@x.org", "team@x.org");
	alias("nested@x.org", "out@elsewhere.example");
	alias("bob@x.org", "bob@x.org");
	alias("bob@x.org", "alice@x.org");
	account("lent@x.org", true);
	alias("lent@x.org", "alice@x.org");
	account("left@x.org", false);
	alias("left@x.org", "alice@x.org");
	alias("loop1@x.org", "loop2@x.org");
	alias("loop2@x.org", "loop3@x.org");
	alias("loop3@x.org", "loop1@x.org");
	alias("half@x.org", "gone@x.org");
	alias("half@x.org", "alice@x.org");
	alias("stale@x.org", "gone@x.org");
	alias("asleep@x.org", "off@x.org");
	alias("folder@x.org", "alice+lists@x.org");
	chain("deep", RESOLVE_DEPTH_MAX);
	chain("deeper", RESOLVE_DEPTH_MAX + 1);
	crowd("wide@x.org", RESOLVE_TARGETS_MAX);
	crowd("wider@x.org", RESOLVE_TARGETS_MAX + 1);
	diamond(9);
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

static int
by_text(const void *a, const void *b)
{
	const struct resolution_target *x = a, *y = b;

	return strcmp(x->address, y->address);
}

/* "state target target..." with the targets in order. */
static const char *
describe(struct resolution *res)
{
	static char text[4096];
	size_t n = (size_t)snprintf(text, sizeof(text), "%s", resolve_state_text(res->state));

	qsort(res->targets, res->n, sizeof(res->targets[0]), by_text);
	for (size_t i = 0; i < res->n && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, " %s", res->targets[i].address);
	if (res->why != NULL && n < sizeof(text))
		snprintf(text + n, sizeof(text) - n, ": %s", res->why);
	return text;
}

static const struct {
	const char *address, *expected;
} table[] = {
	{ "alice@x.org", "account alice@x.org" },
	{ "ALICE@X.org", "account alice@x.org" },
	{ "alice+f@x.org", "account alice+f@x.org" },
	{ "bob@x.org", "alias alice@x.org bob@x.org" },
	{ "bob+f@x.org", "alias alice+f@x.org bob+f@x.org" },
	{ "team@x.org", "alias alice@x.org bob@x.org" },
	{ "team+f@x.org", "alias alice+f@x.org bob+f@x.org" },
	{ "nested@x.org", "alias alice@x.org bob@x.org out@elsewhere.example" },
	{ "nested+f@x.org", "alias alice+f@x.org bob+f@x.org out+f@elsewhere.example" },
	{ "folder@x.org", "alias alice+lists@x.org" },
	{ "folder+f@x.org", "alias alice+lists+f@x.org" },
	{ "half@x.org", "alias alice@x.org gone@x.org" },
	{ "stale@x.org", "unknown" },
	{ "gone@x.org", "unknown" },
	{ "a b@x.org", "unknown" },
	{ "@x.org", "unknown" },
	{ "off@x.org", "disabled" },
	{ "asleep@x.org", "disabled" },
	{ "loop1@x.org", "broken: alias loop" },
	{ "loop3+f@x.org", "broken: alias loop" },
	{ "deep0@x.org", "alias alice@x.org" },
	{ "deeper0@x.org", "broken: aliases nested too deeply" },
	{ "wider@x.org", "broken: alias with too many targets" },
	{ "d0a@x.org", "alias alice@x.org bob@x.org" },
	{ "alice@elsewhere.example", "foreign" },
	{ "alice@", "foreign" },
	{ "alice@-.-", "foreign" },
};

static void
test_expand(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct resolution *res = NULL;

		assert_int_equal(expand_address(store, NULL, table[i].address, bs_now_ms() + 5000, &res), BS_OK);
		if (strcmp(describe(res), table[i].expected) != 0)
			fail_msg("%s: %s, not %s", table[i].address, describe(res), table[i].expected);
		resolution_unref(res);
	}
}

static const struct {
	const char *address, *logins; /* NULL: nobody may send as it */
} senders[] = {
	{ "Alice+f@x.org", "alice@x.org" },
	{ "bob+f@x.org", "bob@x.org" }, /* an account whose copies go to alice, too: still his own name */
	{ "nested+f@x.org", "alice@x.org, bob@x.org" },
	{ "folder@x.org", "alice@x.org" },
	{ "half@x.org", "alice@x.org" },
	{ "lent@x.org", "lent@x.org" },
	{ "left@x.org", NULL }, /* a disabled account that is diverted to alice */
	{ "wide@x.org", NULL },
	{ "off@x.org", NULL },
	{ "asleep@x.org", NULL },
	{ "gone@x.org", NULL },
	{ "loop1@x.org", NULL },
	{ "alice@elsewhere.example", NULL },
};

static void
test_senders(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(senders) / sizeof(senders[0]); i++) {
		struct resolution *res = NULL;
		const char *expected = senders[i].logins != NULL ? senders[i].logins : "nobody", *got;

		assert_int_equal(expand_address(store, NULL, senders[i].address, bs_now_ms() + 5000, &res), BS_OK);
		got = res->logins != NULL ? res->logins : "nobody";
		if (strcmp(got, expected) != 0)
			fail_msg("%s: %s, not %s", senders[i].address, got, expected);
		resolution_unref(res);
	}
}

static void
test_widest(void **state)
{
	struct resolution *res = NULL;

	(void)state;
	assert_int_equal(expand_address(store, NULL, "wide@x.org", bs_now_ms() + 5000, &res), BS_OK);
	assert_int_equal(res->n, RESOLVE_TARGETS_MAX);
	resolution_unref(res);
}

static void
test_a_passed_deadline_ends_the_walk(void **state)
{
	struct resolution *res = NULL;

	(void)state;
	assert_int_equal(expand_address(store, NULL, "team@x.org", bs_now_ms() - 1, &res), BS_ERR_TIMEOUT);
	assert_null(res);
}

static void
test_domain(void **state)
{
	struct resolution *res = NULL;

	(void)state;
	assert_int_equal(expand_domain(store, NULL, "X.org", &res), BS_OK);
	assert_int_equal(res->state, RESOLVE_DOMAIN);
	resolution_unref(res);
	assert_int_equal(expand_domain(store, NULL, "y.org", &res), BS_OK);
	assert_int_equal(res->state, RESOLVE_FOREIGN);
	resolution_unref(res);
	assert_int_equal(expand_domain(store, NULL, "no domain", &res), BS_OK);
	assert_int_equal(res->state, RESOLVE_FOREIGN);
	resolution_unref(res);
}

static enum bs_err
get(struct resolver *resolver, const char *key, enum resolve_state *out)
{
	struct resolution *res = NULL;
	enum bs_err err = resolver_get(resolver, key, bs_now_ms() + 5000, &res);

	if (err == BS_OK)
		*out = res->state;
	resolution_unref(res);
	return err;
}

/* What was asked is remembered as long as it should be, and no longer; a store that fails is never remembered. */
static void
test_resolver_remembers(void **state)
{
	struct pool_settings ps = { .database = fx.policy_url, .password_file = fx.policy_password, .timeout_ms = 1000,
		.threads = 2, .queue_max = 10 };
	struct resolver_settings rs = { .known_ms = 60000, .unknown_ms = 200, .entries_max = 100 };
	struct pool_stats before, after;
	struct resolver *resolver;
	struct pool *pool = NULL;
	enum resolve_state got = RESOLVE_BROKEN;

	(void)state;
	assert_int_equal(pool_new(&ps, &pool), BS_OK);
	resolver = resolver_new(pool, &rs);
	assert_int_equal(get(resolver, "alice@x.org", &got), BS_OK);
	assert_int_equal(get(resolver, "later@x.org", &got), BS_OK);
	assert_int_equal(got, RESOLVE_UNKNOWN);
	pool_stats(pool, &before);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(get(resolver, i % 2 ? "alice@x.org" : "ALICE@X.ORG", &got), BS_OK);
		assert_int_equal(got, RESOLVE_ACCOUNT);
		assert_int_equal(get(resolver, "later@x.org", &got), BS_OK);
	}
	pool_stats(pool, &after);
	assert_int_equal(after.jobs - before.jobs, 0);
	account("later@x.org", true);
	usleep(250000);
	assert_int_equal(get(resolver, "later@x.org", &got), BS_OK);
	assert_int_equal(got, RESOLVE_ACCOUNT);
	assert_int_equal(bs_account_remove(store, "later@x.org"), BS_OK);
	assert_int_equal(get(resolver, "", &got), BS_ERR_ARG);
	pool_free(pool);
	resolver_free(resolver);
}

static void
test_a_dictionary_attack_leaves_the_known_alone(void **state)
{
	struct pool_settings ps = { .database = fx.policy_url, .password_file = fx.policy_password, .timeout_ms = 1000,
		.threads = 2, .queue_max = 10 };
	struct resolver_settings rs = { .known_ms = 60000, .unknown_ms = 60000, .entries_max = 20 };
	struct pool_stats before, after;
	struct resolver_stats stats;
	struct resolver *resolver;
	struct pool *pool = NULL;
	enum resolve_state got = RESOLVE_BROKEN;
	char key[40];

	(void)state;
	assert_int_equal(pool_new(&ps, &pool), BS_OK);
	resolver = resolver_new(pool, &rs);
	assert_int_equal(get(resolver, "alice@x.org", &got), BS_OK);
	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "nobody%d@x.org", i);
		assert_int_equal(get(resolver, key, &got), BS_OK);
	}
	pool_stats(pool, &before);
	assert_int_equal(get(resolver, "alice@x.org", &got), BS_OK);
	pool_stats(pool, &after);
	assert_int_equal(after.jobs, before.jobs);
	resolver_stats(resolver, &stats);
	assert_int_equal(stats.unknown.entries, 20);
	pool_free(pool);
	resolver_free(resolver);
}

/* A store that went away: a domain is answered from memory, an address is not. */
static void
test_only_domains_outlive_the_store(void **state)
{
	struct pool_settings ps = { .database = fx.policy_url, .password_file = fx.policy_password, .timeout_ms = 1000,
		.threads = 1, .queue_max = 10 };
	struct resolver_settings rs = { .known_ms = 0, .unknown_ms = 0, .entries_max = 20 };
	struct resolver *resolver;
	struct pool *pool = NULL;
	enum resolve_state got = RESOLVE_BROKEN;

	(void)state;
	assert_int_equal(pool_new(&ps, &pool), BS_OK);
	resolver = resolver_new(pool, &rs);
	assert_int_equal(get(resolver, "x.org", &got), BS_OK);
	assert_int_equal(get(resolver, "alice@x.org", &got), BS_OK);
	pool_gave_up(pool);
	assert_int_equal(get(resolver, "alice@x.org", &got), BS_ERR_UNAVAIL);
	assert_int_equal(get(resolver, "y.org", &got), BS_ERR_UNAVAIL);
	assert_int_equal(get(resolver, "x.org", &got), BS_OK);
	assert_int_equal(got, RESOLVE_DOMAIN);
	pool_free(pool);
	resolver_free(resolver);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expand),
		cmocka_unit_test(test_senders),
		cmocka_unit_test(test_widest),
		cmocka_unit_test(test_a_passed_deadline_ends_the_walk),
		cmocka_unit_test(test_domain),
		cmocka_unit_test(test_resolver_remembers),
		cmocka_unit_test(test_a_dictionary_attack_leaves_the_known_alone),
		cmocka_unit_test(test_only_domains_outlive_the_store),
	};
	int failed = cmocka_run_group_tests_name("sqlite", tests, fill_sqlite, finish);

	return failed + cmocka_run_group_tests_name("mariadb", tests, fill_mariadb, finish);
}
