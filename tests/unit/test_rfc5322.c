/* milter/rfc5322: a message taken apart, whatever pieces it comes in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "milter/rfc5322.h"

static char seen[400000];
static size_t n_seen;

static void
note(const char *data, size_t len)
{
	assert_true(n_seen + len < sizeof(seen));
	memcpy(seen + n_seen, data, len);
	n_seen += len;
	seen[n_seen] = '\0';
}

static void
on_header(void *ctx, const char *name, const char *value)
{
	(void)ctx;
	note("{", 1);
	note(name, strlen(name));
	note("|", 1);
	note(value, strlen(value));
	note("}", 1);
}

static void
on_body(void *ctx, const uint8_t *data, size_t len)
{
	(void)ctx;
	note((const char *)data, len);
}

/* What comes out of text fed in pieces of step bytes. */
static enum bs_err
split(const char *text, size_t len, size_t step)
{
	struct rfc5322 *s = rfc5322_new(&(struct rfc5322_sink){ .header = on_header, .body = on_body });
	enum bs_err err = BS_OK;

	assert_non_null(s);
	n_seen = 0;
	seen[0] = '\0';
	for (size_t i = 0; i < len && err == BS_OK; i += step)
		err = rfc5322_feed(s, (const uint8_t *)text + i, len - i < step ? len - i : step);
	if (err == BS_OK)
		err = rfc5322_end(s);
	rfc5322_free(s);
	return err;
}

static const struct {
	const char *in, *out;
} table[] = {
	{ "", "" },
	{ "A: b\n\nbody\n", "{A| b}body\r\n" },
	{ "A: b\r\n\r\nbody\r\n", "{A| b}body\r\n" },
	{ "A: b\r\n c\r\n\td\r\nB:x\r\n\r\n", "{A| b\n c\n\td}{B|x}" },
	{ "A:\r\n\r\n", "{A|}" },
	{ "A : b\r\n\r\n", "{A | b}" },
	{ "A: b", "{A| b}" },
	{ "A: b\n", "{A| b}" },
	{ "A: b\nno field\nC: d\n", "{A| b}no field\r\nC: d\r\n" },
	{ " begins with a blank\nA: b\n", " begins with a blank\r\nA: b\r\n" },
	{ ": no name\n", ": no name\r\n" },
	{ "\nbody", "body" },
	{ "\r\nbody\nmore\r\nbare\rcr\n", "body\r\nmore\r\nbare\rcr\r\n" },
	{ "A: b\n\n\n\nx", "{A| b}\r\n\r\nx" },
	{ "A:b:c\n\n", "{A|b:c}" },
};

static void
test_table_in_any_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		for (size_t step = 1; step < 8; step++) {
			assert_int_equal(split(table[i].in, strlen(table[i].in), step), BS_OK);
			assert_string_equal(seen, table[i].out);
		}
	}
}

static void
test_a_large_body_and_a_field_too_long(void **state)
{
	size_t len = 300000;
	char *text = malloc(len);

	(void)state;
	assert_non_null(text);
	memset(text, 'x', len);
	memcpy(text, "A: b\n\n", 6);
	assert_int_equal(split(text, len, 1000), BS_OK);
	assert_int_equal(n_seen, 6 + len - 6); /* "{A| b}" */
	memcpy(text, "A: bcd", 6);
	assert_int_equal(split(text, len, 1000), BS_ERR_LIMIT);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_in_any_pieces),
		cmocka_unit_test(test_a_large_body_and_a_field_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
