/* The memory of records: how long, whose, and how much of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/recent.h"

static const uint8_t key[BS_KEY_LEN] = { 1 };

static void
test_a_moment_and_no_longer(void **state)
{
	struct bs_recent *recent = bs_recent_new(key);
	uint8_t out[BS_RECORD_MAX];

	(void)state;
	assert_int_equal(bs_recent_get(recent, "a@example.org", 0, out), 0);
	bs_recent_put(recent, "a@example.org", (const uint8_t *)"record", 6, 5000);
	assert_int_equal(bs_recent_get(recent, "a@example.org", 5000 + BS_RECENT_MS - 1, out), 6);
	assert_memory_equal(out, "record", 6);
	assert_int_equal(bs_recent_get(recent, "a@example.org", 5000 + BS_RECENT_MS, out), 0);
	assert_int_equal(bs_recent_get(recent, "b@example.org", 5000, out), 0);
	bs_recent_put(recent, "a@example.org", (const uint8_t *)"newer", 5, 5500);
	assert_int_equal(bs_recent_get(recent, "a@example.org", 5000 + BS_RECENT_MS, out), 5);
	bs_recent_forget(recent, "b@example.org");
	assert_int_equal(bs_recent_get(recent, "a@example.org", 5500, out), 5);
	bs_recent_forget(recent, "a@example.org");
	assert_int_equal(bs_recent_get(recent, "a@example.org", 5500, out), 0);
	bs_recent_free(recent);
}

/* Names that share a place never get each other's record; what is too long is not kept. */
static void
test_no_mistaken_names(void **state)
{
	struct bs_recent *recent = bs_recent_new(key);
	uint8_t out[BS_RECORD_MAX], long_record[BS_RECORD_MAX + 1] = { 0 };
	char name[32];
	unsigned kept = 0;

	(void)state;
	for (unsigned i = 0; i < 4 * BS_RECENT_PLACES; i++) {
		(void)snprintf(name, sizeof(name), "%u@example.org", i);
		bs_recent_put(recent, name, (const uint8_t *)name, strlen(name), 1);
	}
	for (unsigned i = 0; i < 4 * BS_RECENT_PLACES; i++) {
		size_t len;
		(void)snprintf(name, sizeof(name), "%u@example.org", i);
		len = bs_recent_get(recent, name, 1, out);
		if (len == 0)
			continue;
		assert_int_equal(len, strlen(name));
		assert_memory_equal(out, name, len);
		kept++;
	}
	assert_in_range(kept, BS_RECENT_PLACES / 2, BS_RECENT_PLACES);
	bs_recent_put(recent, "long@example.org", long_record, sizeof(long_record), 1);
	assert_int_equal(bs_recent_get(recent, "long@example.org", 1, out), 0);
	bs_recent_put(recent, "full@example.org", long_record, BS_RECORD_MAX, 1);
	assert_int_equal(bs_recent_get(recent, "full@example.org", 1, out), BS_RECORD_MAX);
	bs_recent_free(recent);
	bs_recent_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_moment_and_no_longer),
		cmocka_unit_test(test_no_mistaken_names),
	};

	if (bs_crypto_init() != BS_OK)
		return 1;
	return cmocka_run_group_tests_name("recent", tests, NULL, NULL);
}
