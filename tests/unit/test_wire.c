/* wire: every field there and back, and that nothing steps outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/wire.h"

static const uint8_t example[] = {
	0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12,
	'a', 'b', 'c', 0x00, 0x02, 'd', 'e', 0x00, 0x00, 0x00, 0x01, 'f',
};

static void
test_write(void **state)
{
	uint8_t bytes[sizeof(example)];
	struct bs_wr wr = bs_wr_init(bytes, sizeof(bytes));

	(void)state;
	bs_wr_u8(&wr, 0x01);
	bs_wr_u16(&wr, 0x0203);
	bs_wr_u24(&wr, 0x040506);
	bs_wr_u32(&wr, 0x0708090a);
	bs_wr_u64(&wr, 0x0b0c0d0e0f101112u);
	bs_wr_bytes(&wr, "abc", 3);
	bs_wr_str16(&wr, "de", 2);
	bs_wr_str32(&wr, "f", 1);
	assert_false(wr.failed);
	assert_int_equal(wr.len, sizeof(example));
	assert_memory_equal(bytes, example, sizeof(example));
	bs_wr_u8(&wr, 0);
	assert_true(wr.failed);
	assert_int_equal(wr.len, sizeof(example));
}

static void
test_read(void **state)
{
	struct bs_rd rd = bs_rd_init(example, sizeof(example));
	uint8_t copy[3];
	size_t len;

	(void)state;
	assert_int_equal(bs_rd_u8(&rd), 0x01);
	assert_int_equal(bs_rd_u16(&rd), 0x0203);
	assert_int_equal(bs_rd_u24(&rd), 0x040506);
	assert_int_equal(bs_rd_u32(&rd), 0x0708090a);
	assert_true(bs_rd_u64(&rd) == 0x0b0c0d0e0f101112u);
	bs_rd_copy(&rd, copy, 3);
	assert_memory_equal(copy, "abc", 3);
	assert_memory_equal(bs_rd_str16(&rd, &len), "de", 2);
	assert_int_equal(len, 2);
	assert_false(bs_rd_done(&rd));
	assert_memory_equal(bs_rd_str32(&rd, &len), "f", 1);
	assert_int_equal(len, 1);
	assert_true(bs_rd_done(&rd));
}

static void
test_reader_is_sticky(void **state)
{
	struct bs_rd rd = bs_rd_init("\x01\x02\x03", 3);
	uint8_t copy[4] = { 9, 9, 9, 9 };
	size_t len = 7;

	(void)state;
	assert_int_equal(bs_rd_u32(&rd), 0);
	assert_true(rd.failed);
	assert_int_equal(bs_rd_u8(&rd), 0); /* there would be bytes */
	bs_rd_copy(&rd, copy, 4);
	assert_memory_equal(copy, "\0\0\0\0", 4);
	assert_null(bs_rd_str16(&rd, &len));
	assert_int_equal(len, 0);
	assert_false(bs_rd_done(&rd));
}

static void
test_lengths_that_lie(void **state)
{
	struct bs_rd rd = bs_rd_init("\xff\xff" "abc", 5);
	char text[4];
	size_t len = 7;

	(void)state;
	assert_null(bs_rd_str16(&rd, &len));
	assert_int_equal(len, 0);
	rd = bs_rd_init("\xff\xff\xff\xff" "abc", 7);
	assert_null(bs_rd_str32(&rd, &len));
	rd = bs_rd_init("abc", 3);
	assert_null(bs_rd_bytes(&rd, SIZE_MAX));
	rd = bs_rd_init("\0\3abc", 5);
	bs_rd_cstr16(&rd, text, sizeof(text));
	assert_true(bs_rd_done(&rd));
	assert_string_equal(text, "abc");
	rd = bs_rd_init("\0\3abc", 5);
	bs_rd_cstr16(&rd, text, 3);
	assert_true(rd.failed);
	rd = bs_rd_init("\0\3a\0c", 5);
	bs_rd_cstr16(&rd, text, sizeof(text));
	assert_true(rd.failed);
	rd = bs_rd_init("\0\0", 2);
	bs_rd_cstr16(&rd, text, 1);
	assert_true(bs_rd_done(&rd));
	assert_string_equal(text, "");
}

static void
test_writer_refuses_too_large_numbers(void **state)
{
	static uint8_t bytes[70000], in[65536];
	struct bs_wr wr = bs_wr_init(bytes, sizeof(bytes));

	(void)state;
	bs_wr_u24(&wr, 0x1000000);
	assert_true(wr.failed);
	wr = bs_wr_init(bytes, sizeof(bytes));
	bs_wr_str16(&wr, in, 65536);
	assert_true(wr.failed);
	assert_int_equal(wr.len, 0);
	wr = bs_wr_init(bytes, sizeof(bytes));
	bs_wr_str16(&wr, in, 65535);
	assert_false(wr.failed);
	wr = bs_wr_init(bytes, 3);
	bs_wr_bytes(&wr, in, SIZE_MAX);
	assert_true(wr.failed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_reader_is_sticky),
		cmocka_unit_test(test_lengths_that_lie),
		cmocka_unit_test(test_writer_refuses_too_large_numbers),
	};

	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
