/* record: the vector, and everything that must not pass for a signed record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/record.h"
#include "tests/vectors/keys.h"

struct fixture {
	uint8_t site_pub[BS_SIGN_PUB_LEN], site_sec[BS_SIGN_SEC_LEN];
	struct bs_record rec;
};

static int
setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	uint8_t sec[BS_KEY_LEN];

	if (fx == NULL || bs_crypto_init() != BS_OK)
		return -1;
	bs_sign_keypair(fx->site_pub, fx->site_sec);
	bs_x25519_keypair(fx->rec.public_key, sec);
	bs_msg_key_id(BS_MSG_SUITE_X25519, fx->rec.public_key, fx->rec.key_id);
	bs_random(fx->rec.account_id, BS_ID_LEN);
	memcpy(fx->rec.name, "bob@example.org", sizeof("bob@example.org"));
	fx->rec.generation = 1;
	fx->rec.flags = BS_RECORD_FLAG_SEALED;
	*state = fx;
	return 0;
}

static int
teardown(void **state)
{
	free(*state);
	return 0;
}

static void
test_vector(void **state)
{
	struct bs_record rec;

	(void)state;
	assert_int_equal(bs_record_open(kv_record, sizeof(kv_record), kv_site_pub, KV_NAME, &rec), BS_OK);
	assert_string_equal(rec.name, KV_NAME);
	assert_memory_equal(rec.account_id, kv_account, BS_ID_LEN);
	assert_memory_equal(rec.public_key, kv_active_pub, BS_KEY_LEN);
	assert_memory_equal(rec.key_id, kv_active_id, BS_ID_LEN);
	assert_int_equal(rec.generation, KV_GENERATION);
	assert_int_equal(rec.created, KV_CREATED);
	assert_int_equal(rec.flags, BS_RECORD_FLAG_SEALED);
}

static void
test_round_trip(void **state)
{
	struct fixture *fx = *state;
	uint8_t bytes[BS_RECORD_MAX];
	struct bs_record rec;
	size_t len = 0;

	memset(fx->rec.name, 'x', BS_ACCOUNT_NAME_MAX);
	fx->rec.generation = UINT64_MAX;
	assert_int_equal(bs_record_sign(&fx->rec, fx->site_sec, bytes, &len), BS_OK);
	assert_true(len <= BS_RECORD_MAX);
	assert_int_equal(bs_record_open(bytes, len, fx->site_pub, NULL, &rec), BS_OK);
	assert_string_equal(rec.name, fx->rec.name);
	assert_true(rec.generation == UINT64_MAX);
	assert_int_equal(bs_record_open(bytes, len, fx->site_pub, "alice@example.org", &rec), BS_ERR_ACCOUNT);
}

static void
test_every_bit_counts(void **state)
{
	struct bs_record rec, untouched;
	uint8_t bytes[sizeof(kv_record)];

	(void)state;
	memset(&rec, 0x55, sizeof(rec));
	memcpy(&untouched, &rec, sizeof(rec));
	for (size_t bit = 0; bit < 8 * sizeof(kv_record); bit++) {
		memcpy(bytes, kv_record, sizeof(bytes));
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(bs_record_open(bytes, sizeof(bytes), kv_site_pub, NULL, &rec), BS_OK);
	}
	for (size_t len = 0; len < sizeof(kv_record); len++)
		assert_int_not_equal(bs_record_open(kv_record, len, kv_site_pub, NULL, &rec), BS_OK);
	assert_memory_equal(&rec, &untouched, sizeof(rec));
}

static void
test_wrong_site(void **state)
{
	struct fixture *fx = *state;
	struct bs_record rec;

	assert_int_equal(bs_record_open(kv_record, sizeof(kv_record), fx->site_pub, KV_NAME, &rec), BS_ERR_AUTH);
}

/* Signs bytes as a record is signed, without bs_record_sign()'s own judgement. */
static size_t
sign_raw(const struct fixture *fx, const char *domain, uint8_t *bytes, size_t len)
{
	uint8_t buf[1024];
	size_t domain_len = strlen(domain);

	memcpy(buf, domain, domain_len);
	memcpy(buf + domain_len, bytes, len);
	assert_int_equal(bs_sign(fx->site_sec, buf, domain_len + len, bytes + len), BS_OK);
	return len + BS_SIG_LEN;
}

/* What the site key itself signed may still be no record. */
static void
test_signed_but_wrong(void **state)
{
	static const struct { size_t at; uint8_t to; enum bs_err err; } cases[] = {
		{ 0, 'X', BS_ERR_FORMAT },    /* magic */
		{ 4, 2, BS_ERR_VERSION },     /* version */
		{ 5, 2, BS_ERR_VERSION },     /* suite */
		{ 6, 0x80, BS_ERR_VERSION },  /* flags */
		{ 26, 0xff, BS_OK },          /* account id: anything */
		{ 42, 0xff, BS_ERR_AUTH },    /* key id */
		{ 60, 0xff, BS_ERR_AUTH },    /* public key */
		{ 92, 'B', BS_ERR_FORMAT },   /* name: upper case */
		{ 92, '\n', BS_ERR_FORMAT },
		{ 92, '\0', BS_ERR_FORMAT },
		{ 92, 0x7f, BS_ERR_FORMAT },
	};
	struct fixture *fx = *state;
	uint8_t good[BS_RECORD_MAX], bytes[BS_RECORD_MAX];
	struct bs_record rec;
	size_t len, n;

	assert_int_equal(bs_record_sign(&fx->rec, fx->site_sec, good, &len), BS_OK);
	assert_memory_equal(good + 92, "bob@", 4);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memcpy(bytes, good, len);
		/* Random bytes may be what they are to become. */
		bytes[cases[i].at] = good[cases[i].at] == cases[i].to ? cases[i].to ^ 1 : cases[i].to;
		n = sign_raw(fx, "basalt record v1", bytes, len - BS_SIG_LEN);
		assert_int_equal(bs_record_open(bytes, n, fx->site_pub, NULL, &rec), cases[i].err);
	}
	memcpy(bytes, good, len);
	n = sign_raw(fx, "basalt record v2", bytes, len - BS_SIG_LEN);
	assert_int_equal(bs_record_open(bytes, n, fx->site_pub, NULL, &rec), BS_ERR_AUTH);
	memset(bytes + 10, 0, 8); /* generation 0 */
	n = sign_raw(fx, "basalt record v1", bytes, len - BS_SIG_LEN);
	assert_int_equal(bs_record_open(bytes, n, fx->site_pub, NULL, &rec), BS_ERR_FORMAT);
}

static void
test_sign_refuses(void **state)
{
	static const char *const names[] = { "", "Bob@example.org", "b b@example.org", "b\n@example.org" };
	struct fixture *fx = *state;
	struct bs_record rec;
	uint8_t bytes[BS_RECORD_MAX];
	size_t len = 12345;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		rec = fx->rec;
		(void)snprintf(rec.name, sizeof(rec.name), "%s", names[i]);
		assert_int_equal(bs_record_sign(&rec, fx->site_sec, bytes, &len), BS_ERR_ARG);
	}
	rec = fx->rec;
	memset(rec.name, 'x', sizeof(rec.name)); /* no NUL */
	assert_int_equal(bs_record_sign(&rec, fx->site_sec, bytes, &len), BS_ERR_ARG);
	rec = fx->rec;
	rec.generation = 0;
	assert_int_equal(bs_record_sign(&rec, fx->site_sec, bytes, &len), BS_ERR_ARG);
	rec = fx->rec;
	rec.flags = 0x04;
	assert_int_equal(bs_record_sign(&rec, fx->site_sec, bytes, &len), BS_ERR_ARG);
	rec = fx->rec;
	rec.key_id[0] ^= 1;
	assert_int_equal(bs_record_sign(&rec, fx->site_sec, bytes, &len), BS_ERR_ARG);
	assert_int_equal(len, 12345);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_vector, setup, teardown),
		cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_bit_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_site, setup, teardown),
		cmocka_unit_test_setup_teardown(test_signed_but_wrong, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sign_refuses, setup, teardown),
	};

	return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
