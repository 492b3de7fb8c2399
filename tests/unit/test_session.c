/* milter/session: facts, budgets and counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "milter/expand.h"
#include "milter/session.h"

static int
setup(void **state)
{
	return session_new((struct session **)state) == BS_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	session_free(*state);
	return 0;
}

static void
test_strings(void **state)
{
	struct session *s = *state;

	assert_string_equal(s->helo, "");
	assert_int_equal(session_set(s, &s->helo, "one"), BS_OK);
	assert_int_equal(session_set(s, &s->helo, "other"), BS_OK);
	assert_string_equal(s->helo, "other");
	assert_int_equal(session_set(s, &s->helo, ""), BS_OK);
	assert_string_equal(s->helo, "");
	assert_int_equal(s->bytes, 0);
}

static void
test_sender_and_size(void **state)
{
	struct session *s = *state;
	char body[] = "BODY=8BITMIME", size[] = "size=12345";
	char *args[] = { body, size, NULL };

	assert_int_equal(session_begin_message(s, "<a@b.org>", args), BS_OK);
	assert_string_equal(s->msg.sender, "a@b.org");
	assert_int_equal(s->msg.size_declared, 12345);
	assert_true(s->msg.open);
	assert_int_equal(session_begin_message(s, "<>", NULL), BS_OK);
	assert_string_equal(s->msg.sender, "");
	assert_int_equal(s->msg.size_declared, 0);
	assert_int_equal(session_begin_message(s, "bare@b.org", NULL), BS_OK);
	assert_string_equal(s->msg.sender, "bare@b.org");
}

static void
test_recipients_as_postfix_reads_them(void **state)
{
	static const struct {
		const char *given, *address;
	} list[] = {
		{ "<\"alice\"@example.org>", "alice@example.org" }, { "<\"a b\"@example.org>", "\"a b\"@example.org" },
		{ "<\"a\"b\"@example.org>", "\"a\"b\"@example.org" }, { "<\"\"@example.org>", "\"\"@example.org" },
		{ "<@r.org,@s.org:alice@example.org>", "alice@example.org" }, { "<@r.org>", "@r.org" },
		{ "<@r.org:\"al.ice\"@example.org.>", "al.ice@example.org" }, { "<@:>", "" }, { "<.>", "" }, { "<\">", "\"" },
	};
	struct session *s = *state;
	struct recipient *r = NULL;

	assert_int_equal(session_begin_message(s, "<>", NULL), BS_OK);
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		assert_int_equal(session_add_recipient(s, list[i].given, &r), BS_OK);
		assert_string_equal(r->address, list[i].address);
	}
	session_end_message(s);
	assert_int_equal(s->bytes, 0);
}

static void
test_recipients_stay_where_they_are(void **state)
{
	struct session *s = *state;
	struct recipient *first = NULL, *r = NULL;
	char text[40];

	assert_int_equal(session_begin_message(s, "<>", NULL), BS_OK);
	for (int i = 0; i < SESSION_RECIPIENTS_MAX; i++) {
		snprintf(text, sizeof(text), "<r%d@example.org>", i);
		assert_int_equal(session_add_recipient(s, text, &r), BS_OK);
		if (i == 0)
			first = r;
	}
	assert_ptr_equal(s->msg.recipients[0], first);
	r->res = resolution_new(RESOLVE_UNKNOWN, NULL); /* freed with the recipient: AddressSanitizer looks */
	assert_string_equal(first->address, "r0@example.org");
	assert_string_equal(s->msg.recipients[999]->address, "r999@example.org");
	assert_int_equal(session_add_recipient(s, "<x@example.org>", &r), BS_ERR_LIMIT);
	assert_int_equal(s->msg.n_recipients, SESSION_RECIPIENTS_MAX);
	session_end_message(s);
	assert_int_equal(s->msg.n_recipients, 0);
	assert_int_equal(s->bytes, 0);
}

static void
test_budget(void **state)
{
	static char big[SESSION_BYTES_MAX / 4];
	struct session *s = *state;
	struct recipient *r = NULL;

	memset(big, 'a', sizeof(big) - 1);
	assert_int_equal(session_begin_message(s, big, NULL), BS_OK);
	for (int i = 0; i < 3; i++)
		assert_int_equal(session_add_recipient(s, big, &r), BS_OK);
	assert_int_equal(session_add_recipient(s, big, &r), BS_ERR_LIMIT);
	assert_int_equal(s->msg.n_recipients, 3);
	assert_int_equal(session_set(s, &s->helo, "one more"), BS_ERR_LIMIT);
	assert_string_equal(s->helo, "");
	session_end_message(s);
	assert_int_equal(session_set(s, &s->helo, "one more"), BS_OK);
}

static void
test_headers_are_counted_by_name(void **state)
{
	struct session *s = *state;
	struct header_ref ref;
	char name[24];

	assert_int_equal(session_begin_message(s, "<>", NULL), BS_OK);
	assert_int_equal(session_count_header(s, "Authentication-Results", &ref), BS_OK);
	assert_int_equal(session_count_header(s, "X-Basalt-A", &ref), BS_OK);
	assert_int_equal(ref.index, 1);
	assert_int_equal(session_count_header(s, "AUTHENTICATION-results", &ref), BS_OK);
	assert_int_equal(ref.index, 2);
	for (int i = 2; i < SESSION_NAMES_MAX; i++) {
		snprintf(name, sizeof(name), "X-Basalt-%d", i);
		assert_int_equal(session_count_header(s, name, &ref), BS_OK);
	}
	assert_int_equal(session_count_header(s, "X-Basalt-one-more", &ref), BS_ERR_LIMIT);
	assert_int_equal(session_count_header(s, "x-basalt-a", &ref), BS_OK);
	assert_int_equal(ref.index, 2);
}

static void
test_forged_are_bounded(void **state)
{
	struct session *s = *state;
	struct header_ref ref = { "X", 0 };

	assert_int_equal(session_begin_message(s, "<>", NULL), BS_OK);
	for (unsigned i = 1; i <= SESSION_FORGED_MAX; i++) {
		ref.index = i;
		assert_int_equal(session_add_forged(s, &ref), BS_OK);
	}
	assert_int_equal(session_add_forged(s, &ref), BS_ERR_LIMIT);
	for (unsigned i = 1; i <= SESSION_FORGED_MAX; i++)
		assert_int_equal(s->msg.forged[i - 1].index, i);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_strings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sender_and_size, setup, teardown),
		cmocka_unit_test_setup_teardown(test_recipients_as_postfix_reads_them, setup, teardown),
		cmocka_unit_test_setup_teardown(test_recipients_stay_where_they_are, setup, teardown),
		cmocka_unit_test_setup_teardown(test_budget, setup, teardown),
		cmocka_unit_test_setup_teardown(test_headers_are_counted_by_name, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forged_are_bounded, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
