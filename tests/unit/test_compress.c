/* compress: round trips, exact lengths, and a decoder that stays inside what it is given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/compress.h"

static uint8_t work[BS_COMPRESS_WORK_LEN] __attribute__((aligned(16)));

/* Copies in a heap block of its own size, so that the sanitizer sees a byte too far. */
static enum bs_err
decompress(const uint8_t *in, size_t in_len, size_t out_len, const uint8_t *expected)
{
	uint8_t *tight_in = malloc(in_len + 1), *tight_out = malloc(out_len + 1);
	enum bs_err err;

	tight_in = realloc(tight_in, in_len > 0 ? in_len : 1);
	tight_out = realloc(tight_out, out_len > 0 ? out_len : 1);
	memcpy(tight_in, in, in_len);
	err = bs_decompress(tight_in, in_len, tight_out, out_len);
	if (err == BS_OK && expected != NULL)
		assert_memory_equal(tight_out, expected, out_len);
	free(tight_in);
	free(tight_out);
	return err;
}

static void
test_round_trip(void **state)
{
	uint8_t in[3000], out[BS_COMPRESS_BOUND(sizeof(in))];
	size_t i, len, packed;

	(void)state;
	for (len = 0; len <= sizeof(in); len += 1 + len / 7) {
		for (i = 0; i < len; i++)
			in[i] = (uint8_t)(i % 31 * (i % 7) + (len % 3 == 0 ? i * i * 2654435761u >> 13 : 0));
		packed = bs_compress(work, in, len, out, sizeof(out));
		assert_true(packed > 0 && packed <= BS_COMPRESS_BOUND(len));
		assert_int_equal(decompress(out, packed, len, in), BS_OK);
		assert_int_equal(decompress(out, packed, len + 1, NULL), BS_ERR_FORMAT);
		assert_int_equal(decompress(out, packed - 1, len, NULL), BS_ERR_FORMAT);
		if (len > 0)
			assert_int_equal(decompress(out, packed, len - 1, NULL), BS_ERR_FORMAT);
		out[packed] = 0; /* something after the end marker */
		assert_int_equal(decompress(out, packed + 1, len, NULL), BS_ERR_FORMAT);
	}
}

static void
test_no_room(void **state)
{
	uint8_t in[100] = { 0 }, out[BS_COMPRESS_BOUND(100)];

	(void)state;
	assert_int_equal(bs_compress(work, in, 100, out, sizeof(out) - 1), 0);
}

static void
test_damage(void **state)
{
	uint8_t in[400], out[BS_COMPRESS_BOUND(sizeof(in))];
	size_t i, packed;

	(void)state;
	for (i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)("abcabcabd"[i % 9] + (i % 50 == 0 ? 1 : 0));
	packed = bs_compress(work, in, sizeof(in), out, sizeof(out));
	for (i = 0; i < packed; i++)
		assert_int_equal(decompress(out, i, sizeof(in), NULL), BS_ERR_FORMAT);
	for (i = 0; i < packed * 8; i++) {
		out[i / 8] ^= (uint8_t)(1u << i % 8);
		(void)!decompress(out, packed, sizeof(in), NULL);
		out[i / 8] ^= (uint8_t)(1u << i % 8);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_damage),
	};

	if (bs_compress_init() != BS_OK)
		return 1;
	return cmocka_run_group_tests_name("compress", tests, NULL, NULL);
}
