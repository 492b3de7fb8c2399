#include "address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void
test_good_addresses(void **state)
{
	static const char *const pairs[][2] = {
		{ "alice@example.org", "alice@example.org" },
		{ "Alice.B@EXAMPLE.Org", "alice.b@example.org" },
		{ "a+b@x", "a+b@x" },
		{ "o'neil_#&=~-9@xn--bcher-kva.example", "o'neil_#&=~-9@xn--bcher-kva.example" },
	};
	char out[BS_ADDRESS_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		assert_int_equal(bs_address_parse(pairs[i][0], out), BS_OK);
		assert_string_equal(out, pairs[i][1]);
	}
}

static void
test_bad_addresses(void **state)
{
	static const char *const bad[] = { "", "@", "a", "a@", "@b", "a@@b", "a@b@c", ".a@b", "a.@b", "a..b@c", "a b@c", "a@b c",
		"a@-b", "a@b-", "a@.b", "a@b.", "a@b..c", "a@b_c", "a/b@c", "../../etc@c", "a%b@c", "a!b@c", "\"a\"@b", "a`b@c", "a|b@c",
		"a$b@c", "a{b@c", "a\\b@c", "a\nb@c", "a@b\n", "a*@b", "\xc3\xa9@b", "a@\xc3\xa9", "a,b@c", "a;b@c", "<a@b>", "a(b)@c",
		"a@[127.0.0.1]", "a\x7f@b", "a@b\t" };
	char out[BS_ADDRESS_MAX + 1] = "untouched";

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (bs_address_parse(bad[i], out) != BS_ERR_ARG)
			fail_msg("taken: %s", bad[i]);
		assert_string_equal(out, "untouched");
	}
}

static void
test_lengths(void **state)
{
	char text[400], out[BS_ADDRESS_MAX + 1];

	(void)state;
	for (size_t local = 63; local <= 66; local++) {
		memset(text, 'a', local);
		memcpy(text + local, "@b", 3);
		assert_int_equal(bs_address_parse(text, out), local <= 64 ? BS_OK : BS_ERR_ARG);
	}
	for (size_t label = 62; label <= 65; label++) {
		memset(text, 'a', label);
		text[label] = '\0';
		assert_int_equal(bs_domain_parse(text, out), label <= 63 ? BS_OK : BS_ERR_ARG);
	}
	for (size_t len = 252; len <= 256; len++) { /* the domain alone */
		for (size_t i = 0; i < len; i++)
			text[i] = i % 50 == 49 ? '.' : 'a';
		text[len - 1] = 'a';
		text[len] = '\0';
		assert_int_equal(bs_domain_parse(text, out), len <= 253 ? BS_OK : BS_ERR_ARG);
	}
	for (size_t len = 253; len <= 256; len++) { /* the whole address */
		for (size_t i = 0; i < len; i++)
			text[i] = i % 50 == 49 ? '.' : 'a';
		text[10] = '@';
		text[len - 1] = 'a';
		text[len] = '\0';
		assert_int_equal(bs_address_parse(text, out), len <= 254 ? BS_OK : BS_ERR_ARG);
	}
}

static void
test_base_and_domain(void **state)
{
	static const char *const pairs[][2] = {
		{ "a@b", "a@b" }, { "a+x@b", "a@b" }, { "a+x+y@b", "a@b" }, { "+x@b", "+x@b" }, { "a+@b", "a@b" },
	};
	char out[BS_ADDRESS_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		bs_address_base(pairs[i][0], out);
		assert_string_equal(out, pairs[i][1]);
		assert_string_equal(bs_address_domain(pairs[i][0]), "b");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_addresses),
		cmocka_unit_test(test_bad_addresses),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_base_and_domain),
	};

	return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
