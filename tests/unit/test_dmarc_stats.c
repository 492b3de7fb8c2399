/* milter/dmarc_stats: what is counted comes into the database, what can't is dropped, and nobody waits. */
#include "milter/dmarc_stats.h"
#include "milter/dmarc_row.h"
#include "tests/unit/store_fixture.h"

#define WAIT_MS 20000

static struct pool *
start_pool(const char *url)
{
	struct pool_settings settings = { .database = url, .password_file = "", .timeout_ms = FIXTURE_TIMEOUT_MS, .threads = 1,
		.queue_max = 10 };
	struct pool *pool;

	assert_int_equal(pool_new(&settings, &pool), BS_OK);
	return pool;
}

static struct bs_store_policy *
open_store(void)
{
	struct bs_store_policy *store;

	assert_int_equal(bs_store_policy_open(fx.policy_url, fx.policy_password, FIXTURE_TIMEOUT_MS, true, &store), BS_OK);
	return store;
}

static struct bs_dmarc_row
row(int64_t day, unsigned n)
{
	struct bs_dmarc_row r;

	memset(&r, 0, sizeof(r));
	r.day = day;
	r.messages = 1;
	snprintf(r.domain, sizeof(r.domain), "d%u.example", n);
	return r;
}

static enum bs_err
sum(void *ctx, const struct bs_dmarc_row *r)
{
	*(uint64_t *)ctx += r->messages;
	return BS_OK;
}

static void
add(struct dmarc_stats *stats, int64_t day, unsigned n)
{
	struct bs_dmarc_row r = row(day, n);

	dmarc_stats_add(stats, &r);
}

static void
test_all_are_written_at_the_end(void **state)
{
	struct bs_store_policy *store = open_store();
	struct pool *pool = start_pool(fx.policy_url);
	struct dmarc_stats *stats;
	uint64_t messages = 0;

	(void)state;
	assert_int_equal(dmarc_stats_new(pool, 30, 0, &stats), BS_OK);
	for (unsigned i = 0; i < 300; i++)
		add(stats, INT32_MAX, i % 50);
	dmarc_stats_free(stats);
	assert_int_equal(bs_dmarc_list(store, NULL, INT32_MAX, sum, &messages), BS_OK);
	assert_int_equal(messages, 300);
	pool_free(pool);
	bs_store_policy_close(store);
}

static void
test_a_full_batch_does_not_wait_for_its_time(void **state)
{
	struct bs_store_policy *store = open_store();
	struct pool *pool = start_pool(fx.policy_url);
	int64_t until = bs_now_ms() + WAIT_MS;
	struct batches_counts counts = { 0 };
	struct dmarc_stats *stats;

	(void)state;
	assert_int_equal(dmarc_stats_new(pool, 30, 0, &stats), BS_OK);
	for (unsigned i = 0; i < DMARC_STATS_BATCH; i++)
		add(stats, INT32_MAX, 1000 + i);
	while (counts.written < DMARC_STATS_BATCH && bs_now_ms() < until) {
		dmarc_stats_read(stats, &counts);
		usleep(1000);
	}
	assert_int_equal(counts.written, DMARC_STATS_BATCH);
	dmarc_stats_free(stats);
	pool_free(pool);
	bs_store_policy_close(store);
}

static void
test_a_database_that_is_not_there_costs_the_counts_alone(void **state)
{
	struct pool *pool = start_pool("sqlite:/nonexistent/policy.db");
	struct batches_counts counts;
	struct dmarc_stats *stats;
	int64_t start = bs_now_ms();

	(void)state;
	assert_int_equal(dmarc_stats_new(pool, 30, 0, &stats), BS_OK);
	for (unsigned i = 0; i < 5000; i++)
		add(stats, 1, i);
	assert_true(bs_now_ms() - start < WAIT_MS);
	dmarc_stats_stop(stats);
	add(stats, 1, 0);
	dmarc_stats_read(stats, &counts);
	assert_int_equal(counts.added, 5001);
	assert_int_equal(counts.written, 0);
	assert_true(counts.dropped >= 5000 - DMARC_STATS_ROWS_MAX);
	dmarc_stats_free(stats);
	pool_free(pool);
}

static void
test_days_past_their_time_go(void **state)
{
	struct bs_store_policy *store = open_store();
	struct pool *pool = start_pool(fx.policy_url);
	struct bs_dmarc_row old = row(10, 1);
	struct dmarc_stats *stats;
	uint64_t messages = 0;

	(void)state;
	assert_int_equal(bs_dmarc_add(store, &old, 1, 0, NULL), BS_OK);
	assert_int_equal(dmarc_stats_new(pool, 30, 0, &stats), BS_OK);
	dmarc_stats_free(stats);
	assert_int_equal(bs_dmarc_list(store, NULL, 10, sum, &messages), BS_OK);
	assert_int_equal(messages, 0);
	pool_free(pool);
	bs_store_policy_close(store);
}

static void
test_a_day_has_so_many_rows(void **state)
{
	struct bs_store_policy *store = open_store();
	struct pool *pool = start_pool(fx.policy_url);
	struct dmarc_stats *stats;
	uint64_t messages = 0;

	(void)state;
	assert_int_equal(dmarc_stats_new(pool, 30, 5, &stats), BS_OK);
	for (unsigned i = 0; i < 40; i++)
		add(stats, INT32_MAX - 1, i % 20);
	dmarc_stats_free(stats);
	assert_int_equal(bs_dmarc_list(store, NULL, INT32_MAX - 1, sum, &messages), BS_OK);
	assert_int_equal(messages, 10);
	pool_free(pool);
	bs_store_policy_close(store);
}

/* What a message becomes holds no local part. */
static void
test_a_row_names_domains_only(void **state)
{
	struct dmarc_outcome outcome = { .result = AUTH_DMARC_PASS, .spf_aligned = true, .where = "example.net", .found = true };
	struct session *session;
	struct bs_dmarc_row r;

	(void)state;
	assert_int_equal(session_new(&session), BS_OK);
	assert_int_equal(session_begin_message(session, "<secret.person@bounce.example.net>", NULL), BS_OK);
	assert_int_equal(session_set(session, &session->client_addr, "2001:db8::1"), BS_OK);
	session->msg.now_s = 86400 * 3 + 5;
	session->msg.auth.n_dkim = 1;
	session->msg.auth.dkim[0] = (struct auth_dkim){ .result = AUTH_DKIM_FAIL, .domain = "example.net", .selector = "s" };
	dmarc_row_of(session, &outcome, "mail.example.net", &r);
	assert_int_equal(r.day, 3);
	assert_string_equal(r.author, "mail.example.net");
	assert_string_equal(r.domain, "example.net");
	assert_string_equal(r.envelope, "bounce.example.net");
	assert_string_equal(r.source, "2001:db8::1");
	assert_string_equal(r.dkim, "fail example.net s");
	assert_string_equal(r.disposition, "none");
	assert_null(memmem(&r, sizeof(r), "secret", 6));
	session_free(session);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_are_written_at_the_end),
		cmocka_unit_test(test_a_full_batch_does_not_wait_for_its_time),
		cmocka_unit_test(test_a_database_that_is_not_there_costs_the_counts_alone),
		cmocka_unit_test(test_days_past_their_time_go),
		cmocka_unit_test(test_a_day_has_so_many_rows),
		cmocka_unit_test(test_a_row_names_domains_only),
	};

	return cmocka_run_group_tests_name("dmarc_stats", tests, fixture_sqlite, fixture_end);
}
