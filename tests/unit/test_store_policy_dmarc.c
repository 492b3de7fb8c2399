/* common/store_policy_dmarc: counting, listing and forgetting, the same on SQLite and MariaDB. */
#include "store_policy_dmarc.h"
#include "tests/unit/store_fixture.h"

#define TIMEOUT_MS FIXTURE_TIMEOUT_MS

static struct bs_store_policy *
open_store(void)
{
	struct bs_store_policy *store = NULL;

	if (bs_store_policy_open(fx.policy_url, fx.policy_password, TIMEOUT_MS, true, &store) != BS_OK)
		fail_msg("open: %s", bs_store_policy_errmsg(NULL));
	assert_int_equal(bs_dmarc_forget(store, INT64_MAX), BS_OK);
	return store;
}

static struct bs_dmarc_row
row(int64_t day, const char *domain, const char *source, uint64_t messages)
{
	struct bs_dmarc_row r;

	memset(&r, 0, sizeof(r));
	r.day = day;
	r.messages = messages;
	r.spf_aligned = true;
	snprintf(r.author, sizeof(r.author), "m.%s", domain);
	snprintf(r.domain, sizeof(r.domain), "%s", domain);
	snprintf(r.policy, sizeof(r.policy), "p=reject");
	snprintf(r.source, sizeof(r.source), "%s", source);
	snprintf(r.dkim, sizeof(r.dkim), "pass %s s;fail %s t", domain, domain);
	snprintf(r.disposition, sizeof(r.disposition), "none");
	return r;
}

struct got {
	size_t n;
	struct bs_dmarc_row rows[10];
};

static enum bs_err
keep(void *ctx, const struct bs_dmarc_row *r)
{
	struct got *got = ctx;

	assert_true(got->n < 10);
	got->rows[got->n++] = *r;
	return BS_OK;
}

static struct got
list(struct bs_store_policy *store, const char *domain, int64_t day)
{
	struct got got = { 0 };

	assert_int_equal(bs_dmarc_list(store, domain, day, keep, &got), BS_OK);
	return got;
}

static void
test_equal_rows_add_up(void **state)
{
	struct bs_store_policy *store = open_store();
	struct bs_dmarc_row rows[] = { row(10, "b.example", "192.0.2.1", 2), row(10, "a.example", "192.0.2.1", 1),
		row(10, "b.example", "192.0.2.1", 3), row(10, "b.example", "192.0.2.2", 1), row(11, "b.example", "192.0.2.1", 1) };
	struct got got;

	(void)state;
	assert_int_equal(bs_dmarc_add(store, rows, 5, 0, NULL), BS_OK);
	assert_int_equal(bs_dmarc_add(store, rows, 1, 0, NULL), BS_OK);
	got = list(store, NULL, BS_DMARC_ANY_DAY);
	assert_int_equal(got.n, 4);
	assert_string_equal(got.rows[0].domain, "a.example");
	assert_int_equal(list(store, "b.example", BS_DMARC_ANY_DAY).n, 3);
	assert_int_equal(list(store, "b.example", 11).n, 1);
	assert_int_equal(list(store, "none.example", BS_DMARC_ANY_DAY).n, 0);
	got = list(store, "b.example", 10);
	assert_int_equal(got.n, 2);
	assert_int_equal(got.rows[0].messages + got.rows[1].messages, 8);
	bs_store_policy_close(store);
}

static void
test_a_row_comes_back_whole(void **state)
{
	struct bs_store_policy *store = open_store();
	struct bs_dmarc_row in = row(20000, "a.example", "2001:db8::1", 7);
	struct got got;

	(void)state;
	snprintf(in.rua, sizeof(in.rua), "mailto:x@a.example");
	snprintf(in.spf, sizeof(in.spf), "pass a.example");
	snprintf(in.envelope, sizeof(in.envelope), "bounce.a.example");
	snprintf(in.reason, sizeof(in.reason), "local_policy");
	assert_int_equal(bs_dmarc_add(store, &in, 1, 0, NULL), BS_OK);
	got = list(store, NULL, 20000);
	assert_int_equal(got.n, 1);
	assert_memory_equal(&got.rows[0], &in, sizeof(in));
	bs_store_policy_close(store);
}

static void
test_days_are_forgotten(void **state)
{
	struct bs_store_policy *store = open_store();
	struct bs_dmarc_row rows[] = { row(10, "a.example", "192.0.2.1", 1), row(11, "a.example", "192.0.2.1", 1) };

	(void)state;
	assert_int_equal(bs_dmarc_add(store, rows, 2, 0, NULL), BS_OK);
	assert_int_equal(bs_dmarc_forget(store, 11), BS_OK);
	assert_int_equal(list(store, NULL, 10).n, 0);
	assert_int_equal(list(store, NULL, 11).n, 1);
	bs_store_policy_close(store);
}

/* What is there goes on counting; another day has room of its own. */
static void
test_a_day_that_is_full(void **state)
{
	struct bs_store_policy *store = open_store();
	struct bs_dmarc_row rows[] = { row(10, "a.example", "192.0.2.1", 1), row(10, "b.example", "192.0.2.1", 1),
		row(10, "c.example", "192.0.2.1", 1), row(10, "b.example", "192.0.2.1", 4), row(11, "c.example", "192.0.2.1", 1) };
	int64_t full_day = -1;

	(void)state;
	assert_int_equal(bs_dmarc_add(store, rows, 2, 2, &full_day), BS_OK);
	assert_int_equal(full_day, -1);
	assert_int_equal(bs_dmarc_add(store, rows, 5, 2, &full_day), BS_OK);
	assert_int_equal(full_day, 10);
	assert_int_equal(list(store, NULL, 10).n, 2);
	assert_int_equal(list(store, "b.example", 10).rows[0].messages, 6);
	assert_int_equal(list(store, NULL, 11).n, 1);
	full_day = -1;
	assert_int_equal(bs_dmarc_add(store, &rows[2], 1, 3, &full_day), BS_OK);
	assert_int_equal(full_day, -1);
	assert_int_equal(list(store, NULL, 10).n, 3);
	bs_store_policy_close(store);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_rows_add_up),
		cmocka_unit_test(test_a_row_comes_back_whole),
		cmocka_unit_test(test_days_are_forgotten),
		cmocka_unit_test(test_a_day_that_is_full),
	};

	return cmocka_run_group_tests_name("dmarc results on SQLite", tests, fixture_sqlite, fixture_end) +
	       cmocka_run_group_tests_name("dmarc results on MariaDB", tests, fixture_mariadb, fixture_end);
}
