/* buf: the maximum, the cursor, and that consumed bytes are gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"

static void
test_append_consume(void **state)
{
	struct bs_buf *buf = bs_buf_new(1000);

	(void)state;
	assert_non_null(buf);
	assert_int_equal(bs_buf_len(buf), 0);
	assert_non_null(bs_buf_data(buf));
	assert_int_equal(bs_buf_append(buf, "hello, ", 7), BS_OK);
	assert_int_equal(bs_buf_append(buf, NULL, 0), BS_OK);
	assert_int_equal(bs_buf_append(buf, "world", 5), BS_OK);
	assert_int_equal(bs_buf_len(buf), 12);
	assert_int_equal(bs_buf_room(buf), 988);
	assert_memory_equal(bs_buf_data(buf), "hello, world", 12);
	bs_buf_consume(buf, 7);
	assert_memory_equal(bs_buf_data(buf), "world", 5);
	bs_buf_consume(buf, 5);
	assert_int_equal(bs_buf_len(buf), 0);
	assert_int_equal(bs_buf_room(buf), 1000);
	bs_buf_free(buf);
	bs_buf_free(NULL);
}

static void
test_maximum(void **state)
{
	struct bs_buf *buf = bs_buf_new(300);
	uint8_t bytes[301] = { 0 }, *p = NULL;

	(void)state;
	assert_int_equal(bs_buf_append(buf, bytes, 301), BS_ERR_LIMIT);
	assert_int_equal(bs_buf_append(buf, bytes, SIZE_MAX), BS_ERR_LIMIT);
	assert_int_equal(bs_buf_len(buf), 0);
	assert_int_equal(bs_buf_append(buf, bytes, 300), BS_OK);
	assert_int_equal(bs_buf_append(buf, bytes, 1), BS_ERR_LIMIT);
	assert_int_equal(bs_buf_reserve(buf, 1, &p), BS_ERR_LIMIT);
	assert_null(p);
	bs_buf_consume(buf, 1);
	assert_int_equal(bs_buf_append(buf, bytes, 1), BS_OK);
	assert_int_equal(bs_buf_len(buf), 300);
	bs_buf_free(buf);
}

static void
test_consumed_bytes_are_wiped(void **state)
{
	struct bs_buf *buf = bs_buf_new(1000);
	const uint8_t *secret;

	(void)state;
	assert_int_equal(bs_buf_append(buf, "secret,rest", 11), BS_OK);
	secret = bs_buf_data(buf);
	bs_buf_consume(buf, 6);
	assert_memory_equal(secret, "\0\0\0\0\0\0,rest", 11);
	bs_buf_reset(buf);
	assert_memory_equal(secret, "\0\0\0\0\0\0\0\0\0\0\0", 11);
	bs_buf_free(buf);
}

/* A stream of pieces through a small buffer: nothing is lost or doubled when it moves and grows. */
static void
test_stream(void **state)
{
	struct bs_buf *buf = bs_buf_new(5000);
	uint8_t next_in = 0, next_out = 0;

	(void)state;
	for (size_t round = 1; round < 2000; round++) {
		size_t in = round * 37 % 700, out = round * 53 % 900;
		uint8_t *p;

		if (in <= bs_buf_room(buf)) {
			assert_int_equal(bs_buf_reserve(buf, in + (in < bs_buf_room(buf)), &p), BS_OK);
			for (size_t i = 0; i < in; i++)
				p[i] = next_in++;
			bs_buf_commit(buf, in);
		}
		if (out > bs_buf_len(buf))
			out = bs_buf_len(buf);
		for (size_t i = 0; i < out; i++)
			assert_int_equal(bs_buf_data(buf)[i], next_out++);
		bs_buf_consume(buf, out);
	}
	bs_buf_free(buf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append_consume),
		cmocka_unit_test(test_maximum),
		cmocka_unit_test(test_consumed_bytes_are_wiped),
		cmocka_unit_test(test_stream),
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
