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

/* --- Zstandard --- */

static struct bs_zstd *zstd;

static enum bs_err
unzstd(const uint8_t *in, size_t in_len, size_t out_len, const uint8_t *expected)
{
	uint8_t *tight_in = malloc(in_len > 0 ? in_len : 1), *tight_out = malloc(out_len > 0 ? out_len : 1);
	enum bs_err err;

	memcpy(tight_in, in, in_len);
	err = bs_zstd_decompress(zstd, tight_in, in_len, tight_out, out_len);
	if (err == BS_OK && expected != NULL)
		assert_memory_equal(tight_out, expected, out_len);
	free(tight_in);
	free(tight_out);
	return err;
}

static void
make_lines(uint8_t *out, size_t len, unsigned seed)
{
	static const char *const words[] = { "basalt ", "mail ", "of ", "sealed ", "the ", "column\r\n", "key ", "and " };
	size_t at = 0, n;

	while (at < len) {
		seed = seed * 1103515245 + 12345;
		n = strlen(words[seed >> 16 & 7]);
		n = n < len - at ? n : len - at;
		memcpy(out + at, words[seed >> 16 & 7], n);
		at += n;
	}
}

static void
test_zstd_round_trip(void **state)
{
	uint8_t in[3000], out[BS_COMPRESS_BOUND(sizeof(in)) + 8];
	size_t len, packed;

	(void)state;
	for (len = 0; len <= sizeof(in); len += 1 + len / 7) {
		make_lines(in, len, (unsigned)len);
		packed = bs_zstd_compress(zstd, in, len, out, sizeof(out) - 8);
		assert_in_range(packed, 1, BS_COMPRESS_BOUND(len));
		assert_int_equal(unzstd(out, packed, len, in), BS_OK);
		assert_int_equal(unzstd(out, packed, len + 1, NULL), BS_ERR_FORMAT);
		if (len > 0)
			assert_int_equal(unzstd(out, packed, len - 1, NULL), BS_ERR_FORMAT);
		for (size_t i = 0; i < packed; i++)
			assert_int_equal(unzstd(out, i, len, NULL), BS_ERR_FORMAT);
		out[packed] = 0;
		assert_int_equal(unzstd(out, packed + 1, len, NULL), BS_ERR_FORMAT);
		/* Each may fail or not; none may go astray, which the sanitizer tells. */
		for (size_t i = 0; i < packed; i++) {
			out[i] ^= (uint8_t)(1 << i % 8);
			(void)!unzstd(out, packed, len, NULL);
			out[i] ^= (uint8_t)(1 << i % 8);
		}
		if (packed > 1)
			assert_int_equal(bs_zstd_compress(zstd, in, len, out, packed - 1), 0);
	}
}

/* What the library would take and the format does not know. */
static void
test_zstd_frames_of_other_kinds(void **state)
{
	static const uint8_t skippable[] = { 0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0 };
	static const uint8_t stored_a[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x01, 0x09, 0, 0, 'a' };
	static const uint8_t unsized_a[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x00, 0x09, 0, 0, 'a' };
	static const uint8_t dictionary_a[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x21, 0x07, 0x01, 0x09, 0, 0, 'a' };
	static const uint8_t legacy[] = { 0x27, 0xb5, 0x2f, 0xfd, 0x20, 0x01, 0x09, 0, 0, 'a' };
	/* 64 KiB of one letter that says it has 2 GiB. */
	static const uint8_t bomb[] = { 0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x80, 0x03, 0, 0x08, 'a' };
	uint8_t two[2 * sizeof(stored_a)], behind[sizeof(stored_a) + sizeof(skippable)];

	(void)state;
	assert_int_equal(unzstd(stored_a, sizeof(stored_a), 1, (const uint8_t *)"a"), BS_OK);
	memcpy(two, stored_a, sizeof(stored_a));
	memcpy(two + sizeof(stored_a), stored_a, sizeof(stored_a));
	memcpy(behind, stored_a, sizeof(stored_a));
	memcpy(behind + sizeof(stored_a), skippable, sizeof(skippable));
	assert_int_equal(unzstd(two, sizeof(two), 2, NULL), BS_ERR_FORMAT);
	assert_int_equal(unzstd(two, sizeof(two), 1, NULL), BS_ERR_FORMAT);
	assert_int_equal(unzstd(behind, sizeof(behind), 1, NULL), BS_ERR_FORMAT);
	assert_int_equal(unzstd(skippable, sizeof(skippable), 0, NULL), BS_ERR_FORMAT);
	assert_int_equal(unzstd(unsized_a, sizeof(unsized_a), 1, NULL), BS_ERR_FORMAT);
	assert_int_equal(unzstd(dictionary_a, sizeof(dictionary_a), 1, NULL), BS_ERR_FORMAT);
	assert_int_equal(unzstd(legacy, sizeof(legacy), 1, NULL), BS_ERR_FORMAT);
	assert_int_equal(unzstd(bomb, sizeof(bomb), 65536, NULL), BS_ERR_FORMAT);
}

/* Letters of base64 are told from text, wherever text or noise begins. */
static void
test_zstd_leaves_noise_alone(void **state)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	static uint8_t in[65536], out[BS_COMPRESS_BOUND(65536)];
	size_t packed;

	(void)state;
	for (size_t i = 0; i < sizeof(in); i++) {
		uint64_t x = (i + 1) * 0x9e3779b97f4a7c15u;
		x ^= x >> 31;
		x *= 0xbf58476d1ce4e5b9u;
		in[i] = i % 78 == 76 ? '\r' : i % 78 == 77 ? '\n' : (uint8_t)letters[x >> 40 & 63];
	}
	assert_int_equal(bs_zstd_compress(zstd, in, sizeof(in), out, sizeof(out)), 0);
	make_lines(in, sizeof(in) / 2, 1);
	packed = bs_zstd_compress(zstd, in, sizeof(in), out, sizeof(out));
	assert_in_range(packed, 1, sizeof(in) * 3 / 4);
	assert_int_equal(unzstd(out, packed, sizeof(in), in), BS_OK);
	make_lines(in, sizeof(in), 2);
	assert_in_range(bs_zstd_compress(zstd, in, sizeof(in), out, sizeof(out)), 1, sizeof(in) / 2);
}

int
main(void)
{
	int failed;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_zstd_round_trip),
		cmocka_unit_test(test_zstd_frames_of_other_kinds),
		cmocka_unit_test(test_zstd_leaves_noise_alone),
	};

	zstd = bs_zstd_new();
	if (bs_compress_init() != BS_OK || zstd == NULL)
		return 1;
	failed = cmocka_run_group_tests_name("compress", tests, NULL, NULL);
	bs_zstd_free(zstd);
	return failed;
}
