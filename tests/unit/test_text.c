/* hex, base64, utf8: RFC 4648's vectors, and what is neither. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base64.h"
#include "hex.h"
#include "utf8.h"

static void
base64_vectors(void **state)
{
	static const char *const pairs[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" }, { "\xfb\xff\xbf", "+/+/" } };
	char text[64];
	uint8_t data[64];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		size_t n = bs_base64_encode(pairs[i][0], strlen(pairs[i][0]), text);

		assert_int_equal(n, strlen(pairs[i][1]));
		assert_int_equal(n, BS_BASE64_LEN(strlen(pairs[i][0])));
		assert_memory_equal(text, pairs[i][1], n);
		assert_int_equal(bs_base64_decode(text, n, data, sizeof(data), &len), BS_OK);
		assert_int_equal(len, strlen(pairs[i][0]));
		assert_memory_equal(data, pairs[i][0], len);
	}
	assert_int_equal(bs_base64_decode(" Zm9v\r\n\tYmFy ", 13, data, 6, &len), BS_OK);
	assert_int_equal(len, 6);
	assert_int_equal(bs_base64_decode("Zm9vYmFy", 8, data, 5, &len), BS_ERR_LIMIT);
}

static void
base64_refused(void **state)
{
	static const char *const bad[] = { "Z", "Zg", "Zg=", "Zg===", "Zg==Zg==", "Z===", "Zh==", "Zm9=", "Zm9v=", "====", "Zm-v",
		"Zm9v\\" };
	uint8_t data[64];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(bs_base64_decode(bad[i], strlen(bad[i]), data, sizeof(data), &len), BS_ERR_FORMAT);
	assert_int_equal(bs_base64_decode("Zm\0v", 4, data, sizeof(data), &len), BS_ERR_FORMAT);
}

static void
hex(void **state)
{
	static const uint8_t data[] = { 0x00, 0x9a, 0xff };
	char text[6];
	uint8_t back[3];

	(void)state;
	bs_hex_encode(data, 3, text);
	assert_memory_equal(text, "009aff", 6);
	assert_true(bs_hex_decode(text, back, 3));
	assert_memory_equal(back, data, 3);
	assert_false(bs_hex_decode("009aFf", back, 3));
	assert_false(bs_hex_decode("0", back, 1));
}

static void
utf8(void **state)
{
	static const char *const good[] = { "", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x93\xa7", "a b" };
	static const char *const bad[] = { "\x1f", "\x7f", "\xc2\x85", "\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80", "\xff",
		"a\n" };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(bs_utf8_is_text(good[i], strlen(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(bs_utf8_is_text(bad[i], strlen(bad[i])));
	assert_int_equal(bs_utf8_char("\xe2\x82\xac", 2), 0);
	assert_int_equal(bs_utf8_length("a\xe2\x82\xac\xf0\x9f\x98\x80", 8), 3);
	assert_int_equal(bs_utf8_length("a\xe2\x82", 3), 0);
	assert_int_equal(bs_utf8_char("", 0), 0);
}

static void
utf8_names(void **state)
{
	static const char *const good[] = { "", "Pixel 9, b\xc3\xbcro", "\xe2\x80\x8d\xe2\x80\x90\xe2\x80\xa7\xe2\x80\xaf", "\xe2\x81\xa5\xe2\x81\xaa", "\xd8\x9b",
		"\xf0\x9f\x98\x80" };
	static const char *const bad[] = { "a\tb", "\xff", "\xd8\x9c", "\xe2\x80\x8e", "\xe2\x80\x8f", "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaa",
		"x\xe2\x80\xae", "\xe2\x81\xa6", "\xe2\x81\xa9" };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(bs_utf8_is_name(good[i], strlen(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(bs_utf8_is_name(bad[i], strlen(bad[i])));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64_vectors),
		cmocka_unit_test(base64_refused),
		cmocka_unit_test(hex),
		cmocka_unit_test(utf8),
		cmocka_unit_test(utf8_names),
	};

	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
