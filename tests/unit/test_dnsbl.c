/* Block and allow lists: their configuration, what answers mean, sums, and lists that are not to be trusted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "milter/dnsbl_priv.h"
#include "tests/unit/dns_zone.h"

static struct dnsbl *
lists(const char *text)
{
	struct dnsbl *dnsbl;
	char why[200];

	assert_int_equal(dnsbl_new(text, 60000, &dnsbl, why, sizeof(why)), BS_OK);
	return dnsbl;
}

static void
bad_configuration(void **state)
{
	static const char *const bad[] = { "ip", "ip bl.example", "ip bl.example 10 x", "IP bl.example 10", "url bl.example 10",
		"ip bl..example 10", "ip bl.example 0", "ip bl.example 1001", "ip bl.example -1001", "ip bl.example ten",
		"ip bl.example 127.0.0.2", "ip bl.example 127.0.0.2=", "ip bl.example 127.0.0=1", "ip bl.example 127.0.0.256=1",
		"ip bl.example 127.0.0.5-2=1", "ip bl.example 10.0.0.2=1", "ip bl.example 127.0.0.2=1.5", "ip bl.example *.0.0.2=1",
		"ip bl.example 127.0.0.2.3=1", "ip bl.example 127.0.0.2=1,10", "ip bl.example =1" };
	struct dnsbl *dnsbl = NULL;
	char why[200] = "";

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why[0] = '\0';
		assert_int_equal(dnsbl_new(bad[i], 1, &dnsbl, why, sizeof(why)), BS_ERR_ARG);
		assert_true(why[0] != '\0');
		assert_null(dnsbl);
	}
	dnsbl_free(lists(""));
	dnsbl_free(lists(" ; \n;ip bl.example +10;\n\tdomain dbl.example 127.0.1.2-99=5,127.0.*.3=-7 ; "));
}

static void
what_answers_mean(void **state)
{
	static const struct {
		const char *list;
		uint8_t answer[4];
		enum dnsbl_meaning meaning;
		int64_t weight;
	} table[] = {
		{ "ip x.example 10", { 127, 0, 0, 2 }, DNSBL_LISTED, 10 },
		{ "ip x.example -4", { 127, 9, 8, 7 }, DNSBL_LISTED, -4 },
		{ "ip x.example 10", { 127, 0, 0, 1 }, DNSBL_ERROR, 0 },
		{ "ip x.example 10", { 127, 255, 255, 254 }, DNSBL_ERROR, 0 },
		{ "ip x.example 10", { 127, 255, 0, 1 }, DNSBL_ERROR, 0 },
		{ "ip x.example 10", { 192, 0, 2, 1 }, DNSBL_ERROR, 0 },
		{ "ip x.example 127.0.0.2=3,127.0.0.4-7=5,127.0.0.10-11=-2", { 127, 0, 0, 2 }, DNSBL_LISTED, 3 },
		{ "ip x.example 127.0.0.2=3,127.0.0.4-7=5,127.0.0.10-11=-2", { 127, 0, 0, 4 }, DNSBL_LISTED, 5 },
		{ "ip x.example 127.0.0.2=3,127.0.0.4-7=5,127.0.0.10-11=-2", { 127, 0, 0, 7 }, DNSBL_LISTED, 5 },
		{ "ip x.example 127.0.0.2=3,127.0.0.4-7=5,127.0.0.10-11=-2", { 127, 0, 0, 8 }, DNSBL_NOT_LISTED, 0 },
		{ "ip x.example 127.0.0.2=3,127.0.0.4-7=5,127.0.0.10-11=-2", { 127, 0, 0, 11 }, DNSBL_LISTED, -2 },
		{ "ip x.example 127.0.0.2=3,127.0.0.4-7=5", { 127, 0, 1, 2 }, DNSBL_NOT_LISTED, 0 },
		{ "ip x.example 127.0.0.2=3", { 127, 0, 0, 1 }, DNSBL_ERROR, 0 },
		{ "ip x.example 127.0.0.1=3", { 127, 0, 0, 1 }, DNSBL_LISTED, 3 },
		{ "ip x.example 127.0.*.2-3=-5", { 127, 0, 15, 3 }, DNSBL_LISTED, -5 },
		{ "ip x.example 127.0.*.2-3=-5", { 127, 0, 15, 1 }, DNSBL_NOT_LISTED, 0 },
		{ "ip x.example 127.*.*.*=5", { 127, 255, 255, 255 }, DNSBL_ERROR, 0 },
	};
	struct dnsbl_list *list = calloc(DNSBL_LISTS_MAX, sizeof(*list));
	char why[200];
	size_t n;

	(void)state;
	assert_non_null(list);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		int64_t weight = 0;

		memset(list, 0, DNSBL_LISTS_MAX * sizeof(*list));
		assert_int_equal(dnsbl_parse(table[i].list, list, &n, why, sizeof(why)), BS_OK);
		assert_int_equal(dnsbl_weigh(list, table[i].answer, &weight), table[i].meaning);
		assert_int_equal(weight, table[i].weight);
	}
	free(list);
}

static void
a(struct zone *zone, const char *name, const char *addr)
{
	uint8_t bytes[4];

	assert_int_equal(inet_pton(AF_INET, addr, bytes), 1);
	zone_bytes(zone, name, DNS_A, 0, bytes, 4);
}

/* The entry that every list has. */
static void
well(struct zone *zone, const char *list)
{
	char name[100];

	snprintf(name, sizeof(name), "2.0.0.127.%s", list);
	a(zone, name, "127.0.0.2");
}

static struct dnsbl_score
score_of(struct dnsbl *dnsbl, struct zone *zone, const char *client)
{
	struct dnsbl_score score = { 0 };
	struct network_addr addr;

	assert_true(network_addr(client, &addr));
	dnsbl_finish(dnsbl_begin_client(dnsbl, &zone->dns, &addr), &score);
	return score;
}

static struct dnsbl_state
state_of(struct dnsbl *dnsbl, const char *zone)
{
	struct dnsbl_state states[DNSBL_LISTS_MAX];
	size_t n = dnsbl_states(dnsbl, states);

	for (size_t i = 0; i < n; i++)
		if (strcmp(states[i].zone, zone) == 0)
			return states[i];
	fail();
	return states[0];
}

static void
sums(void **state)
{
	struct zone zone = ZONE_INIT;
	struct dnsbl *dnsbl = lists("ip one.example 6; ip two.example 127.0.0.2=3,127.0.0.3=5; ip allow.example -4; domain dbl.example 8");
	struct dnsbl_score score;

	(void)state;
	well(&zone, "one.example");
	well(&zone, "two.example");
	well(&zone, "allow.example");
	a(&zone, "test.dbl.example", "127.0.1.2");
	a(&zone, "7.2.0.192.one.example", "127.0.0.2");
	a(&zone, "7.2.0.192.two.example", "127.0.0.2");
	a(&zone, "7.2.0.192.two.example", "127.0.0.3");
	a(&zone, "7.2.0.192.allow.example", "127.0.2.3");
	a(&zone, "spam.example.dbl.example", "127.0.1.2");
	score = score_of(dnsbl, &zone, "192.0.2.7");
	assert_int_equal(score.sum, 7);
	assert_int_equal(score.lowest, 7);
	assert_int_equal(score.highest, 7);
	assert_string_equal(score.text, "one.example 127.0.0.2 (6), two.example 127.0.0.3 (5), allow.example 127.0.2.3 (-4)");
	assert_string_equal(score.down, "");
	dnsbl_finish(dnsbl_begin_domain(dnsbl, &zone.dns, "spam.example"), &score);
	assert_int_equal(score.sum, 15);
	assert_int_equal(score_of(dnsbl, &zone, "192.0.2.8").sum, 0);
	assert_int_equal(state_of(dnsbl, "one.example").listed, 1);
	dnsbl_free(dnsbl);
	zone_clear(&zone);
}

static void
ipv6_by_nibbles(void **state)
{
	struct zone zone = ZONE_INIT;
	struct dnsbl *dnsbl = lists("ip bl.example 10");

	(void)state;
	well(&zone, "bl.example");
	a(&zone, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example", "127.0.0.2");
	assert_int_equal(score_of(dnsbl, &zone, "2001:db8::1").sum, 10);
	assert_int_equal(score_of(dnsbl, &zone, "2001:db8::2").sum, 0);
	a(&zone, "9.2.0.192.bl.example", "127.0.0.2");
	assert_int_equal(score_of(dnsbl, &zone, "::ffff:192.0.2.9").sum, 10);
	dnsbl_free(dnsbl);
	zone_clear(&zone);
}

static void
what_is_not_asked(void **state)
{
	static const char *const no_domains[] = { "", "localhost", "[192.0.2.1]", "192.0.2.1", "a..example", "x y.example", "example.1" };
	struct zone zone = ZONE_INIT;
	struct dnsbl *dnsbl = lists("ip bl.example 10; domain dbl.example 10");
	struct dnsbl_score score = { 0 };
	char name[DNS_NAME_MAX + 1];
	unsigned asked;

	(void)state;
	well(&zone, "bl.example");
	a(&zone, "test.dbl.example", "127.0.1.2");
	assert_int_equal(score_of(dnsbl, &zone, "10.0.0.1").highest, 0);
	assert_int_equal(score_of(dnsbl, &zone, "::1").highest, 0);
	assert_int_equal(zone.asked, 0);
	for (size_t i = 0; i < sizeof(no_domains) / sizeof(no_domains[0]); i++)
		assert_null(dnsbl_begin_domain(dnsbl, &zone.dns, no_domains[i]));
	dnsbl_finish(dnsbl_begin_domain(dnsbl, &zone.dns, "fine.example"), &score);
	/* A domain that is too long to be listed is no fault of the list. */
	for (size_t i = 0; i < 248; i++)
		name[i] = i % 60 == 59 ? '.' : 'a';
	name[248] = '\0';
	asked = zone.asked;
	for (int i = 0; i < 20; i++)
		dnsbl_finish(dnsbl_begin_domain(dnsbl, &zone.dns, name), &score);
	assert_int_equal(zone.asked, asked);
	assert_int_equal(score.highest, 0);
	assert_int_equal(state_of(dnsbl, "dbl.example").aside_s, 0);
	dnsbl_free(dnsbl);
	zone_clear(&zone);
}

static void
errors_are_no_hits(void **state)
{
	static const char *const answers[] = { "127.255.255.252", "127.255.255.254", "127.255.255.255", "127.255.1.1", "203.0.113.9", "127.0.0.1" };

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct zone zone = ZONE_INIT;
		struct dnsbl *dnsbl = lists("ip bl.example 10");
		struct dnsbl_score score;
		unsigned asked;

		well(&zone, "bl.example");
		a(&zone, "7.2.0.192.bl.example", "127.0.0.2");
		a(&zone, "7.2.0.192.bl.example", answers[i]);
		score = score_of(dnsbl, &zone, "192.0.2.7");
		assert_int_equal(score.sum, 0);
		assert_int_equal(score.lowest, 0);
		assert_int_equal(score.highest, 10);
		assert_string_equal(score.down, "bl.example");
		/* It is left alone for a while, which is no hit either. */
		asked = zone.asked;
		score = score_of(dnsbl, &zone, "192.0.2.7");
		assert_int_equal(zone.asked, asked);
		assert_int_equal(score.sum, 0);
		assert_int_equal(score.highest, 10);
		assert_true(state_of(dnsbl, "bl.example").aside_s > 0);
		assert_non_null(state_of(dnsbl, "bl.example").why);
		dnsbl_free(dnsbl);
		zone_clear(&zone);
	}
}

static void
a_list_of_everybody(void **state)
{
	struct zone zone = ZONE_INIT;
	struct dnsbl *dnsbl = lists("ip bl.example 10; domain dbl.example 10");
	struct dnsbl_score score;

	(void)state;
	well(&zone, "bl.example");
	a(&zone, "1.0.0.127.bl.example", "127.0.0.2");
	a(&zone, "7.2.0.192.bl.example", "127.0.0.2");
	score = score_of(dnsbl, &zone, "192.0.2.7");
	assert_int_equal(score.sum, 0);
	assert_string_equal(state_of(dnsbl, "bl.example").why, "it lists everybody");
	a(&zone, "test.dbl.example", "127.0.1.2");
	a(&zone, "invalid.dbl.example", "127.0.1.2");
	a(&zone, "x.example.dbl.example", "127.0.1.2");
	dnsbl_finish(dnsbl_begin_domain(dnsbl, &zone.dns, "x.example"), &score);
	assert_int_equal(score.sum, 0);
	dnsbl_free(dnsbl);
	zone_clear(&zone);
}

static void
a_list_of_nobody(void **state)
{
	struct zone zone = ZONE_INIT;
	struct dnsbl *dnsbl = lists("ip bl.example 10");

	(void)state;
	assert_int_equal(score_of(dnsbl, &zone, "192.0.2.7").highest, 10);
	assert_true(state_of(dnsbl, "bl.example").aside_s > 0);
	dnsbl_free(dnsbl);
	zone_clear(&zone);
}

static void
silence(void **state)
{
	struct zone zone = ZONE_INIT;
	struct dnsbl *dnsbl = lists("ip bl.example 10; ip allow.example -10");
	struct dnsbl_score score;

	(void)state;
	well(&zone, "bl.example");
	well(&zone, "allow.example");
	zone_text(&zone, "7.2.0.192.bl.example", ZONE_TIMEOUT, "");
	a(&zone, "8.2.0.192.bl.example", "127.0.0.2");
	zone_text(&zone, "8.2.0.192.allow.example", ZONE_TIMEOUT, "");
	score = score_of(dnsbl, &zone, "192.0.2.7");
	assert_int_equal(score.lowest, 0);
	assert_int_equal(score.highest, 10);
	score = score_of(dnsbl, &zone, "192.0.2.8");
	assert_int_equal(score.sum, 10);
	assert_int_equal(score.lowest, 0); /* the allow list might have saved him */
	assert_int_equal(score.highest, 10);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(state_of(dnsbl, "bl.example").aside_s, 0);
		score = score_of(dnsbl, &zone, "192.0.2.7");
	}
	assert_int_equal(state_of(dnsbl, "bl.example").aside_s, 0); /* one answer in between */
	score = score_of(dnsbl, &zone, "192.0.2.7");
	assert_true(state_of(dnsbl, "bl.example").aside_s > 0);
	dnsbl_free(dnsbl);
	zone_clear(&zone);
}

/* Of a name that nobody proves block lists count alone, also among those that kept silent. */
static void
what_allow_lists_gave_is_taken(void **state)
{
	struct zone zone = ZONE_INIT;
	struct dnsbl *dnsbl = lists("domain dbl.example 10; domain good.example -6; domain fine.example -3");
	struct dnsbl_score score = { 0 }, doubted;

	(void)state;
	a(&zone, "test.dbl.example", "127.0.0.2");
	a(&zone, "test.good.example", "127.0.0.2");
	a(&zone, "test.fine.example", "127.0.0.2");
	a(&zone, "x.example.dbl.example", "127.0.0.2");
	a(&zone, "x.example.good.example", "127.0.0.2");
	zone_text(&zone, "x.example.fine.example", ZONE_TIMEOUT, "");
	dnsbl_finish(dnsbl_begin_domain(dnsbl, &zone.dns, "x.example"), &score);
	assert_int_equal(score.sum, 4);
	assert_int_equal(score.lowest, 1);
	assert_int_equal(score.highest, 4);
	assert_true(dnsbl_has_credit(&score));
	doubted = score;
	dnsbl_doubt_credit(&doubted);
	assert_int_equal(doubted.sum, 10);
	assert_int_equal(doubted.lowest, 1);
	assert_int_equal(doubted.highest, 10);
	assert_false(dnsbl_has_credit(&doubted));
	assert_string_equal(doubted.down, "fine.example, SPF");
	dnsbl_take_credit(&score);
	assert_int_equal(score.sum, 10);
	assert_int_equal(score.lowest, 10);
	assert_int_equal(score.highest, 10);
	assert_false(dnsbl_has_credit(&score));
	assert_non_null(strstr(score.text, "good.example 127.0.0.2 (-6), not counted"));
	dnsbl_free(dnsbl);
	zone_clear(&zone);
}

static void
a_look_that_is_dropped(void **state)
{
	struct zone zone = ZONE_INIT;
	struct dnsbl *dnsbl = lists("ip bl.example 10");
	struct network_addr addr;
	unsigned asked;

	(void)state;
	well(&zone, "bl.example");
	assert_true(network_addr("192.0.2.7", &addr));
	dnsbl_drop(dnsbl_begin_client(dnsbl, &zone.dns, &addr));
	asked = zone.asked;
	(void)score_of(dnsbl, &zone, "192.0.2.7"); /* tests the list, since nobody saw the first answer */
	assert_int_equal(zone.asked, asked + 3);
	(void)score_of(dnsbl, &zone, "192.0.2.7");
	assert_int_equal(zone.asked, asked + 4);
	dnsbl_free(dnsbl);
	zone_clear(&zone);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_configuration), cmocka_unit_test(what_answers_mean), cmocka_unit_test(sums),
		cmocka_unit_test(ipv6_by_nibbles), cmocka_unit_test(what_is_not_asked), cmocka_unit_test(errors_are_no_hits),
		cmocka_unit_test(a_list_of_everybody), cmocka_unit_test(a_list_of_nobody), cmocka_unit_test(silence),
		cmocka_unit_test(what_allow_lists_gave_is_taken), cmocka_unit_test(a_look_that_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
