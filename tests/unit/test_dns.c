/* milter/dns and milter/dns_wire: names, reverse names, answers, and record data from the wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "milter/dns_unbound.h"
#include "milter/dns_wire.h"

static void
test_names(void **state)
{
	char label[65], longest[256];

	(void)state;
	memset(label, 'a', 63);
	label[63] = '\0';
	assert_true(dns_name_ok("example.org") && dns_name_ok("example.org.") && dns_name_ok("org"));
	assert_true(dns_name_ok(label) && dns_name_ok("foo:bar/baz %.x"));
	assert_false(dns_name_ok("") || dns_name_ok(".") || dns_name_ok("..") || dns_name_ok(".org") || dns_name_ok("a..b"));
	assert_false(dns_name_ok("a.b.."));
	memset(label, 'a', 64);
	label[64] = '\0';
	assert_false(dns_name_ok(label));
	for (size_t i = 0; i < sizeof(longest); i++)
		longest[i] = i % 2 ? '.' : 'a';
	longest[253] = '\0';
	assert_true(dns_name_ok(longest));
	longest[253] = '.';
	longest[254] = '\0';
	assert_true(dns_name_ok(longest));
	longest[254] = 'a';
	longest[255] = '\0';
	assert_false(dns_name_ok(longest));
}

static void
test_reverse_names(void **state)
{
	static const uint8_t v6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 0xfe };
	char out[DNS_REVERSE_MAX];

	(void)state;
	dns_reverse((const uint8_t[]){ 192, 0, 2, 255 }, 4, out);
	assert_string_equal(out, "255.2.0.192.in-addr.arpa");
	dns_reverse(v6, 16, out);
	assert_string_equal(out, "e.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
	assert_int_equal(strlen(out) + 1, DNS_REVERSE_MAX);
}

static void
test_answers(void **state)
{
	struct dns_answer *answer = dns_answer_new(3, 5);

	(void)state;
	dns_answer_add(answer, "abc", 3, 10);
	dns_answer_add(answer, NULL, 0, 0);
	dns_answer_add(answer, "de", 2, 20);
	assert_int_equal(answer->n, 3);
	assert_string_equal((const char *)answer->records[0].data, "abc");
	assert_string_equal((const char *)answer->records[1].data, "");
	assert_string_equal((const char *)answer->records[2].data, "de");
	assert_int_equal(answer->records[2].preference, 20);
	assert_ptr_equal(dns_answer_ref(answer), answer);
	dns_answer_unref(answer);
	assert_string_equal((const char *)answer->records[0].data, "abc");
	dns_answer_unref(answer);
	dns_answer_unref(NULL);
	assert_string_equal(dns_status_text(DNS_TEMPORARY), "temporary failure");
}

static void
test_escaped_names(void **state)
{
	char out[DNS_ESCAPED_MAX], longest[DNS_NAME_MAX + 1];

	(void)state;
	dns_wire_escape("a-b_c.Example.org", out);
	assert_string_equal(out, "a-b_c.Example.org");
	dns_wire_escape("a b\\.\"@\xff.org", out);
	assert_string_equal(out, "a\\032b\\092.\\034\\064\\255.org");
	memset(longest, '%', DNS_NAME_MAX);
	longest[DNS_NAME_MAX] = '\0';
	dns_wire_escape(longest, out);
	assert_int_equal(strlen(out), 4 * DNS_NAME_MAX);
}

/* The text of the record that the wire form becomes, NULL if it is refused. */
static const char *
taken(enum dns_type type, const char *rdata, size_t len)
{
	static char text[600];
	struct dns_answer *answer = dns_answer_new(1, len);
	enum bs_err err = dns_wire_add(answer, type, (const uint8_t *)rdata, len);

	if (err == BS_OK) {
		assert_int_equal(answer->n, 1);
		assert_true(answer->records[0].len <= len && answer->records[0].len < sizeof(text));
		memcpy(text, answer->records[0].data, answer->records[0].len + 1);
		snprintf(text + strlen(text), 20, "|%zu|%u", answer->records[0].len, answer->records[0].preference);
	} else {
		assert_int_equal(answer->n, 0);
	}
	dns_answer_unref(answer);
	return err == BS_OK ? text : NULL;
}

#define TAKEN(type, rdata) taken(type, rdata, sizeof(rdata) - 1)

static void
test_record_data(void **state)
{
	(void)state;
	assert_string_equal(TAKEN(DNS_A, "1234"), "1234|4|0");
	assert_null(TAKEN(DNS_A, "12345"));
	assert_null(TAKEN(DNS_AAAA, "1234"));
	assert_string_equal(TAKEN(DNS_AAAA, "0123456789abcdef"), "0123456789abcdef|16|0");
	assert_string_equal(TAKEN(DNS_PTR, "\2mx\7example\0"), "mx.example|10|0");
	assert_string_equal(TAKEN(DNS_MX, "\1\2\2mx\7example\0"), "mx.example|10|258");
	assert_string_equal(TAKEN(DNS_MX, "\0\0\0"), "|0|0");
	assert_string_equal(TAKEN(DNS_TXT, "\3abc\0\1d"), "abcd|4|0");
	assert_string_equal(TAKEN(DNS_TXT, ""), "|0|0");
	assert_null(TAKEN(DNS_TXT, "\4abc"));
	assert_null(TAKEN(DNS_MX, "\0\1"));
	assert_null(TAKEN(DNS_PTR, ""));
	assert_null(TAKEN(DNS_PTR, "\2mx"));
	assert_null(TAKEN(DNS_PTR, "\3mx\0"));
	assert_null(TAKEN(DNS_PTR, "\2mx\0x"));
	assert_null(TAKEN(DNS_PTR, "\3m.x\0"));
	assert_null(taken(DNS_PTR, "\3m\0x\0", 5));
	assert_null(TAKEN(DNS_PTR, "\xc0\1\0"));
	assert_null(TAKEN((enum dns_type)99, "abc"));
}

static void
test_names_of_the_greatest_length(void **state)
{
	char rdata[300];
	size_t n = 0;

	(void)state;
	for (; n < 4 * 62; n += 62) { /* four labels of 61: 247 as text */
		rdata[n] = 61;
		memset(rdata + n + 1, 'a', 61);
	}
	memcpy(rdata + n, "\5aaaaa\0", 7);
	assert_non_null(taken(DNS_PTR, rdata, n + 7));
	memcpy(rdata + n, "\6aaaaaa\0", 8);
	assert_null(taken(DNS_PTR, rdata, n + 8));
}

static void
test_settings_that_are_none(void **state)
{
	struct dns_unbound_settings settings = { .servers = "not an address", .cache_entries = 1, .pending_max = 1 };
	struct dns_unbound *resolver = NULL;

	(void)state;
	assert_int_equal(dns_unbound_new(&settings, &resolver), BS_ERR_ARG);
	assert_null(resolver);
	dns_unbound_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_reverse_names),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_escaped_names),
		cmocka_unit_test(test_record_data),
		cmocka_unit_test(test_names_of_the_greatest_length),
		cmocka_unit_test(test_settings_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
