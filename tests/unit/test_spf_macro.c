/* milter/spf: what macros expand to, and explanations. RFC 7208, sections 6.2 and 7. */
#include "spf_case.h"

/* RFC 7208 section 7.4, the table. */
static void
test_macros_of_the_rfc(void **state)
{
	static const struct {
		const char *macro, *expansion;
	} cases[] = {
		{ "%{s}", "strong-bad@email.example.com" }, { "%{o}", "email.example.com" }, { "%{d}", "email.example.com" },
		{ "%{d4}", "email.example.com" }, { "%{d3}", "email.example.com" }, { "%{d2}", "example.com" }, { "%{d1}", "com" },
		{ "%{dr}", "com.example.email" }, { "%{d2r}", "example.email" }, { "%{l}", "strong-bad" }, { "%{l-}", "strong.bad" },
		{ "%{lr}", "strong-bad" }, { "%{lr-}", "bad.strong" }, { "%{l1r-}", "strong" },
		{ "%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com" },
		{ "%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com" },
		{ "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com" },
		{ "%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com" },
		{ "%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net" },
		/* and beyond it */
		{ "%{h}|%{c}|%{r}", "helo.example.net|192.0.2.3|mx.example.com" }, { "%{p}", "unknown" },
		{ "100%% of%_it %-", "100% of it %20" }, { "%{L}%{S}", "strong-badstrong-bad%40email.example.com" },
		{ "%{D2R}", "example.email" }, { "%{d999}", "email.example.com" }, { "%{d99999999999999999999}", "email.example.com" },
		{ "%{s.@}", "" }, { "%{l1-}", "bad" }, { "%{l2-}", "strong.bad" }, { "%{hr-.}", "net.example.helo" },
		{ "%{o1r}", "email" }, { "a  b", "a  b" }, { "%{z}", "" }, { "%{d", "" }, { "%x", "" }, { "%", "" },
		{ "tab\there", "" }, { "\xc3\xbc", "" },
	};

	(void)state;
	who.client = "192.0.2.3";
	who.sender = "strong-bad@email.example.com";
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		zone_clear(&zone);
		txt("email.example.com", "v=spf1 exp=why.example.org -all");
		txt("why.example.org", cases[i].macro);
		assert_int_equal(check(), SPF_FAIL);
		assert_string_equal(out.explanation, cases[i].expansion);
	}
}

static void
test_macros_of_ipv6_and_time(void **state)
{
	long long now;
	char end_of_it;

	(void)state;
	who.client = "2001:DB8::CB01";
	assert_string_equal(expand("%{c}"), "2001:db8::cb01");
	assert_string_equal(expand("%{v}"), "ip6");
	assert_string_equal(expand("%{i}"), "2.0.0.1.0.D.B.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.C.B.0.1");
	assert_string_equal(expand("%{ir}"), "1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2");
	assert_string_equal(expand("%{i2r}"), "0.2");
	assert_int_equal(sscanf(expand("%{t}"), "%lld%c", &now, &end_of_it), 1);
	assert_true(now > 1700000000);
	who.receiver = "";
	assert_string_equal(expand("%{r}"), "unknown");
}

static void
test_p_prefers_names_of_the_domain(void **state)
{
	static const char *const names[] = { "first.example.net", "sub.example.org", "example.org" };

	(void)state;
	for (size_t n = 0; n < 3; n++) {
		zone_clear(&zone);
		for (size_t i = 0; i <= n; i++) {
			zone_text(&zone, "1.2.0.192.in-addr.arpa", DNS_PTR, names[i]);
			zone_text(&zone, names[i], DNS_A, V4);
		}
		txt("example.org", "v=spf1 exp=why.example.org -all");
		txt("why.example.org", "%{p}");
		assert_int_equal(check(), SPF_FAIL);
		assert_string_equal(out.explanation, names[n]);
	}
}

static void
test_long_expansions(void **state)
{
	char record[3000] = "v=spf1 exists:", name[254];

	(void)state;
	/* 60 labels of 4 and "example.org": what is asked for is the right-hand end, cut at a label. */
	who.sender = "abc.abc.abc.abc.abc.abc.abc.abc.abc.abc.abc.abc.abc.abc.abc.abc.abc.abc.abc.abc@example.org";
	for (int i = 0; i < 4; i++)
		strcat(record, "%{l}.");
	strcat(record, "example.org -all");
	name[0] = '\0';
	for (int i = 0; i < 60; i++)
		strcat(name, "abc.");
	strcat(name, "example.org");
	zone_text(&zone, name, DNS_A, "127.0.0.1");
	assert_int_equal(strlen(name), 251);
	assert_string_equal(spf_result_text(with(record)), "pass");
	/* Beyond all measure: refused, not cut. */
	strcpy(record, "v=spf1 exists:");
	for (int i = 0; i < 100; i++)
		strcat(record, "%{l}.");
	strcat(record, "example.org -all");
	assert_int_equal(with(record), SPF_PERMERROR);
	assert_string_equal(out.reason, "example.org: a macro expands to no name");
	/* A label that is too long, or empty, is a name that does not exist. */
	who.sender = "a..b@example.org";
	assert_int_equal(with("v=spf1 exists:%{l}.example.org -all"), SPF_FAIL);
}

static void
test_explanations(void **state)
{
	(void)state;
	txt("why.example.org", "Go away, %{s}!");
	txt("two.example.org", "one");
	txt("two.example.org", "two");
	zone_text(&zone, "down.example.org", ZONE_TIMEOUT, "");
	WITH("v=spf1 -all exp=why.example.org", "fail");
	assert_string_equal(out.explanation, "Go away, joe@example.org!");
	assert_int_equal(out.lookups, 0);
	WITH("v=spf1 ~all exp=why.example.org", "softfail");
	assert_string_equal(out.explanation, "");
	WITH("v=spf1 -all exp=two.example.org", "fail");
	assert_string_equal(out.explanation, "");
	WITH("v=spf1 -all exp=down.example.org", "fail");
	assert_string_equal(out.explanation, "");
	WITH("v=spf1 -all exp=nowhere.example.org", "fail");
	WITH("v=spf1 -all exp=why.example.org exp=why.example.org", "permerror");
	/* Of the record that decided: redirect's own, never an included one's. */
	txt("other.example.net", "v=spf1 -all exp=other-why.example.net");
	txt("other-why.example.net", "Not %{d}");
	WITH("v=spf1 exp=why.example.org redirect=other.example.net", "fail");
	assert_string_equal(out.explanation, "Not other.example.net");
	WITH("v=spf1 include:other.example.net -all", "fail");
	assert_string_equal(out.explanation, "");
}

static void
test_explanations_are_printable(void **state)
{
	(void)state;
	who.sender = "joe\xc3\xbc@example.org";
	assert_string_equal(expand("%{l}"), "");
	who.sender = "joe\r\nX: y@example.org";
	assert_string_equal(expand("%{l}"), "");
	assert_string_equal(expand("%{L}"), "joe%0D%0AX%3A%20y");
	who.sender = "joe@example.org";
	who.helo = "\x1b[31m";
	assert_string_equal(expand("%{h}"), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_macros_of_the_rfc),
		TEST(test_macros_of_ipv6_and_time),
		TEST(test_p_prefers_names_of_the_domain),
		TEST(test_long_expansions),
		TEST(test_explanations),
		TEST(test_explanations_are_printable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
