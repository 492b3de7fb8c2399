/* The ledger: what rows mean (pure), keys and senders' stems, and counts that stay exact between threads and ledgers, on both engines. */
#include "migrations.h"
#include "milter/ledger.h"
#include "milter/ledger_rules.h"
#include "milter/pool.h"
#include "milter/sender.h"

#include "store_fixture.h"

#include <pthread.h>
#include <time.h>

#define T0 (INT64_C(1700000000) / LEDGER_HOUR_S * LEDGER_HOUR_S) /* an hour begins */

/* --- rules --- */

static size_t
count_until_full(struct bs_ledger_row *row, int64_t limit, int64_t now_s)
{
	size_t n = 0;

	while (ledger_rule_fits(row, limit, now_s)) {
		ledger_rule_add(row, now_s);
		n++;
	}
	return n;
}

static void
an_hour_slides(void **state)
{
	struct bs_ledger_row row = { 0 };

	(void)state;
	assert_int_equal(count_until_full(&row, 100, T0 + 10), 100);
	assert_int_equal(count_until_full(&row, 100, T0 + 3599), 0);
	assert_int_equal(count_until_full(&row, 100, T0 + 3600), 0);
	assert_int_equal(count_until_full(&row, 100, T0 + 3600 + 36), 1);
	assert_int_equal(count_until_full(&row, 100, T0 + 3600 + 1800), 49);
	assert_int_equal(count_until_full(&row, 100, T0 + 3600 + 3599), 49); /* 99 % of the hour before is gone */
	assert_int_equal(row.n, 99);
	assert_int_equal(count_until_full(&row, 100, T0 + 2 * 3600), 1);
	assert_true(row.expires >= T0 + 4 * 3600);
	assert_int_equal(count_until_full(&row, 100, T0 + 10 * 3600), 100);
	assert_int_equal(row.earlier, 0);
}

/* Whatever comes when: in no hour are more counted than twice the limit, and by the measure never more than the limit. */
static void
never_more_than_the_limit(void **state)
{
	unsigned seed = 4711;
	struct bs_ledger_row row = { 0 };
	int64_t now_s = T0;
	size_t in_hour = 0;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		int64_t before_s = now_s;

		now_s += (int64_t)(rand_r(&seed) % 40);
		if (now_s / LEDGER_HOUR_S != before_s / LEDGER_HOUR_S)
			in_hour = 0;
		if (ledger_rule_fits(&row, 50, now_s)) {
			ledger_rule_add(&row, now_s);
			in_hour++;
		}
		assert_true(in_hour <= 50);
		assert_true(row.earlier * (LEDGER_HOUR_S - now_s % LEDGER_HOUR_S) + row.n * LEDGER_HOUR_S <= 50 * LEDGER_HOUR_S ||
		    row.since + LEDGER_HOUR_S <= now_s);
	}
}

static void
a_clock_that_is_behind(void **state)
{
	struct bs_ledger_row row = { 0 };

	(void)state;
	assert_int_equal(count_until_full(&row, 10, T0 + 3600), 10);
	assert_int_equal(count_until_full(&row, 10, T0 + 3590), 0);
	assert_int_equal(row.since, T0 + 3600);
}

static const struct ledger_greylist terms = { .delay_s = 300, .window_s = 7200, .keep_s = 864000, .passes = 3 };

static enum ledger_greeting
greet(struct bs_ledger_row *grey, struct bs_ledger_row *client, int64_t now_s, int64_t *wait_s)
{
	return ledger_rule_greet(grey, client, &terms, now_s, wait_s);
}

static void
greylist_story(void **state)
{
	struct bs_ledger_row grey = { 0 }, client = { 0 }, other = { 0 }, saved;
	int64_t wait_s;

	(void)state;
	assert_int_equal(greet(&grey, &client, T0, &wait_s), LEDGER_NEW);
	assert_int_equal(wait_s, 300);
	assert_int_equal(client.expires, 0);
	saved = grey;
	assert_int_equal(greet(&grey, &client, T0 + 299, &wait_s), LEDGER_EARLY);
	assert_int_equal(wait_s, 1);
	assert_memory_equal(&grey, &saved, sizeof(grey)); /* early costs no write */
	assert_int_equal(greet(&grey, &client, T0 + 300, &wait_s), LEDGER_PASS);
	assert_int_equal(client.n, 1);
	saved = grey;
	assert_int_equal(greet(&grey, &client, T0 + 301, &wait_s), LEDGER_PASS);
	assert_memory_equal(&grey, &saved, sizeof(grey)); /* nor does who is known */
	assert_int_equal(greet(&grey, &client, T0 + 400000, &wait_s), LEDGER_PASS);
	assert_int_equal(client.n, 3);
	assert_int_equal(greet(&other, &client, T0 + 400001, &wait_s), LEDGER_TRUST);
	assert_int_equal(other.expires, 0);
	/* After its last message it is remembered for keep_s, and no longer. */
	assert_int_equal(greet(&other, &client, T0 + 400000 + 864001, &wait_s), LEDGER_NEW);
	assert_int_equal(greet(&grey, &client, T0 + 400000 + 864001, &wait_s), LEDGER_NEW);
}

static void
who_comes_too_late_is_new(void **state)
{
	struct bs_ledger_row grey = { 0 }, client = { 0 };
	int64_t wait_s;

	(void)state;
	assert_int_equal(greet(&grey, &client, T0, &wait_s), LEDGER_NEW);
	assert_int_equal(greet(&grey, &client, T0 + 300 + 7201, &wait_s), LEDGER_NEW);
	assert_int_equal(greet(&grey, &client, T0 + 300 + 7201 + 299, &wait_s), LEDGER_EARLY);
	assert_int_equal(greet(&grey, &client, T0 + 300 + 7201 + 7500, &wait_s), LEDGER_PASS);
	assert_int_equal(grey.since, T0 + 7501);
}

static void
who_is_known_stays_known(void **state)
{
	struct bs_ledger_row grey = { 0 }, client = { 0 };
	int64_t wait_s, now_s = T0;
	size_t writes = 0;

	(void)state;
	assert_int_equal(greet(&grey, &client, now_s, &wait_s), LEDGER_NEW);
	for (now_s += 300; now_s < T0 + 100 * 864000; now_s += 7200) {
		int64_t before = client.expires + grey.expires;

		assert_true(greet(&grey, &client, now_s, &wait_s) >= LEDGER_PASS);
		writes += client.expires + grey.expires != before ? 1 : 0;
	}
	assert_true(writes < 1100); /* one a day, not one a message */
}

static void
no_passes_no_trust(void **state)
{
	struct ledger_greylist none = terms;
	struct bs_ledger_row grey = { 0 }, client = { .n = 100, .expires = T0 * 2 };
	int64_t wait_s;

	(void)state;
	none.passes = 0;
	assert_int_equal(ledger_rule_greet(&grey, &client, &none, T0, &wait_s), LEDGER_NEW);
	assert_int_equal(ledger_rule_greet(&grey, &client, &none, T0 + 300, &wait_s), LEDGER_PASS);
	assert_int_equal(client.n, 100);
}

/* --- senders --- */

static void
stems(void **state)
{
	static const struct {
		const char *sender, *stem;
	} table[] = {
		{ "", "" }, { "Alice@Example.ORG", "alice@example.org" }, { "alice+tag@example.org", "alice@example.org" },
		{ "+tag@example.org", "+tag@example.org" }, { "bounce-12345_HTML-67@example.org", "bounce-#_html-#@example.org" },
		{ "list-return-17-alice=example.org@lists.example", "list-return-#-alice=example.org@lists.example" },
		{ "prvs=1234abcdef=bob@example.org", "bob@example.org" }, { "prvs=broken@example.org", "prvs=broken@example.org" },
		{ "SRS0=HHH=TT=orig.example=user@fwd.example", "srs@fwd.example" },
		{ "srs1=HHH=other.example==HHH=TT=orig.example=user@fwd.example", "srs@fwd.example" },
		{ "srs@example.org", "srs@example.org" }, { "srs2=x@example.org", "#=x@example.org" },
		{ "010001935a6f-9c0e2d@amazonses.example", "#-#@amazonses.example" }, { "bob", "bob" }, { "b0b", "#" },
		{ "a@b@example.org", "a@b@example.org" }, { "@example.org", "@example.org" },
	};
	char stem[SENDER_MAX], huge[2 * SENDER_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		sender_stem(table[i].sender, stem);
		assert_string_equal(stem, table[i].stem);
	}
	memset(huge, 'x', sizeof(huge));
	huge[sizeof(huge) - 1] = '\0';
	sender_stem(huge, stem);
	assert_int_equal(strlen(stem), SENDER_MAX - 1);
	assert_string_equal(sender_domain("a@b@c.example"), "c.example");
	assert_string_equal(sender_domain("a"), "");
}

/* --- on a database, which removes what is old by the real time --- */

static int64_t
now_s(void)
{
	static int64_t began_s;

	if (began_s == 0)
		began_s = (int64_t)time(NULL);
	return began_s;
}

static const uint8_t key[BS_KEY_LEN] = "a key of thirty-two bytes ......";

static struct pool *
new_pool(void)
{
	struct pool_settings settings = { .database = fx.policy_url, .password_file = fx.policy_password, .timeout_ms = 2000, .threads = 2,
		.queue_max = 100 };
	struct pool *pool = NULL;

	assert_int_equal(pool_new(&settings, &pool), BS_OK);
	return pool;
}

static void
empty(void)
{
	struct bs_store_policy *store = NULL;

	assert_int_equal(bs_store_policy_open(fx.policy_url, fx.policy_password, FIXTURE_TIMEOUT_MS, true, &store), BS_OK);
	bs_store_policy_close(store);
}

static struct ledger_limit
limit_of(const struct ledger *ledger, const char *who, int64_t limit)
{
	struct ledger_limit out = { .limit = limit };

	assert_int_equal(ledger_key(ledger, "test", who, "", "", out.id), BS_OK);
	return out;
}

static void
keys_differ(void **state)
{
	struct ledger *ledger = ledger_new(NULL, key), *other = ledger_new(NULL, (const uint8_t *)"another key of thirty-two bytes..");
	uint8_t a[BS_LEDGER_ID_LEN], b[BS_LEDGER_ID_LEN];
	char huge[2000];

	(void)state;
	assert_int_equal(ledger_key(ledger, "x", "ab", "c", "", a), BS_OK);
	assert_int_equal(ledger_key(ledger, "x", "a", "bc", "", b), BS_OK);
	assert_memory_not_equal(a, b, sizeof(a));
	assert_int_equal(ledger_key(ledger, "x", "ab", "c", "", b), BS_OK);
	assert_memory_equal(a, b, sizeof(a));
	assert_int_equal(ledger_key(other, "x", "ab", "c", "", b), BS_OK);
	assert_memory_not_equal(a, b, sizeof(a));
	memset(huge, 'x', sizeof(huge));
	huge[sizeof(huge) - 1] = '\0';
	assert_int_equal(ledger_key(ledger, "x", huge, "", "", a), BS_ERR_LIMIT);
	ledger_free(ledger);
	ledger_free(other);
}

static void
all_or_nothing(void **state)
{
	struct pool *pool = new_pool();
	struct ledger *ledger = ledger_new(pool, key);
	struct ledger_limit limits[3];
	int64_t deadline_ms = bs_now_ms() + 60000;
	size_t over;

	(void)state;
	empty();
	limits[0] = limit_of(ledger, "wide", 100);
	limits[1] = limit_of(ledger, "narrow", 2);
	limits[2] = limit_of(ledger, "wide too", 100);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ledger_count(ledger, limits, 3, now_s(), true, deadline_ms, &over), BS_OK);
		assert_int_equal(over, 3);
		assert_int_equal(ledger_count(ledger, limits, 3, now_s(), false, deadline_ms, &over), BS_OK);
		assert_int_equal(over, 3);
	}
	for (int i = 0; i < 200; i++) {
		assert_int_equal(ledger_count(ledger, limits, 3, now_s(), false, deadline_ms, &over), BS_OK);
		assert_int_equal(over, 1);
	}
	limits[0].limit = 3; /* two were counted, not 202 */
	assert_int_equal(ledger_count(ledger, limits, 1, now_s(), false, deadline_ms, &over), BS_OK);
	assert_int_equal(over, 1);
	assert_int_equal(ledger_count(ledger, limits, 1, now_s(), true, deadline_ms, &over), BS_OK);
	assert_int_equal(over, 0);
	pool_free(pool);
	ledger_free(ledger);
}

#define LEDGERS 4
#define THREADS 40
#define TRIES 25
#define LIMIT 300

struct crowd {
	struct ledger *ledger;
	unsigned accepted, refused, failed;
};

static void *
crowd_main(void *arg)
{
	struct crowd *crowd = arg;
	struct ledger_limit limits[2];

	limits[0] = limit_of(crowd->ledger, "crowd", LIMIT);
	limits[1] = limit_of(crowd->ledger, "and more", 100000);
	for (int i = 0; i < TRIES; i++) {
		size_t over = 0;
		enum bs_err err = ledger_count(crowd->ledger, limits, 2, now_s(), false, bs_now_ms() + 60000, &over);

		crowd->failed += err != BS_OK ? 1 : 0;
		crowd->accepted += err == BS_OK && over == 2 ? 1 : 0;
		crowd->refused += err == BS_OK && over == 0 ? 1 : 0;
	}
	return NULL;
}

/* Several ledgers, as several milters have them, 40 callers: exactly LIMIT get through. */
static void
exact_between_ledgers(void **state)
{
	struct pool *pools[LEDGERS];
	struct ledger *ledgers[LEDGERS];
	struct crowd crowd[THREADS];
	pthread_t threads[THREADS];
	struct ledger_stats stats, all = { 0 };
	unsigned accepted = 0, refused = 0, failed = 0;

	(void)state;
	empty();
	for (size_t i = 0; i < LEDGERS; i++) {
		pools[i] = new_pool();
		ledgers[i] = ledger_new(pools[i], key);
	}
	for (size_t i = 0; i < THREADS; i++) {
		crowd[i] = (struct crowd){ .ledger = ledgers[i % LEDGERS] };
		assert_int_equal(pthread_create(&threads[i], NULL, crowd_main, &crowd[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		accepted += crowd[i].accepted;
		refused += crowd[i].refused;
		failed += crowd[i].failed;
	}
	for (size_t i = 0; i < LEDGERS; i++) {
		ledger_stats(ledgers[i], &stats);
		all.questions += stats.questions;
		all.transactions += stats.transactions;
		all.conflicts += stats.conflicts;
		pool_free(pools[i]);
		ledger_free(ledgers[i]);
	}
	print_message("%u accepted, %u refused, %u failed; %lu questions in %lu transactions, %lu conflicts\n", accepted, refused, failed,
	    (unsigned long)all.questions, (unsigned long)all.transactions, (unsigned long)all.conflicts);
	assert_int_equal(failed, 0);
	assert_int_equal(accepted, LIMIT);
	assert_int_equal(refused, THREADS * TRIES - LIMIT);
	assert_true(all.transactions < all.questions);
}

static void
greylist_on_two_nodes(void **state)
{
	struct pool *pools[2] = { new_pool(), new_pool() };
	struct ledger *nodes[2] = { ledger_new(pools[0], key), ledger_new(pools[1], key) };
	struct ledger_greylist grey = terms;
	int64_t deadline_ms = bs_now_ms() + 60000, wait_s;
	enum ledger_greeting greeting;

	(void)state;
	empty();
	assert_int_equal(ledger_key(nodes[0], "grey", "a", "b", "c", grey.id), BS_OK);
	assert_int_equal(ledger_key(nodes[0], "client", "a", "b", "", grey.client), BS_OK);
	assert_int_equal(ledger_greet(nodes[0], &grey, now_s(), true, deadline_ms, &greeting, &wait_s), BS_OK);
	assert_int_equal(greeting, LEDGER_NEW);
	assert_int_equal(ledger_greet(nodes[0], &grey, now_s(), false, deadline_ms, &greeting, &wait_s), BS_OK);
	assert_int_equal(greeting, LEDGER_NEW); /* looking left no trace */
	assert_int_equal(ledger_greet(nodes[1], &grey, now_s() + 100, false, deadline_ms, &greeting, &wait_s), BS_OK);
	assert_int_equal(greeting, LEDGER_EARLY);
	assert_int_equal(wait_s, 200);
	assert_int_equal(ledger_greet(nodes[1], &grey, now_s() + 300, false, deadline_ms, &greeting, &wait_s), BS_OK);
	assert_int_equal(greeting, LEDGER_PASS);
	for (size_t i = 0; i < 2; i++) {
		pool_free(pools[i]);
		ledger_free(nodes[i]);
	}
}

static void
renew_row(void *ctx, struct bs_ledger_row *rows, size_t n)
{
	(void)n;
	rows[0].expires = *(int64_t *)ctx;
}

static void
old_rows_go_in_batches(void **state)
{
	struct bs_store_policy *store = NULL;
	size_t gone = 99, total = 0;
	int64_t at_s = (int64_t)time(NULL);

	(void)state;
	empty();
	assert_int_equal(bs_store_policy_open(fx.policy_url, fx.policy_password, FIXTURE_TIMEOUT_MS, false, &store), BS_OK);
	do { /* what tests before left */
		assert_int_equal(bs_ledger_expire(store, INT64_MAX, 500, &gone), BS_OK);
	} while (gone > 0);
	for (int i = 0; i < 50; i++) {
		struct bs_ledger_row row = { 0 };
		int64_t expires = i < 30 ? at_s - 10 : at_s + 10;

		row.id[0] = (uint8_t)i;
		assert_int_equal(bs_ledger_update(store, &row, 1, renew_row, &expires), BS_OK);
	}
	assert_int_equal(bs_ledger_expire(store, at_s, 20, &gone), BS_OK);
	assert_int_equal(gone, 20);
	assert_int_equal(bs_ledger_expire(store, at_s, 20, &gone), BS_OK);
	assert_int_equal(gone, 10);
	assert_int_equal(bs_ledger_expire(store, at_s, 20, &gone), BS_OK);
	assert_int_equal(gone, 0);
	for (int i = 0; i < 50; i++) {
		struct bs_ledger_row row = { 0 };

		row.id[0] = (uint8_t)i;
		assert_int_equal(bs_ledger_read(store, &row, 1), BS_OK);
		total += row.expires != 0 ? 1 : 0;
	}
	assert_int_equal(total, 20);
	bs_store_policy_close(store);
}

struct rival {
	struct bs_store_policy *store;
	int64_t *expires;
};

/* Somebody else changes the row between our reading and our writing. */
static void
interrupted(void *ctx, struct bs_ledger_row *rows, size_t n)
{
	struct rival *rival = ctx;
	struct bs_ledger_row row = rows[0];

	(void)n;
	if (!fx.mariadb)
		return; /* SQLite's writers wait for each other */
	assert_int_equal(bs_ledger_update(rival->store, &row, 1, renew_row, rival->expires), BS_OK);
	rows[0].expires = 5;
	rows[0].n = 7;
}

static void
who_comes_second_changes_nothing(void **state)
{
	struct bs_store_policy *one = NULL, *two = NULL;
	struct bs_ledger_row row = { .id = "rival" };
	int64_t expires = (int64_t)time(NULL) + 1000;
	struct rival rival = { .expires = &expires };

	(void)state;
	empty();
	assert_int_equal(bs_store_policy_open(fx.policy_url, fx.policy_password, FIXTURE_TIMEOUT_MS, false, &one), BS_OK);
	assert_int_equal(bs_store_policy_open(fx.policy_url, fx.policy_password, FIXTURE_TIMEOUT_MS, false, &two), BS_OK);
	rival.store = two;
	for (int i = 0; fx.mariadb && i < 2; i++, expires++) { /* a row that is new to both, and one that is there */
		assert_int_equal(bs_ledger_update(one, &row, 1, interrupted, &rival), BS_ERR_CONFLICT);
		assert_int_equal(bs_ledger_read(one, &row, 1), BS_OK);
		assert_int_equal(row.expires, expires);
		assert_int_equal(row.n, 0);
	}
	bs_store_policy_close(one);
	bs_store_policy_close(two);
}

static void
a_database_that_is_not_there(void **state)
{
	struct pool_settings settings = { .database = "sqlite:/nowhere/policy.db", .password_file = "", .timeout_ms = 500, .threads = 1,
		.queue_max = 100 };
	struct pool *pool = NULL;
	struct ledger *ledger;
	struct ledger_limit limit;
	size_t over;

	(void)state;
	assert_int_equal(pool_new(&settings, &pool), BS_OK);
	ledger = ledger_new(pool, key);
	limit = limit_of(ledger, "x", 1);
	for (int i = 0; i < 20; i++)
		assert_true(bs_err_is_transient(ledger_count(ledger, &limit, 1, now_s(), false, bs_now_ms() + 60000, &over)));
	pool_free(pool);
	ledger_free(ledger);
}

int
main(void)
{
	const struct CMUnitTest rules[] = {
		cmocka_unit_test(an_hour_slides), cmocka_unit_test(never_more_than_the_limit), cmocka_unit_test(a_clock_that_is_behind),
		cmocka_unit_test(greylist_story), cmocka_unit_test(who_comes_too_late_is_new), cmocka_unit_test(who_is_known_stays_known),
		cmocka_unit_test(no_passes_no_trust), cmocka_unit_test(stems), cmocka_unit_test(keys_differ),
		cmocka_unit_test(a_database_that_is_not_there),
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_or_nothing), cmocka_unit_test(exact_between_ledgers), cmocka_unit_test(greylist_on_two_nodes),
		cmocka_unit_test(old_rows_go_in_batches), cmocka_unit_test(who_comes_second_changes_nothing),
	};
	int failed;

	if (bs_crypto_init() != BS_OK)
		return 1;
	failed = cmocka_run_group_tests_name("rules", rules, NULL, NULL);
	failed += cmocka_run_group_tests_name("sqlite", tests, fixture_sqlite, fixture_end);
	failed += cmocka_run_group_tests_name("mariadb", tests, fixture_mariadb, fixture_end);
	return failed;
}
