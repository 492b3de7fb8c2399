/* crypto: the known answers, and the edges that vectors do not show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/crypto.h"

static void
test_selftest(void **state)
{
	(void)state;
	assert_int_equal(bs_crypto_selftest(), BS_OK);
}

static void
test_sha256_pieces(void **state)
{
	struct bs_sha256 *hash = bs_sha256_new();
	uint8_t whole[BS_HASH_LEN], pieces[BS_HASH_LEN];

	(void)state;
	assert_non_null(hash);
	bs_sha256("hello, world", 12, whole);
	bs_sha256_update(hash, "hello, ", 7);
	bs_sha256_update(hash, "world", 5);
	bs_sha256_final(hash, pieces);
	assert_memory_equal(whole, pieces, BS_HASH_LEN);
	/* final starts again */
	bs_sha256_update(hash, "hello, world", 12);
	bs_sha256_final(hash, pieces);
	assert_memory_equal(whole, pieces, BS_HASH_LEN);
	bs_sha256_free(hash);
	bs_sha256_free(NULL);
}

static void
test_gcm_in_place_and_wipe(void **state)
{
	uint8_t key[BS_KEY_LEN] = { 1 }, nonce[BS_NONCE_LEN] = { 2 }, tag[BS_TAG_LEN], buf[100], zero[100] = { 0 };
	struct bs_gcm *gcm = bs_gcm_new(key);
	size_t i;

	(void)state;
	assert_non_null(gcm);
	for (i = 0; i <= sizeof(buf); i += 25) {
		memset(buf, 'x', sizeof(buf));
		nonce[0]++;
		assert_int_equal(bs_gcm_seal(gcm, nonce, "aad", 3, buf, i, buf, tag), BS_OK);
		assert_int_equal(bs_gcm_open(gcm, nonce, "aad", 3, buf, i, tag, buf), BS_OK);
		assert_true(i == 0 || buf[i - 1] == 'x');
		assert_int_equal(bs_gcm_open(gcm, nonce, "aae", 3, buf, i, tag, buf), BS_ERR_AUTH);
		assert_memory_equal(buf, zero, i);
	}
	bs_gcm_free(gcm);
	bs_gcm_free(NULL);
}

static void
test_argon2id_bounds(void **state)
{
	const uint8_t salt[BS_SALT_LEN] = { 0 };
	uint8_t out[BS_KEY_LEN] = { 7 };

	(void)state;
	assert_int_equal(bs_argon2id("x", 1, salt, BS_ARGON2_MEMORY_KIB_MIN - 1, 1, out), BS_ERR_LIMIT);
	assert_int_equal(bs_argon2id("x", 1, salt, BS_ARGON2_MEMORY_KIB_MAX + 1, 1, out), BS_ERR_LIMIT);
	assert_int_equal(bs_argon2id("x", 1, salt, BS_ARGON2_MEMORY_KIB_MIN, 0, out), BS_ERR_LIMIT);
	assert_int_equal(bs_argon2id("x", 1, salt, BS_ARGON2_MEMORY_KIB_MIN, BS_ARGON2_PASSES_MAX + 1, out), BS_ERR_LIMIT);
	assert_int_equal(out[0], 7);
}

/* Every field that a sealed key is bound to, changed one at a time. */
static void
test_kem_binding(void **state)
{
	uint8_t pub[BS_KEY_LEN], sec[BS_KEY_LEN], pub2[BS_KEY_LEN], sec2[BS_KEY_LEN];
	uint8_t salt[16] = { 1 }, key[BS_KEY_LEN], eph[BS_KEY_LEN], sealed[BS_SEALED_KEY_LEN], out[BS_KEY_LEN] = { 0 };
	uint8_t before[BS_KEY_LEN] = { 0 }, big[513] = { 0 };
	size_t i;

	(void)state;
	bs_x25519_keypair(pub, sec);
	bs_x25519_keypair(pub2, sec2);
	bs_random(key, sizeof(key));
	assert_int_equal(bs_kem_seal(pub, salt, "l", "f", 1, key, eph, sealed), BS_OK);
	assert_int_equal(bs_kem_open(sec2, pub2, salt, "l", "f", 1, eph, sealed, out), BS_ERR_AUTH);
	assert_int_equal(bs_kem_open(sec, pub2, salt, "l", "f", 1, eph, sealed, out), BS_ERR_AUTH);
	assert_int_equal(bs_kem_open(sec, pub, salt, "m", "f", 1, eph, sealed, out), BS_ERR_AUTH);
	assert_int_equal(bs_kem_open(sec, pub, salt, "l", "", 0, eph, sealed, out), BS_ERR_AUTH);
	salt[0] ^= 1;
	assert_int_equal(bs_kem_open(sec, pub, salt, "l", "f", 1, eph, sealed, out), BS_ERR_AUTH);
	salt[0] ^= 1;
	for (i = 0; i < sizeof(sealed) * 8; i++) {
		sealed[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_int_equal(bs_kem_open(sec, pub, salt, "l", "f", 1, eph, sealed, out), BS_ERR_AUTH);
		sealed[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	assert_memory_equal(out, before, sizeof(out));
	assert_int_equal(bs_kem_open(sec, pub, salt, "l", "f", 1, eph, sealed, out), BS_OK);
	assert_memory_equal(out, key, sizeof(out));
	assert_int_equal(bs_kem_seal(pub, salt, "l", big, sizeof(big), key, eph, sealed), BS_ERR_LIMIT);
	memset(pub, 0, sizeof(pub));
	assert_int_equal(bs_kem_seal(pub, salt, "l", "f", 1, key, eph, sealed), BS_ERR_AUTH);
}

/* One exchange for several keys: what it seals opens like any other, each under its own salt alone. */
static void
test_one_exchange_for_many(void **state)
{
	uint8_t pub[BS_KEY_LEN], sec[BS_KEY_LEN], pub2[BS_KEY_LEN], sec2[BS_KEY_LEN];
	uint8_t key[BS_KEY_LEN] = { 7 }, out[BS_KEY_LEN], sealed[2][BS_SEALED_KEY_LEN], salt[2][16] = { { 1 }, { 2 } };
	struct bs_kem ours, theirs = { .made = false }, none = { .made = false };

	(void)state;
	bs_x25519_keypair(pub, sec);
	bs_x25519_keypair(pub2, sec2);
	assert_int_equal(bs_kem_seal_by(&none, salt[0], "l", "f", 1, key, sealed[0]), BS_ERR_ARG);
	assert_int_equal(bs_kem_start(pub, &ours), BS_OK);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(bs_kem_seal_by(&ours, salt[i], "l", "f", 1, key, sealed[i]), BS_OK);
		assert_int_equal(bs_kem_open(sec, pub, salt[i], "l", "f", 1, ours.eph, sealed[i], out), BS_OK);
		assert_memory_equal(out, key, sizeof(out));
	}
	assert_memory_not_equal(sealed[0], sealed[1], BS_KEY_LEN); /* of the same key: the KEKs differ */
	assert_int_equal(bs_kem_accept(sec, pub, ours.eph, &theirs), BS_OK);
	assert_memory_equal(theirs.shared, ours.shared, BS_KEY_LEN);
	assert_int_equal(bs_kem_open_by(&theirs, salt[1], "l", "f", 1, sealed[0], out), BS_ERR_AUTH);
	assert_int_equal(bs_kem_open_by(&theirs, salt[0], "l", "f", 1, sealed[0], out), BS_OK);
	/* Another key, or another's public half, is another exchange, whatever stands there. */
	assert_int_equal(bs_kem_accept(sec2, pub2, ours.eph, &theirs), BS_OK);
	assert_int_equal(bs_kem_open_by(&theirs, salt[0], "l", "f", 1, sealed[0], out), BS_ERR_AUTH);
	assert_int_equal(bs_kem_accept(sec, pub, pub2, &theirs), BS_OK);
	assert_int_equal(bs_kem_open_by(&theirs, salt[0], "l", "f", 1, sealed[0], out), BS_ERR_AUTH);
	assert_int_equal(bs_kem_accept(sec, pub, ours.eph, &theirs), BS_OK);
	assert_int_equal(bs_kem_open_by(&theirs, salt[0], "l", "f", 1, sealed[0], out), BS_OK);
	memset(pub2, 0, sizeof(pub2));
	assert_int_equal(bs_kem_accept(sec, pub, pub2, &theirs), BS_ERR_AUTH);
	assert_int_equal(bs_kem_open_by(&theirs, salt[0], "l", "f", 1, sealed[0], out), BS_ERR_ARG);
	assert_int_equal(bs_kem_start(pub2, &ours), BS_ERR_AUTH);
}

static void
test_secret_memory(void **state)
{
	uint8_t *a = bs_secret_new(BS_KEY_LEN), *b = bs_secret_new(BS_KEY_LEN);

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	bs_random(a, BS_KEY_LEN);
	memcpy(b, a, BS_KEY_LEN);
	assert_true(bs_equal(a, b, BS_KEY_LEN));
	b[31] ^= 1;
	assert_false(bs_equal(a, b, BS_KEY_LEN));
	bs_wipe(b, BS_KEY_LEN);
	assert_int_equal(b[0] | b[31], 0);
	bs_secret_free(a);
	bs_secret_free(b);
	bs_secret_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_selftest),
		cmocka_unit_test(test_sha256_pieces),
		cmocka_unit_test(test_gcm_in_place_and_wipe),
		cmocka_unit_test(test_argon2id_bounds),
		cmocka_unit_test(test_kem_binding),
		cmocka_unit_test(test_one_exchange_for_many),
		cmocka_unit_test(test_secret_memory),
	};

	if (bs_crypto_init() != BS_OK)
		return 1;
	return cmocka_run_group_tests_name("crypto", tests, NULL, NULL);
}
