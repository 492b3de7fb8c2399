/* milter/spf: every mechanism and modifier, limits, errors, and what strangers send. RFC 7208. */
#include "spf_case.h"

static void
test_which_record(void **state)
{
	(void)state;
	assert_int_equal(check(), SPF_NONE);
	assert_string_equal(out.reason, "example.org has no SPF record");
	txt("example.org", "v=spf10 -all");
	txt("example.org", "v=spf1-all");
	txt("example.org", " v=spf1 -all");
	txt("example.org", "spf2.0/pra -all");
	assert_int_equal(check(), SPF_NONE);
	WITH("v=spf1", "neutral");
	WITH("V=SPF1 -ALL", "fail");
	WITH("v=spf1    -all   ", "fail");
	txt("example.org", "v=spf1 +all");
	assert_int_equal(check(), SPF_PASS);
	WITH("v=spf1 +all", "permerror");
	assert_string_equal(out.reason, "example.org: more than one SPF record");
	zone_text(&zone, "down.example.org", ZONE_TIMEOUT, "");
	who.sender = "joe@down.example.org";
	assert_int_equal(check(), SPF_TEMPERROR);
}

static void
test_all_and_qualifiers(void **state)
{
	(void)state;
	WITH("v=spf1 all", "pass");
	WITH("v=spf1 +all", "pass");
	WITH("v=spf1 -all", "fail");
	assert_string_equal(out.mechanism, "-all");
	assert_string_equal(out.domain, "example.org");
	assert_string_equal(out.authority, "example.org");
	assert_string_equal(out.reason, "example.org: -all matches " V4);
	WITH("v=spf1 ~all", "softfail");
	WITH("v=spf1 ?all", "neutral");
	WITH("v=spf1 ip4:198.51.100.1", "neutral");
	assert_string_equal(out.mechanism, "");
	assert_string_equal(out.reason, "example.org: nothing matches " V4);
	assert_int_equal(out.lookups + out.voids, 0);
}

static void
test_ip4(void **state)
{
	static const char *const bad[] = { "ip4", "ip4:", "ip4:1.2.3", "ip4:1.2.3.4.5", "ip4:1.2.3.256", "ip4:01.2.3.4",
		"ip4:1.2.3.4/33", "ip4:1.2.3.4/032", "ip4:1.2.3.4/", "ip4:1.2.3.4//32", "ip4:1.2.3.4/2 4", "ip4:1.2.3.4:25",
		"ip4:example.org", "ip4:%{i}", "ip4/24", "ip4=1.2.3.4/%", "ip4:::ffff:1.2.3.4", "ip4:1.2.3.4/-1" };
	char record[80];

	(void)state;
	WITH("v=spf1 ip4:192.0.2.1 -all", "pass");
	WITH("v=spf1 ip4:192.0.2.0/24 -all", "pass");
	WITH("v=spf1 ip4:192.0.2.2/31 -all", "fail");
	WITH("v=spf1 ip4:192.0.2.0/31 -all", "pass");
	WITH("v=spf1 ip4:64.0.0.0/2 -all", "fail");
	WITH("v=spf1 ip4:128.0.0.0/2 -all", "fail");
	WITH("v=spf1 ip4:203.0.113.9/2 -all", "pass");
	WITH("v=spf1 ip4:1.1.1.1/0 -all", "pass");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(record, sizeof(record), "v=spf1 +all %s", bad[i]);
		assert_int_equal(with(record), SPF_PERMERROR);
	}
	who.client = "::ffff:192.0.2.1";
	WITH("v=spf1 ip4:192.0.2.1 -all", "pass");
	who.client = V6;
	WITH("v=spf1 ip4:0.0.0.0/0 -all", "fail");
}

static void
test_ip6(void **state)
{
	static const char *const bad[] = { "ip6", "ip6:", "ip6:1.2.3.4", "ip6::::", "ip6:2001:db8::1/129", "ip6:2001:db8::1//64",
		"ip6:2001:db8::1/064", "ip6:g::1", "ip6:fe80::1%eth0", "ip6:[2001:db8::1]",
		"ip6:1111:2222:3333:4444:5555:6666:7777:8888:9999" };
	char record[100];

	(void)state;
	WITH("v=spf1 ip6:::/0 -all", "fail");
	WITH("v=spf1 ip6:::ffff:192.0.2.1 -all", "fail");
	who.client = V6;
	WITH("v=spf1 ip6:2001:db8::1 -all", "pass");
	WITH("v=spf1 ip6:2001:DB8::/32 -all", "pass");
	WITH("v=spf1 ip6:2001:db8::2/127 -all", "fail");
	WITH("v=spf1 ip6:2001:db8::ffff/112 -all", "pass");
	WITH("v=spf1 ip6:::/0 -all", "pass");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(record, sizeof(record), "v=spf1 +all %s", bad[i]);
		assert_int_equal(with(record), SPF_PERMERROR);
	}
}

static void
test_a(void **state)
{
	(void)state;
	zone_text(&zone, "example.org", DNS_A, "192.0.2.77");
	zone_text(&zone, "example.org", DNS_AAAA, "2001:db8::77");
	zone_text(&zone, "two.example.org", DNS_A, "203.0.113.1");
	zone_text(&zone, "two.example.org", DNS_A, V4);
	zone_text(&zone, "alias.example.org", ZONE_CNAME, "two.example.org");
	zone_text(&zone, "down.example.org", ZONE_TIMEOUT, "");
	WITH("v=spf1 a -all", "fail");
	assert_int_equal(out.lookups, 1);
	WITH("v=spf1 a/24 -all", "pass");
	assert_string_equal(out.mechanism, "a/24");
	WITH("v=spf1 a//64 -all", "fail");
	WITH("v=spf1 a/24//64 -all", "pass");
	WITH("v=spf1 a:two.example.org -all", "pass");
	WITH("v=spf1 A:Two.Example.Org. -all", "pass");
	WITH("v=spf1 a:alias.example.org -all", "pass");
	WITH("v=spf1 a:down.example.org +all", "temperror");
	assert_string_equal(out.reason, "down.example.org: DNS failed");
	WITH("v=spf1 a:nowhere.example.org -all", "fail");
	assert_int_equal(out.voids, 1);
	who.client = V6;
	WITH("v=spf1 a -all", "fail");
	WITH("v=spf1 a//64 -all", "pass");
	WITH("v=spf1 a/0 -all", "fail");
	WITH("v=spf1 a:two.example.org -all", "fail");
}

static void
test_mx(void **state)
{
	char host[40];

	(void)state;
	mx("example.org", 20, "b.example.org");
	mx("example.org", 10, "a.example.org");
	mx("null.example.org", 0, "");
	mx("gone.example.org", 0, "gone-host.example.org");
	mx("slow.example.org", 0, "slow-host.example.org");
	zone_text(&zone, "a.example.org", DNS_A, "203.0.113.1");
	zone_text(&zone, "b.example.org", DNS_A, V4);
	zone_text(&zone, "b.example.org", DNS_AAAA, "2001:db8::2");
	zone_text(&zone, "direct.example.org", DNS_A, V4);
	zone_text(&zone, "slow-host.example.org", ZONE_TIMEOUT, "");
	WITH("v=spf1 mx -all", "pass");
	WITH("v=spf1 mx:example.org/32 -all", "pass");
	WITH("v=spf1 mx:null.example.org -all", "fail");
	WITH("v=spf1 mx:gone.example.org -all", "fail");
	assert_int_equal(out.voids, 0);
	WITH("v=spf1 mx:slow.example.org +all", "temperror");
	WITH("v=spf1 mx:direct.example.org -all", "fail");
	assert_int_equal(out.voids, 1);
	who.client = V6;
	WITH("v=spf1 mx//126 -all", "pass");
	WITH("v=spf1 mx//127 -all", "fail");
	who.client = V4;
	for (unsigned i = 1; i <= 11; i++) {
		snprintf(host, sizeof(host), "h%u.example.org", i);
		mx("many.example.org", i, host);
		if (i <= 10)
			mx("ten.example.org", i, host);
	}
	zone_text(&zone, "h10.example.org", DNS_A, V4);
	WITH("v=spf1 mx:ten.example.org -all", "pass");
	WITH("v=spf1 mx:many.example.org -all", "permerror");
	assert_string_equal(out.reason, "many.example.org: more than 10 MX");
}

static void
test_ptr(void **state)
{
	static const char reverse[] = "1.2.0.192.in-addr.arpa";

	(void)state;
	zone_text(&zone, reverse, DNS_PTR, "forged.example.org");
	zone_text(&zone, reverse, DNS_PTR, "error.example.org");
	zone_text(&zone, reverse, DNS_PTR, "Mail.Example.org");
	zone_text(&zone, reverse, DNS_PTR, "xexample.net");
	zone_text(&zone, "forged.example.org", DNS_A, "203.0.113.1");
	zone_text(&zone, "error.example.org", ZONE_TIMEOUT, "");
	zone_text(&zone, "mail.example.org", DNS_A, V4);
	zone_text(&zone, "xexample.net", DNS_A, V4);
	WITH("v=spf1 ptr -all", "pass");
	WITH("v=spf1 ptr:MAIL.example.org -all", "pass");
	WITH("v=spf1 ptr:example.net -all", "fail");
	WITH("v=spf1 ptr:forged.example.org -all", "fail");
	WITH("v=spf1 ptr:error.example.org -all", "fail");
	WITH("v=spf1 ptr/24 -all", "permerror");
	WITH("v=spf1 ptr: -all", "permerror");
	WITH("v=spf1 exists:%{p}.ok.example.org -all", "fail");
	zone_text(&zone, "Mail.Example.org.ok.example.org", DNS_A, "127.0.0.2");
	WITH("v=spf1 exists:%{p}.ok.example.org -all", "pass");
	who.client = V6;
	WITH("v=spf1 ptr ptr:a.example ptr:b.example -all", "fail");
	assert_int_equal(out.voids, 1);
	assert_int_equal(out.lookups, 3);
	zone_text(&zone, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6.arpa", DNS_PTR, "six.example.org");
	zone_text(&zone, "six.example.org", DNS_AAAA, V6);
	WITH("v=spf1 ptr -all", "pass");
}

static void
test_ptr_stops_after_ten_names(void **state)
{
	char name[40];

	(void)state;
	for (int i = 1; i <= 11; i++) {
		snprintf(name, sizeof(name), "p%d.example.org", i);
		zone_text(&zone, "1.2.0.192.in-addr.arpa", DNS_PTR, name);
		zone_text(&zone, name, DNS_A, V4);
	}
	WITH("v=spf1 ptr:p10.example.org -all", "pass");
	zone.asked = 0;
	WITH("v=spf1 ptr:p11.example.org ptr:p12.example.org -all", "fail");
	assert_int_equal(zone.asked, 1 + 1 + 10);
}

static void
test_exists(void **state)
{
	(void)state;
	zone_text(&zone, "1.2.0.192.list.example.org", DNS_A, "127.0.0.1");
	zone_text(&zone, "joe.users.example.org", DNS_A, "127.0.0.1");
	zone_text(&zone, "six.example.org", DNS_AAAA, "::1");
	WITH("v=spf1 exists:%{ir}.list.example.org -all", "pass");
	WITH("v=spf1 exists:%{l}.users.%{d} -all", "pass");
	WITH("v=spf1 exists:six.example.org -all", "fail");
	WITH("v=spf1 exists -all", "permerror");
	WITH("v=spf1 exists: -all", "permerror");
	WITH("v=spf1 exists:a.example.org/24 -all", "permerror");
	who.client = V6;
	WITH("v=spf1 exists:joe.users.example.org -all", "pass");
}

static void
test_include(void **state)
{
	static const struct {
		const char *record, *result;
	} cases[] = { { "v=spf1 +all", "pass" }, { "v=spf1 -all", "softfail" }, { "v=spf1 ~all", "softfail" },
		{ "v=spf1 ?all", "softfail" }, { "v=spf1", "softfail" }, { "v=spf1 -all oops", "permerror" } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		zone_clear(&zone);
		txt("other.example.net", cases[i].record);
		WITH("v=spf1 include:other.example.net ~all", cases[i].result);
	}
	WITH("v=spf1 include:nowhere.example.net +all", "permerror");
	assert_string_equal(out.reason, "nowhere.example.net: included, but has no SPF record");
	WITH("v=spf1 include:%{l} +all", "permerror");
	WITH("v=spf1 include +all", "permerror");
	WITH("v=spf1 include:other.example.net/24 +all", "permerror");
	zone_text(&zone, "down.example.net", ZONE_TIMEOUT, "");
	WITH("v=spf1 include:down.example.net +all", "temperror");
	txt("deep.example.net", "v=spf1 a -all");
	zone_text(&zone, "deep.example.net", DNS_A, V4);
	WITH("v=spf1 include:deep.example.net -all", "pass");
	assert_string_equal(out.mechanism, "include:deep.example.net");
	assert_string_equal(out.authority, "example.org");
	WITH("v=spf1 -include:deep.example.net +all", "fail");
}

static void
test_redirect(void **state)
{
	(void)state;
	txt("other.example.net", "v=spf1 a ~all");
	zone_text(&zone, "other.example.net", DNS_A, V4);
	WITH("v=spf1 redirect=other.example.net", "pass");
	assert_string_equal(out.authority, "other.example.net");
	assert_string_equal(out.domain, "example.org");
	assert_string_equal(out.mechanism, "a");
	WITH("v=spf1 redirect=other.example.net ip4:203.0.113.1", "pass");
	WITH("v=spf1 redirect=other.example.net -all", "fail");
	WITH("v=spf1 redirect=nowhere.example.net", "permerror");
	assert_string_equal(out.reason, "nowhere.example.net: redirected to, but has no SPF record");
	WITH("v=spf1 redirect=", "permerror");
	WITH("v=spf1 redirect:other.example.net", "permerror");
	WITH("v=spf1 -redirect=other.example.net", "permerror");
	WITH("v=spf1 redirect=other.example.net redirect=other.example.net", "permerror");
	assert_string_equal(out.reason, "example.org: \"redirect\" is there twice");
	zone_text(&zone, "down.example.net", ZONE_TIMEOUT, "");
	WITH("v=spf1 redirect=down.example.net", "temperror");
	who.client = "203.0.113.1";
	WITH("v=spf1 redirect=other.example.net", "softfail");
}

static void
test_other_modifiers_and_broken_terms(void **state)
{
	static const char *const good[] = { "x=", "x=y", "a-b_c.d=%{s}%%", "default=pass", "match_subdomains=yes", "a=b",
		"op=auth" };
	static const char *const bad[] = { "1x=y", "=y", "x", "all.", "all:x", "all/8", "+", "-", "--all", "-x=y", "x=%", "x=%{",
		"x=%{z}", "x=\x80", "x=\x7f", "\xef\xbb\xbf-all", "a:b", "a:", "a:.", "a:x.1", "a:x.-a", "a:x.a-",
		"a:x.org/24/24", "a/", "a//", "a/33", "a//129", "a/1/", "a:x.org:25", "a:%{d", "a:%{d}x", "a:%{}", "a:%{d0}",
		"a:%{d2x}", "a:%d", "a:x.%", "a:x.org%", "a:x .org", "a:x\t.org", "a\torg", "mx:", "exp", "exp=", "exp=x", "exp=%{c}",
		"a:%{c}", "a:%{r}", "a:%{t}" };
	char record[100];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		snprintf(record, sizeof(record), "v=spf1 %s -all", good[i]);
		assert_int_equal(with(record), SPF_FAIL);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(record, sizeof(record), "v=spf1 +all %s", bad[i]);
		if (with(record) != SPF_PERMERROR)
			fail_msg("%s: %s", record, spf_result_text(out.result));
	}
	WITH("v=spf1 -all bog\xc3\xbcs", "permerror");
	assert_string_equal(out.reason, "example.org: \"bog??s\" makes no sense");
}

static void
test_a_nul_in_a_record(void **state)
{
	(void)state;
	zone_bytes(&zone, "example.org", DNS_TXT, 0, "v=spf1 a:x.org\0 +all", 20);
	assert_int_equal(check(), SPF_PERMERROR);
	zone_clear(&zone);
	zone_bytes(&zone, "example.org", DNS_TXT, 0, "v=spf1\0 +all", 12);
	assert_int_equal(check(), SPF_NONE);
	zone_clear(&zone);
	zone_bytes(&zone, "example.org", DNS_TXT, 0, "v=spf1 ip4:1.2.3.4\0", 19);
	assert_int_equal(check(), SPF_PERMERROR);
}

static void
test_the_limit_of_lookups(void **state)
{
	(void)state;
	zone_text(&zone, "example.org", DNS_A, "203.0.113.1");
	zone_text(&zone, "x.example.org", DNS_A, V4);
	WITH("v=spf1 a a a a a a a a a a ip4:192.0.2.1 -all", "pass");
	assert_int_equal(out.lookups, 10);
	WITH("v=spf1 a a a a a a a a a a a:x.example.org -all", "permerror");
	assert_string_equal(out.reason, "example.org: more than 10 DNS lookups");
	txt("five.example.org", "v=spf1 a:example.org a:example.org a:example.org a:example.org");
	WITH("v=spf1 include:five.example.org include:five.example.org ip4:192.0.2.1", "pass");
	WITH("v=spf1 include:five.example.org include:five.example.org a ip4:192.0.2.1", "permerror");
	WITH("v=spf1 a a a a a a a a exists:%{p}.%{p}.example.org ip4:192.0.2.1", "pass");
	assert_int_equal(out.lookups, 10);
	WITH("v=spf1 a a a a a a a a a exists:%{p}.example.org ip4:192.0.2.1", "permerror");
	txt("loop.example.org", "v=spf1 include:loop.example.org");
	WITH("v=spf1 include:loop.example.org +all", "permerror");
	txt("turn.example.org", "v=spf1 redirect=turn.example.org");
	WITH("v=spf1 redirect=turn.example.org", "permerror");
	assert_true(zone.asked < 200);
}

static void
test_the_limit_of_voids(void **state)
{
	(void)state;
	zone_text(&zone, "empty.example.org", ZONE_NAME, "");
	WITH("v=spf1 a:n1.example.org a:empty.example.org +all", "pass");
	assert_int_equal(out.voids, 2);
	WITH("v=spf1 a:n1.example.org a:n2.example.org exists:n3.example.org +all", "permerror");
	assert_string_equal(out.reason, "n3.example.org: more than 2 names that do not exist");
	WITH("v=spf1 a:n1.example.org mx:empty.example.org a:n2.example.org +all", "permerror");
	WITH("v=spf1 a:n1.example.org ptr exp=n2.example.org -all", "fail");
	txt("in.example.org", "v=spf1 a:n4.example.org a:n5.example.org");
	WITH("v=spf1 a:n1.example.org include:in.example.org +all", "permerror");
}

static void
test_time_is_up(void **state)
{
	(void)state;
	zone_text(&zone, "down.example.org", ZONE_TIMEOUT, "");
	who.deadline_ms = bs_now_ms();
	WITH("v=spf1 a:down.example.org +all", "temperror");
	assert_string_equal(out.reason, "down.example.org: time is up");
}

static void
test_identities(void **state)
{
	(void)state;
	txt("helo.example.net", "v=spf1 exists:%{l}.%{o}.ok -all");
	zone_text(&zone, "postmaster.helo.example.net.ok", DNS_A, "127.0.0.1");
	txt("example.org", "v=spf1 -all");
	who.sender = "";
	assert_int_equal(check(), SPF_PASS);
	assert_string_equal(out.domain, "helo.example.net");
	who.sender = "joe@example.org";
	assert_int_equal(check(), SPF_FAIL);
	who.identity = SPF_ID_HELO;
	assert_int_equal(check(), SPF_PASS);
	who.identity = SPF_ID_MAILFROM;
	who.sender = "@example.org";
	assert_string_equal(expand("%{l}"), "postmaster");
	who.sender = "\"a@b\"@EXAMPLE.org.";
	assert_string_equal(expand("%{l}|%{o}"), "\"a@b\"|EXAMPLE.org");
}

static void
test_what_has_no_domain(void **state)
{
	static const char *const senders[] = { "joe", "joe@", "joe@localhost", "joe@org.", "joe@[192.0.2.1]", "joe@a..org",
		"joe@.org", "joe@b\xc3\xbc" "cher.example", "joe@a b.org", "joe@\xff.org", "@", "joe@a\r\n.org", "joe@%{d}.org" };
	char text[700];

	(void)state;
	for (size_t i = 0; i < sizeof(senders) / sizeof(senders[0]); i++) {
		who.sender = senders[i];
		assert_int_equal(check(), SPF_NONE);
	}
	assert_int_equal(zone.asked, 0);
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	who.sender = text;
	assert_int_equal(check(), SPF_NONE);
	memcpy(text + 400, "@example.org", 13);
	assert_int_equal(check(), SPF_NONE);
	assert_string_equal(out.reason, "sender is too long");
	who.sender = "joe@example.org";
	memset(text, 'x', sizeof(text) - 1);
	who.helo = text;
	assert_int_equal(check(), SPF_NONE);
}

static void
test_a_label_of_63_and_of_64(void **state)
{
	char sender[100] = "joe@", *label = sender + 4;

	(void)state;
	memset(label, 'a', 63);
	strcpy(label + 63, ".org");
	txt(label, "v=spf1 -all");
	who.sender = sender;
	assert_int_equal(check(), SPF_FAIL);
	memset(label, 'a', 64);
	strcpy(label + 64, ".org");
	assert_int_equal(check(), SPF_NONE);
}

static void
test_clients_that_are_none(void **state)
{
	static const char *const clients[] = { "", "unknown", "192.0.2", "192.0.2.1/32", "IPv6:::1", "local" };

	(void)state;
	txt("example.org", "v=spf1 +all");
	for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
		who.client = clients[i];
		assert_int_equal(check(), SPF_NONE);
		assert_string_equal(out.reason, "client has no address");
	}
}

static void
test_an_idn_domain(void **state)
{
	(void)state;
	txt("xn--bcher-kva.example", "v=spf1 a:xn--bcher-kva.xn--p1ai -all");
	zone_text(&zone, "xn--bcher-kva.xn--p1ai", DNS_A, V4);
	who.sender = "joe@xn--bcher-kva.example";
	assert_int_equal(check(), SPF_PASS);
}

static void
test_libspf2_agrees_where_it_can(void **state)
{
	(void)state;
	txt("example.org", "v=spf1 mx ip4:203.0.113.0/24 include:other.example.net exp=why.example.org -all");
	txt("other.example.net", "v=spf1 ip6:2001:db8::/32 ~all");
	txt("why.example.org", "Go-away");
	mx("example.org", 10, "mx.example.org");
	zone_text(&zone, "mx.example.org", DNS_A, V4);
	spf_check(SPF_LIBSPF2, &who, &out);
	assert_int_equal(out.result, SPF_PASS);
	who.client = V6;
	spf_check(SPF_LIBSPF2, &who, &out);
	assert_int_equal(out.result, SPF_PASS);
	who.client = "203.0.114.1";
	spf_check(SPF_LIBSPF2, &who, &out);
	assert_int_equal(out.result, SPF_FAIL);
	assert_string_equal(out.explanation, "Go-away");
	assert_memory_equal(out.reason, "libspf2: ", 9);
	who.sender = "joe@nothing.example.org";
	spf_check(SPF_LIBSPF2, &who, &out);
	assert_int_equal(out.result, SPF_NONE);
	zone_text(&zone, "down.example.org", ZONE_TIMEOUT, "");
	who.sender = "joe@down.example.org";
	spf_check(SPF_LIBSPF2, &who, &out);
	assert_int_equal(out.result, SPF_TEMPERROR);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_which_record),
		TEST(test_all_and_qualifiers),
		TEST(test_ip4),
		TEST(test_ip6),
		TEST(test_a),
		TEST(test_mx),
		TEST(test_ptr),
		TEST(test_ptr_stops_after_ten_names),
		TEST(test_exists),
		TEST(test_include),
		TEST(test_redirect),
		TEST(test_other_modifiers_and_broken_terms),
		TEST(test_a_nul_in_a_record),
		TEST(test_the_limit_of_lookups),
		TEST(test_the_limit_of_voids),
		TEST(test_time_is_up),
		TEST(test_identities),
		TEST(test_what_has_no_domain),
		TEST(test_a_label_of_63_and_of_64),
		TEST(test_clients_that_are_none),
		TEST(test_an_idn_domain),
		TEST(test_libspf2_agrees_where_it_can),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
