/* keyd/newpass: which passwords are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/vectors/keys.h"

#include "keyd/newpass.h"

#define USER "alexandra@example.org"

static bool
good(const char *password)
{
	size_t len = strlen(password);
	uint8_t *exact = malloc(len + 1); /* no NUL behind it */
	bool result;

	assert_non_null(exact);
	memcpy(exact, password, len);
	exact[len] = 0x80;
	result = newpass_is_good(USER, exact, len);
	free(exact);
	return result;
}

static void
test_good(void **state)
{
	static const char *const list[] = {
		"eight ch", "correct horse battery staple", "p\xc3\xa4ssw\xc3\xb6rter",
		"\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6", "\xf4\x8f\xbf\xbf\xef\xbf\xbd\xc2\xa0.....", "password!", "xpassword",
		"alexandra!", "example.org", "alexandra@example.or",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (!good(list[i]))
			fail_msg("\"%s\" is refused", list[i]);
}

static void
test_bad(void **state)
{
	static const char *const list[] = {
		"", "seven77", "s\xc3\xa4v\xc3\xa4n77", "\xf0\x9f\x98\x80\xf0\x9f\x98\x80", "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", "password", "PassWord", "12345678", "qwertyuiop", USER, "Alexandra@Example.ORG", "alexandra",
		"ALEXANDRA", KV2_APP, KV2_CODE,
		/* control characters */
		"tab\there...", "line\nfeed", "cr\r......", "escape\x1b..", "del\x7f....", "csi \xc2\x9b....", "nel \xc2\x85....",
		/* not UTF-8: a byte of Latin-1, a lone continuation, cut off, overlong, a surrogate, beyond the end */
		"p\xe4ssword", "\x80 .......", "....... \xc3", "....... \xe2\x82", "....... \xf0\x9f\x98", ".......\xc0\xaf",
		"......\xe0\x82\xaf", ".....\xf0\x82\x82\xac", "......\xed\xa0\x80", "......\xf4\x90\x80\x80", "......\xf8\x88\x80\x80",
		"......\xff\xfe", ".....\xc3(",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (good(list[i]))
			fail_msg("\"%s\" is taken", list[i]);
}

static void
test_a_NUL_is_a_control_character(void **state)
{
	(void)state;
	assert_false(newpass_is_good(USER, (const uint8_t *)"with a\0NUL", 10));
}

/* What another judge found right: all but nothing, and what keyd makes up. */
static void
test_is_password(void **state)
{
	static const char *const codes[] = { KV2_APP, KV2_CODE };

	(void)state;
	assert_true(newpass_is_password((const uint8_t *)"1", 1));
	assert_true(newpass_is_password((const uint8_t *)"\xff\0", 2));
	assert_false(newpass_is_password((const uint8_t *)"", 0));
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		assert_false(newpass_is_password((const uint8_t *)codes[i], strlen(codes[i])));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_a_NUL_is_a_control_character),
		cmocka_unit_test(test_is_password),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
