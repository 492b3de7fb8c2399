/* milter/authres: whose header it is, in every spelling, and what we write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "milter/authres.h"

#define ID "mx.example.org"

static const struct {
	const char *value;
	bool ours;
} table[] = {
	{ "mx.example.org; none", true },
	{ " mx.example.org;dkim=pass", true },
	{ "MX.EXAMPLE.ORG; none", true },
	{ "mx.example.org.; none", true },
	{ "mx.example.org", true },
	{ "mx.example.org 1; none", true },
	{ "mx.example.org (v) 1 (w) ; none", true },
	{ "\r\n mx.example.org\r\n ;\r\n none", true },
	{ "\n\tmx.example.org\n\t;none", true },
	{ "(c) mx.example.org; none", true },
	{ "(c (d) \\) (e)) mx.example.org; none", true },
	{ "\"mx.example.org\"; none", true },
	{ "\"mx\\.example\\.org\" 1; none", true },
	/* Follows no grammar: taken for ours. */
	{ "", true },
	{ " \t", true },
	{ ";", true },
	{ "(", true },
	{ "(a", true },
	{ "(a\\", true },
	{ "\"mx2.example.org", true },
	{ "\"mx2.example.org\\", true },
	{ "mx2.example.org x; none", true },
	{ "mx2.example.org =; none", true },
	{ "mx2.example.org/1; none", true },
	{ "=?utf-8?q?mx.example.org?=; none", true },
	/* Others'. */
	{ "mx2.example.org; none", false },
	{ "example.org; none", false },
	{ "amx.example.org; none", false },
	{ "mx.example.orga; none", false },
	{ "mx.example.org.net; none", false },
	{ "\"mx .example.org\"; none", false },
	{ "(mx.example.org) other; none", false },
	{ "other; mx.example.org; none", false },
	{ "other", false },
	{ "\"\"; none", false },
	{ "m\xc3\xbcx.example.org; none", false },
};

static void
test_claims(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (authres_claims(table[i].value, ID) != table[i].ours)
			fail_msg("\"%s\"", table[i].value);
}

static void
test_too_long_an_id_is_removed(void **state)
{
	char value[2000];

	(void)state;
	memset(value, 'a', sizeof(value));
	snprintf(value + 1900, 10, "; none");
	assert_true(authres_claims(value, ID));
}

/* Comments, folds and case put anywhere that the grammar allows them never hide our name. */
static void
test_no_decoration_hides_it(void **state)
{
	static const char *const blanks[] = { "", " ", "\t", "\r\n ", "\n\t", "(x)", " (x(y)z) ", "(\\()", "(\")\")", "\n (;) " };
	char value[600], name[sizeof(ID)];

	(void)state;
	srand(7);
	for (int round = 0; round < 20000; round++) {
		size_t n = 0;

		for (size_t i = 0; i < sizeof(ID); i++)
			name[i] = (char)(rand() % 2 ? ID[i] : (ID[i] >= 'a' && ID[i] <= 'z') ? ID[i] - 'a' + 'A' : ID[i]);
		for (int i = rand() % 4; i > 0; i--)
			n += (size_t)snprintf(value + n, sizeof(value) - n, "%s", blanks[rand() % 10]);
		n += (size_t)snprintf(value + n, sizeof(value) - n, rand() % 2 ? "%s" : "\"%s\"", name);
		for (int i = rand() % 4; i > 0; i--)
			n += (size_t)snprintf(value + n, sizeof(value) - n, "%s", blanks[rand() % 10]);
		n += (size_t)snprintf(value + n, sizeof(value) - n, rand() % 2 ? "; dkim=pass" : " 1; spf=pass");
		if (!authres_claims(value, ID))
			fail_msg("\"%s\"", value);
	}
}

static enum bs_err
write_login(const char *method, const char *login, char *out, size_t size)
{
	struct session *session;
	enum bs_err err;

	assert_int_equal(session_new(&session), BS_OK);
	assert_int_equal(session_set(session, &session->auth_method, method), BS_OK);
	assert_int_equal(session_set(session, &session->auth_login, login), BS_OK);
	err = authres_write(ID, session, out, size);
	session_free(session);
	return err;
}

static void
check_written(const char *method, const char *login, const char *expected)
{
	char out[AUTHRES_MAX];

	assert_int_equal(write_login(method, login, out, sizeof(out)), BS_OK);
	assert_string_equal(out, expected);
	assert_true(authres_claims(out, ID));
}

/* Everything at once, and what a stranger put into his domain. */
static void
test_write_results(void **state)
{
	static const struct auth auth = {
		.mailfrom = { .done = true, .result = SPF_FAIL, .domain = "example.net", .reason = "-all" },
		.helo = { .done = true, .result = SPF_NONE, .domain = "mx.example.net" },
		.dkim = { { AUTH_DKIM_PASS, "example.net", "s1", "rsa-sha256", "abcDEF12", "" },
		    { AUTH_DKIM_FAIL, "ex\"am;ple", "s 2", "", "", "body hash" } },
		.n_dkim = 2, .dkim_done = true,
		.dmarc = { .done = true, .result = AUTH_DMARC_FAIL, .policy = AUTH_DMARC_P_REJECT, .from = "example.net" },
	};
	struct session *session;
	char out[AUTHRES_MAX];

	(void)state;
	assert_int_equal(session_new(&session), BS_OK);
	assert_int_equal(session_set(session, &session->helo, "mx.example.net"), BS_OK);
	assert_int_equal(session_set(session, &session->msg.sender, "a@example.net"), BS_OK);
	session->msg.auth = auth;
	assert_int_equal(authres_write(ID, session, out, sizeof(out)), BS_OK);
	assert_string_equal(out, " mx.example.org;\n\tspf=fail (-all) smtp.mailfrom=a@example.net;"
	    "\n\tspf=none smtp.helo=mx.example.net;"
	    "\n\tdkim=pass header.d=example.net header.s=s1 header.a=rsa-sha256 header.b=abcDEF12;"
	    "\n\tdkim=fail (body hash) header.d=\"ex\\\"am;ple\" header.s=\"s 2\";"
	    "\n\tdmarc=fail (p=reject) header.from=example.net");
	assert_true(authres_claims(out, ID));
	session->msg.auth = (struct auth){ .dkim_done = true };
	assert_int_equal(authres_write(ID, session, out, sizeof(out)), BS_OK);
	assert_string_equal(out, " mx.example.org;\n\tdkim=none");
	session_free(session);
}

static void
test_write(void **state)
{
	(void)state;
	check_written("", "", " mx.example.org; none");
	check_written("PLAIN", "alice@example.org", " mx.example.org;\n\tauth=pass (PLAIN) smtp.auth=alice@example.org");
	check_written("", "alice", " mx.example.org;\n\tauth=pass smtp.auth=alice");
	check_written("x) y (", "alice", " mx.example.org;\n\tauth=pass smtp.auth=alice");
	check_written("", "a b", " mx.example.org;\n\tauth=pass smtp.auth=\"a b\"");
	check_written("", "a\"\\b", " mx.example.org;\n\tauth=pass smtp.auth=\"a\\\"\\\\b\"");
	check_written("", "a\r\nX: y\x80", " mx.example.org;\n\tauth=pass smtp.auth=\"a??X: y?\"");
}

static void
test_write_is_bounded(void **state)
{
	char login[5000], out[AUTHRES_MAX];

	(void)state;
	memset(login, '"', sizeof(login) - 1);
	login[sizeof(login) - 1] = '\0';
	assert_int_equal(write_login("", login, out, sizeof(out)), BS_OK);
	assert_true(authres_claims(out, ID));
	assert_int_equal(write_login("", "alice", out, 20), BS_ERR_LIMIT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_too_long_an_id_is_removed),
		cmocka_unit_test(test_no_decoration_hides_it),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_write_results),
		cmocka_unit_test(test_write_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
