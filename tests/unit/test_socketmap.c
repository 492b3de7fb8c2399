/* milter/netstring and milter/socketmap: frames, requests and answers, without a socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "milter/netstring.h"
#include "milter/socketmap.h"

static enum bs_err
parse(const char *text, size_t max, size_t *start, size_t *len, size_t *used)
{
	return netstring_parse((const uint8_t *)text, strlen(text), max, start, len, used);
}

static void
test_frames(void **state)
{
	static const struct {
		const char *text;
		enum bs_err err;
		size_t start, len, used;
	} table[] = {
		{ "3:abc,", BS_OK, 2, 3, 6 },       { "3:abc,rest", BS_OK, 2, 3, 6 }, { "0:,", BS_OK, 2, 0, 3 },
		{ "10:0123456789,", BS_OK, 3, 10, 14 }, { "", BS_ERR_SHORT, 0, 0, 0 },    { "3", BS_ERR_SHORT, 0, 0, 0 },
		{ "3:", BS_ERR_SHORT, 0, 0, 0 },    { "3:abc", BS_ERR_SHORT, 0, 0, 0 }, { "3:abcd", BS_ERR_FORMAT, 0, 0, 0 },
		{ ":,", BS_ERR_FORMAT, 0, 0, 0 },   { "a:,", BS_ERR_FORMAT, 0, 0, 0 },  { "03:abc,", BS_ERR_FORMAT, 0, 0, 0 },
		{ "-3:abc,", BS_ERR_FORMAT, 0, 0, 0 }, { "3 :abc,", BS_ERR_FORMAT, 0, 0, 0 },
		{ "20", BS_ERR_SHORT, 0, 0, 0 },    { "21", BS_ERR_LIMIT, 0, 0, 0 },
		{ "99999999999999999999999999", BS_ERR_LIMIT, 0, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		size_t start = 0, len = 0, used = 0;

		if (parse(table[i].text, 20, &start, &len, &used) != table[i].err)
			fail_msg("\"%s\"", table[i].text);
		assert_int_equal(start, table[i].start);
		assert_int_equal(len, table[i].len);
		assert_int_equal(used, table[i].used);
	}
}

static void
test_append_is_parsed_again(void **state)
{
	char payload[300];

	(void)state;
	memset(payload, 'x', sizeof(payload));
	for (size_t n = 0; n <= sizeof(payload); n++) {
		struct bs_buf *buf = bs_buf_new(400);
		size_t start = 0, len = 0, used = 0;

		assert_int_equal(netstring_append(buf, payload, n), BS_OK);
		assert_int_equal(netstring_parse(bs_buf_data(buf), bs_buf_len(buf), 300, &start, &len, &used), BS_OK);
		assert_int_equal(len, n);
		assert_int_equal(used, bs_buf_len(buf));
		bs_buf_free(buf);
	}
}

static void
test_append_leaves_nothing_half_written(void **state)
{
	struct bs_buf *buf = bs_buf_new(10);

	(void)state;
	assert_int_equal(netstring_append(buf, "12345678", 8), BS_ERR_LIMIT);
	assert_int_equal(bs_buf_len(buf), 0);
	bs_buf_free(buf);
}

static void
test_requests(void **state)
{
	struct socketmap_query query;

	(void)state;
	assert_int_equal(socketmap_parse((const uint8_t *)"aliases a b@c", 13, &query), BS_OK);
	assert_int_equal(query.name, SOCKETMAP_ALIASES);
	assert_string_equal(query.key, "a b@c");
	assert_int_equal(socketmap_parse((const uint8_t *)"domains ", 8, &query), BS_OK);
	assert_string_equal(query.key, "");
	assert_int_equal(socketmap_parse((const uint8_t *)"domain x", 8, &query), BS_ERR_NOENT);
	assert_int_equal(socketmap_parse((const uint8_t *)"domainsx x", 10, &query), BS_ERR_NOENT);
	assert_int_equal(socketmap_parse((const uint8_t *)" x", 2, &query), BS_ERR_NOENT);
	assert_int_equal(socketmap_parse((const uint8_t *)"domains", 7, &query), BS_ERR_FORMAT);
	assert_int_equal(socketmap_parse((const uint8_t *)"domains a\0b", 11, &query), BS_ERR_FORMAT);
	assert_int_equal(socketmap_parse((const uint8_t *)"", 0, &query), BS_ERR_FORMAT);
}

/* A resolution on the heap with these targets, NULL-ended. */
static struct resolution *
make(enum resolve_state state, const char *why, const char *const *targets)
{
	struct resolution *res = calloc(1, sizeof(*res) + 8 * sizeof(struct resolution_target));

	assert_non_null(res);
	atomic_init(&res->refs, 1);
	res->state = state;
	res->why = why;
	for (; targets != NULL && targets[res->n] != NULL; res->n++)
		res->targets[res->n].address = strdup(targets[res->n]);
	return res;
}

static void
test_answers(void **state)
{
	static const char *const two[] = { "a@x.org", "b@y.org", NULL };
	static const struct {
		enum resolve_state state;
		const char *domains, *recipients, *aliases, *senders;
	} table[] = {
		{ RESOLVE_FOREIGN, "9:NOTFOUND ,", "9:NOTFOUND ,", "9:NOTFOUND ,", "9:NOTFOUND ," },
		{ RESOLVE_DOMAIN, "4:OK 1,", "9:NOTFOUND ,", "9:NOTFOUND ,", "9:NOTFOUND ," },
		{ RESOLVE_ACCOUNT, "9:NOTFOUND ,", "4:OK 1,", "9:NOTFOUND ,", "13:OK a@x, b@x.y," },
		{ RESOLVE_ALIAS, "9:NOTFOUND ,", "9:NOTFOUND ,", "19:OK a@x.org, b@y.org,", "13:OK a@x, b@x.y," },
		{ RESOLVE_UNKNOWN, "9:NOTFOUND ,", "9:NOTFOUND ,", "9:NOTFOUND ,", "9:NOTFOUND ," },
		{ RESOLVE_DISABLED, "9:NOTFOUND ,", "4:OK 1,", "9:NOTFOUND ,", "9:NOTFOUND ," },
		{ RESOLVE_BROKEN, "9:TEMP loop,", "9:TEMP loop,", "9:TEMP loop,", "9:TEMP loop," },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const char *expected[] = { table[i].domains, table[i].recipients, table[i].aliases, table[i].senders };
		bool alias = table[i].state == RESOLVE_ALIAS;
		struct resolution *res = make(table[i].state, "loop", alias ? two : NULL);

		if (alias || table[i].state == RESOLVE_ACCOUNT)
			res->logins = strdup("a@x, b@x.y");

		for (unsigned name = SOCKETMAP_DOMAINS; name <= SOCKETMAP_SENDERS; name++) {
			struct bs_buf *buf = bs_buf_new(1000);

			assert_int_equal(socketmap_answer((enum socketmap_name)name, res, buf), BS_OK);
			assert_int_equal(bs_buf_len(buf), strlen(expected[name]));
			assert_memory_equal(bs_buf_data(buf), expected[name], strlen(expected[name]));
			bs_buf_free(buf);
		}
		resolution_unref(res);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_append_is_parsed_again),
		cmocka_unit_test(test_append_leaves_nothing_half_written),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
