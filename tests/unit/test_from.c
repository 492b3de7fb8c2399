/* milter/from: which domains stand in a From: field, whatever it looks like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "milter/from.h"

static const struct {
	const char *value, *domains; /* with blanks between */
	enum bs_err err;
} table[] = {
	{ "a@example.net", "example.net", BS_OK },
	{ " a@example.net", "example.net", BS_OK },
	{ " <a@example.net>", "example.net", BS_OK },
	{ " A <a@example.net>", "example.net", BS_OK },
	{ " A B C. D <a@EXAMPLE.net>", "example.net", BS_OK },
	{ " \"A, B\" <a@example.net>", "example.net", BS_OK },
	{ " \"x@other.net\" <a@example.net>", "example.net", BS_OK },
	{ " x@other.net <a@example.net>", "example.net", BS_OK },
	{ " \"x <y@other.net>\" <a@example.net>", "example.net", BS_OK },
	{ " \"a \\\" <x@other.net>\" <a@example.net>", "example.net", BS_OK },
	{ " a@example.net (A <x@other.net>)", "example.net", BS_OK },
	{ " (a (b) \\) c) a@example.net", "example.net", BS_OK },
	{ " a(x)@(y)example(z).net", "example.net", BS_OK },
	{ " a@example . net", "example.net", BS_OK },
	{ " a@example.\n\tnet", "example.net", BS_OK },
	{ "\n\t<a@example.net>", "example.net", BS_OK },
	{ " \"a@b\"@example.net", "example.net", BS_OK },
	{ " <\"a@b\"@example.net>", "example.net", BS_OK },
	{ " \"a b\"@example.net", "example.net", BS_OK },
	{ " <@r1.net,@r2.net:a@example.net>", "example.net", BS_OK },
	{ " < a@example.net >", "example.net", BS_OK },
	{ " a@example.net.", "example.net", BS_OK },
	{ " a@x.com", "x.com", BS_OK },
	{ " a@net", "net", BS_OK },
	{ " a@_x.example.net", "_x.example.net", BS_OK },
	{ " <a@example.net", "example.net", BS_OK },
	{ " \"never ends <a@example.net>", "example.net", BS_OK },
	{ " (never ends <a@example.net>", "example.net", BS_OK },
	{ " \"a\\", "", BS_ERR_FORMAT },
	{ " =?utf-8?q?A,_B?= <a@example.net>", "example.net", BS_OK },
	{ " =?utf-8?b?QUBC?= <a@example.net>", "example.net", BS_OK },
	{ " b\xc3\xbcro <a@example.net>", "example.net", BS_OK },
	{ " b\xc3\xbcro@example.net", "example.net", BS_OK },
	{ " xn--bcher-kva <a@xn--bcher-kva.example>", "xn--bcher-kva.example", BS_OK },
	/* Several. */
	{ " a@one.net, b@two.net", "one.net two.net", BS_OK },
	{ " A <a@one.net>, B <b@two.net>", "one.net two.net", BS_OK },
	{ " a@one.net, b@ONE.net", "one.net", BS_OK },
	{ " group: a@one.net, b@two.net;", "one.net two.net", BS_OK },
	{ " group: ;, a@one.net", "one.net", BS_OK },
	{ " a@one.net,, b@two.net,", "one.net two.net", BS_OK },
	{ " , a@one.net", "one.net", BS_OK },
	{ " x@other.net <a@one.net>, b@two.net", "one.net two.net", BS_OK },
	{ " <a@one.net> <b@two.net>", "one.net two.net", BS_OK },
	{ " a@1.net, a@2.net, a@3.net, a@4.net, a@5.net, a@6.net", "1.net 2.net 3.net 4.net 5.net", BS_ERR_LIMIT },
	/* None, or something else. */
	{ "", "", BS_ERR_FORMAT },
	{ " ", "", BS_ERR_FORMAT },
	{ " MAILER-DAEMON", "", BS_ERR_FORMAT },
	{ " <>", "", BS_ERR_FORMAT },
	{ " undisclosed: ;", "", BS_ERR_FORMAT },
	{ " a@", "", BS_ERR_FORMAT },
	{ " a@ <b", "", BS_ERR_FORMAT },
	{ " a@.", "", BS_ERR_FORMAT },
	{ " a@.net", "", BS_ERR_FORMAT },
	{ " a@example..net", "", BS_ERR_FORMAT },
	{ " a@[192.0.2.1]", "", BS_ERR_FORMAT },
	{ " a@b\xc3\xbc" "cher.example", "", BS_ERR_FORMAT },
	{ " a@example\xe2\x80\xa4net", "", BS_ERR_FORMAT },
	{ " a@exam!ple.net", "", BS_ERR_FORMAT },
	{ " <a@one.net@two.net>", "two.net", BS_ERR_FORMAT },
	{ " a@one.net, b@[192.0.2.1]", "one.net", BS_ERR_FORMAT },
	{ " a@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.net", "", BS_ERR_FORMAT },
};

static void
join(const struct from_domains *domains, char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < domains->n; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%s", i > 0 ? " " : "", domains->name[i]);
}

static void
test_domains(void **state)
{
	char got[2000];

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct from_domains domains = { 0 };
		enum bs_err err = from_domains(table[i].value, &domains);

		join(&domains, got, sizeof(got));
		if (err != table[i].err || strcmp(got, table[i].domains) != 0)
			fail_msg("\"%s\": %s, \"%s\"", table[i].value, bs_err_text(err), got);
	}
}

static void
test_fields_add_up(void **state)
{
	struct from_domains domains = { 0 };
	char got[200];

	(void)state;
	assert_int_equal(from_domains("a@one.net", &domains), BS_OK);
	assert_int_equal(from_domains("a@two.net", &domains), BS_OK);
	join(&domains, got, sizeof(got));
	assert_string_equal(got, "one.net two.net");
}

/* What makes a careless reader begin again at each byte. */
static void
test_long_fields_take_linear_time(void **state)
{
	static const char *const patterns[] = { "@", "(", "\"", "<", ",", "@<", "a@b,", "(\"", "<@:", "@(", "\\\"(", ". " };
	size_t size = 400000;
	char *value = malloc(size + 1);
	clock_t start = clock();

	(void)state;
	assert_non_null(value);
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		struct from_domains domains = { 0 };
		enum bs_err err;

		for (size_t n = 0; n < size; n++)
			value[n] = patterns[i][n % strlen(patterns[i])];
		value[size] = '\0';
		err = from_domains(value, &domains);
		(void)err;
	}
	free(value);
	assert_true(clock() - start < 5 * CLOCKS_PER_SEC);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_domains),
		cmocka_unit_test(test_fields_add_up),
		cmocka_unit_test(test_long_fields_take_linear_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
