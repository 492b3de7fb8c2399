/* carrier: the head there and back, what it refuses, and the digest of bytes that pass in pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/carrier.h"

static const uint8_t example[BS_CARRIER_LEN] = {
	0x89, 'B', 'S', 'C', 0x0d, 0x0a, 0x1a, 0x0a, 1, 1, 0, 0,
	0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0x20, 0x01,
};
static const struct bs_carrier told = {
	.kind = BS_CARRIER_INTACT, .physical_len = 0x10002, .virtual_len = 0x10009, .file_len = 0x2001,
};

static void
test_head(void **state)
{
	uint8_t bytes[BS_CARRIER_LEN];
	struct bs_carrier head;

	(void)state;
	bs_carrier_write(&told, bytes);
	assert_memory_equal(bytes, example, sizeof(bytes));
	assert_int_equal(bs_carrier_parse(bytes, &head), BS_OK);
	assert_int_equal(head.kind, told.kind);
	assert_true(head.physical_len == told.physical_len && head.virtual_len == told.virtual_len);
	assert_true(head.file_len == told.file_len);
	assert_true(bs_carrier_begins(bytes, 4));
	assert_false(bs_carrier_begins(bytes, 3));
	assert_false(bs_carrier_begins(BS_MSG_MAGIC, BS_MSG_MAGIC_LEN));
}

/* Every magic, version, kind and reserved bit that is not ours. */
static void
test_bits(void **state)
{
	struct bs_carrier head;
	uint8_t bytes[BS_CARRIER_LEN];

	(void)state;
	for (size_t bit = 0; bit < 12 * 8; bit++) {
		memcpy(bytes, example, sizeof(bytes));
		bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		if (bytes[9] == BS_CARRIER_INTACT)
			assert_int_not_equal(bs_carrier_parse(bytes, &head), BS_OK);
		else
			assert_true(bs_carrier_parse(bytes, &head) != BS_OK || head.kind != BS_CARRIER_INTACT);
	}
}

static enum bs_err
parse(enum bs_carrier_kind kind, uint64_t physical_len, uint64_t virtual_len, uint64_t file_len)
{
	struct bs_carrier in = { .kind = kind, .physical_len = physical_len, .virtual_len = virtual_len, .file_len = file_len };
	uint8_t bytes[BS_CARRIER_LEN];

	bs_carrier_write(&in, bytes);
	return bs_carrier_parse(bytes, &in);
}

static void
test_sizes(void **state)
{
	(void)state;
	assert_int_equal(parse(BS_CARRIER_INTACT, 100, UINT64_MAX, 400), BS_OK);
	assert_int_equal(parse(BS_CARRIER_INTACT, 100, 200, 400), BS_OK);
	assert_int_equal(parse(BS_CARRIER_INTACT, 0, 0, 400), BS_OK);
	assert_int_equal(parse(BS_CARRIER_INTACT, 100, 99, 400), BS_ERR_FORMAT);
	assert_int_equal(parse(BS_CARRIER_INTACT, 100, 201, 400), BS_ERR_FORMAT);
	/* More plaintext than so many chunks can hold: nobody is made to count that far. */
	assert_int_equal(parse(BS_CARRIER_INTACT, 16 * 65536 + 1, UINT64_MAX, 400), BS_ERR_FORMAT);
	assert_int_equal(parse(BS_CARRIER_DAMAGED, 16 * 65536 + 1, UINT64_MAX, 400), BS_OK);
	assert_int_equal(parse(BS_CARRIER_DAMAGED, (1u << 30) + 400, UINT64_MAX, 400), BS_OK);
	assert_int_equal(parse(BS_CARRIER_DAMAGED, (1u << 30) + 401, UINT64_MAX, 400), BS_ERR_FORMAT);
	assert_int_equal(parse(BS_CARRIER_DAMAGED, 1ULL << 48, UINT64_MAX, 400), BS_ERR_FORMAT);
	assert_int_equal(parse(BS_CARRIER_LITERAL, 0, 0, 0), BS_OK);
	assert_int_equal(parse(BS_CARRIER_LITERAL, 0, 0, 1), BS_ERR_FORMAT);
	assert_int_equal(parse((enum bs_carrier_kind)4, 0, 0, 0), BS_ERR_FORMAT);
}

/* --- what passes --- */

struct file {
	uint8_t bytes[1000];
	size_t len;
};

static enum bs_err
emit(void *ctx, const uint8_t *data, size_t len)
{
	struct file *f = ctx;

	assert_true(len <= sizeof(f->bytes) - f->len);
	memcpy(f->bytes + f->len, data, len);
	f->len += len;
	return BS_OK;
}

static void
make_file(struct file *f)
{
	struct bs_msg_encoder_opts opts = { .suite = BS_MSG_SUITE_PLAIN };
	struct bs_msg_encoder *enc = NULL;

	f->len = 0;
	assert_int_equal(bs_msg_encoder_new(&opts, emit, f, &enc), BS_OK);
	assert_int_equal(bs_msg_encoder_write(enc, "Subject: a\n\nb\n", 14), BS_OK);
	assert_int_equal(bs_msg_encoder_finish(enc), BS_OK);
	bs_msg_encoder_free(enc);
}

static enum bs_err
pass(const uint8_t *data, size_t len, uint64_t announced, size_t piece)
{
	struct bs_passing *p = bs_passing_new(announced);
	enum bs_err err;

	for (size_t at = 0; at < len; at += piece)
		bs_passing_update(p, data + at, len - at < piece ? len - at : piece);
	err = bs_passing_end(p);
	bs_passing_free(p);
	return err;
}

static void
test_passing(void **state)
{
	struct file f;

	(void)state;
	make_file(&f);
	for (size_t piece = 1; piece <= f.len + 1; piece++)
		assert_int_equal(pass(f.bytes, f.len, f.len, piece), BS_OK);
	assert_int_equal(pass(f.bytes, f.len - 1, f.len, 7), BS_ERR_SHORT);
	assert_int_equal(pass(f.bytes, f.len, f.len - 1, 7), BS_ERR_SHORT);
	assert_int_not_equal(pass(f.bytes, f.len - 1, f.len - 1, 7), BS_OK);
	assert_int_not_equal(pass(f.bytes, 10, 10, 3), BS_OK);
	assert_int_not_equal(pass(f.bytes, 0, 0, 3), BS_OK);
	for (size_t at = 0; at < f.len; at++) {
		f.bytes[at] ^= 1;
		assert_int_not_equal(pass(f.bytes, f.len, f.len, 64), BS_OK);
		f.bytes[at] ^= 1;
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_bits),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_passing),
	};

	if (bs_crypto_init() != BS_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
