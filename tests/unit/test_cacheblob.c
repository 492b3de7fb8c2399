#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/cacheblob.h"
#include "common/compress.h"
#include "tests/vectors/cache.h"

static struct bs_cache_place
place(void)
{
	struct bs_cache_place p = { .uid_validity = CV_UID_VALIDITY, .uid = CV_UID, .epoch = BS_CACHE_EPOCH };

	memcpy(p.account_id, cv_account_id, BS_ID_LEN);
	memcpy(p.mailbox_guid, cv_mailbox_guid, 16);
	return p;
}

static enum bs_err
open_part(const uint8_t *data, size_t len, enum bs_cache_part part, const uint8_t *key, const struct bs_cache_place *p,
    uint8_t *plain, struct bs_cache_items *items)
{
	struct bs_cache_blob blob;
	enum bs_err err = bs_cache_parse(data, len, &blob);

	return err == BS_OK ? bs_cache_open(&blob, part, key, p, plain, items) : err;
}

static void
assert_item(const struct bs_cache_items *items, enum bs_cache_item i, const void *bytes, size_t len)
{
	assert_non_null(items->item[i].p);
	assert_int_equal(items->item[i].len, len);
	assert_memory_equal(items->item[i].p, bytes, len);
}

/* --- known answers --- */

static void
test_message_blob_opens(void **state)
{
	struct bs_cache_items items = { 0 };
	struct bs_cache_place p = place();
	struct bs_cache_numbers n;
	struct bs_msg_prefix prefix;
	struct bs_cache_blob blob;
	uint8_t plain[1024], key[BS_KEY_LEN], text[64];
	size_t len;

	(void)state;
	assert_int_equal(bs_cache_parse(cv_blob_message, sizeof(cv_blob_message), &blob), BS_OK);
	assert_int_equal(blob.kind, BS_CACHE_MESSAGE);
	assert_int_equal(bs_msg_prefix_parse(blob.prefix.p, blob.prefix.len, &prefix), BS_OK);
	assert_memory_equal(prefix.bytes, cv_prefix, sizeof(cv_prefix));
	assert_int_equal(bs_cache_message_key(&prefix, cv_data_key, key), BS_OK);
	assert_memory_equal(key, cv_message_key, BS_KEY_LEN);
	p.epoch = 99; /* counts for the other kind alone */
	assert_int_equal(bs_cache_open(&blob, BS_CACHE_LIST, key, &p, plain, &items), BS_OK);
	assert_item(&items, BS_CACHE_NUMBERS, cv_numbers, sizeof(cv_numbers));
	assert_item(&items, BS_CACHE_ENVELOPE, cv_envelope, sizeof(cv_envelope));
	assert_int_equal(bs_cache_numbers_read(&items.item[BS_CACHE_NUMBERS], &n), BS_OK);
	assert_true(n.physical_len == 1234 && n.virtual_len == 1270 && n.received == 1700000001 && n.saved == BS_CACHE_UNKNOWN);
	assert_true(n.sent == 1699999999 && n.sent_zone == -90 && n.nuls == BS_CACHE_NULS_NONE);
	bs_cache_numbers_write(&n, text);
	assert_memory_equal(text, cv_numbers, BS_CACHE_NUMBERS_LEN);
	assert_null(items.item[BS_CACHE_HEADER_TEXT].p);
	assert_int_equal(bs_cache_open(&blob, BS_CACHE_HEADER, key, &p, plain, &items), BS_OK);
	assert_int_equal(bs_cache_header_len(&items.item[BS_CACHE_HEADER_TEXT], &len), BS_OK);
	assert_int_equal(len, sizeof(cv_header));
	assert_int_equal(bs_cache_header_unpack(&items.item[BS_CACHE_HEADER_TEXT], text, len), BS_OK);
	assert_memory_equal(text, cv_header, len);
}

static void
test_account_blob_opens(void **state)
{
	struct bs_cache_items items = { 0 };
	struct bs_cache_place p = place();
	uint8_t plain[1024];

	(void)state;
	assert_int_equal(open_part(cv_blob_account, sizeof(cv_blob_account), BS_CACHE_LIST, cv_subkey, &p, plain, &items), BS_OK);
	assert_item(&items, BS_CACHE_DATA_KEY, cv_data_key, BS_KEY_LEN);
	assert_item(&items, BS_CACHE_BLOB_KEY, cv_message_key, BS_KEY_LEN);
	assert_item(&items, BS_CACHE_GUID, "0123456789abcdef", 16);
	assert_int_equal(open_part(cv_blob_account, sizeof(cv_blob_account), BS_CACHE_HEADER, cv_subkey, &p, plain, &items),
	    BS_ERR_NOENT);
	assert_int_equal(open_part(cv_blob_later, sizeof(cv_blob_later), BS_CACHE_LIST, cv_subkey, &p, plain, &items), BS_ERR_AUTH);
	p.epoch = 2;
	assert_int_equal(open_part(cv_blob_later, sizeof(cv_blob_later), BS_CACHE_LIST, cv_subkey, &p, plain, &items), BS_OK);
}

/* --- what must not open --- */

static void
test_elsewhere_it_does_not_open(void **state)
{
	struct bs_cache_items items = { 0 };
	uint8_t plain[1024], key[BS_KEY_LEN];

	(void)state;
	for (int i = 0; i < 6; i++) {
		struct bs_cache_place p = place();
		memcpy(key, cv_subkey, BS_KEY_LEN);
		p.account_id[15] ^= i == 0;
		p.mailbox_guid[0] ^= i == 1;
		p.uid_validity += i == 2;
		p.uid += i == 3;
		p.epoch += i == 4;
		key[31] ^= i == 5;
		assert_int_equal(open_part(cv_blob_account, sizeof(cv_blob_account), BS_CACHE_LIST, key, &p, plain, &items), BS_ERR_AUTH);
	}
	assert_null(items.item[BS_CACHE_DATA_KEY].p);
}

/* Whichever byte is changed, and wherever it is cut: an error, or (the mail's prefix, which keyd judges) another prefix. */
static void
test_each_byte_counts(void **state)
{
	struct bs_cache_place p = place();
	uint8_t copy[sizeof(cv_blob_message)], plain[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(copy); i++) {
		struct bs_cache_items items = { 0 };
		bool in_prefix = i >= 29 && i < 29 + sizeof(cv_prefix);
		enum bs_err list, header;

		memcpy(copy, cv_blob_message, sizeof(copy));
		copy[i] ^= 0x10;
		list = open_part(copy, sizeof(copy), BS_CACHE_LIST, cv_message_key, &p, plain, &items);
		header = open_part(copy, sizeof(copy), BS_CACHE_HEADER, cv_message_key, &p, plain, &items);
		assert_int_equal(list == BS_OK && header == BS_OK, in_prefix);
		assert_int_not_equal(bs_cache_parse(cv_blob_message, i, &(struct bs_cache_blob){ 0 }), BS_OK);
	}
}

static void
test_another_version(void **state)
{
	uint8_t copy[sizeof(cv_blob_account)];
	struct bs_cache_blob blob;

	(void)state;
	for (int i = 0; i < 3; i++) {
		memcpy(copy, cv_blob_account, sizeof(copy));
		copy[i] = 7;
		assert_int_equal(bs_cache_parse(copy, sizeof(copy), &blob), BS_ERR_VERSION);
	}
}

/* --- items --- */

static void
test_items_are_checked(void **state)
{
	static const struct {
		enum bs_cache_part part;
		size_t len;
		uint8_t bytes[40];
	} bad[] = {
		{ BS_CACHE_LIST, 3, { 2, 0, 0 } },                          /* cut in its head */
		{ BS_CACHE_LIST, 5, { 2, 0, 0, 2, 'x' } },                  /* longer than what there is */
		{ BS_CACHE_LIST, 10, { 3, 0, 0, 1, 'x', 2, 0, 0, 1, 'y' } }, /* not ascending */
		{ BS_CACHE_LIST, 10, { 2, 0, 0, 1, 'x', 2, 0, 0, 1, 'y' } }, /* twice */
		{ BS_CACHE_LIST, 4, { 2, 0, 0, 0 } },                       /* an empty text */
		{ BS_CACHE_LIST, 6, { 2, 0, 0, 2, 'x', 0 } },               /* a NUL in a text */
		{ BS_CACHE_LIST, 5, { 1, 0, 0, 1, 'x' } },                  /* numbers too short */
		{ BS_CACHE_LIST, 20, { 8, 0, 0, 16 } },                     /* half a key */
		{ BS_CACHE_LIST, 5, { 16, 0, 0, 1, 'x' } },                 /* of the other part */
		{ BS_CACHE_HEADER, 5, { 2, 0, 0, 1, 'x' } },
		{ BS_CACHE_LIST, 5, { 0, 0, 0, 1, 'x' } },                  /* no number */
	};
	static const uint8_t later[] = { 2, 0, 0, 1, 'x', 12, 0, 0, 1, 'y' };
	struct bs_cache_items items = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(bs_cache_items_parse(bad[i].part, bad[i].bytes, bad[i].len, &items), BS_ERR_FORMAT);
	assert_int_equal(bs_cache_items_parse(BS_CACHE_LIST, later, sizeof(later), &items), BS_OK);
	assert_item(&items, BS_CACHE_ENVELOPE, "x", 1);
}

static void
test_headers_are_packed(void **state)
{
	static uint8_t text[BS_CACHE_HEADER_MAX + 1], packed[BS_CACHE_HEADER_BOUND(sizeof(text))], out[sizeof(text)];
	static const size_t lengths[] = { 1, 2, 63, 64, 1000, 65535, BS_CACHE_HEADER_MAX };
	void *work = malloc(BS_COMPRESS_WORK_LEN);
	size_t len;

	(void)state;
	assert_int_equal(bs_compress_init(), BS_OK);
	for (int noise = 0; noise < 2; noise++) {
		if (noise)
			bs_random(text, sizeof(text));
		for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
			struct bs_cache_bytes item = { packed, bs_cache_header_pack(work, text, lengths[i], packed, sizeof(packed)) };
			assert_true(item.len > 0 && item.len <= lengths[i] + 4);
			assert_int_equal(bs_cache_header_len(&item, &len), BS_OK);
			assert_int_equal(len, lengths[i]);
			assert_int_equal(bs_cache_header_unpack(&item, out, len), BS_OK);
			assert_memory_equal(out, text, len);
			item.len--;
			assert_true(bs_cache_header_len(&item, &len) != BS_OK || bs_cache_header_unpack(&item, out, len) != BS_OK);
		}
	}
	assert_int_equal(bs_cache_header_pack(work, text, 0, packed, sizeof(packed)), 0);
	assert_int_equal(bs_cache_header_pack(work, text, sizeof(text), packed, sizeof(packed)), 0);
	free(work);
}

static void
test_sealing_has_its_bounds(void **state)
{
	struct bs_cache_items items = { 0 };
	struct bs_cache_place p = place();
	uint8_t out[256];
	size_t len, need;

	(void)state;
	items.item[BS_CACHE_ENVELOPE] = (struct bs_cache_bytes){ (const uint8_t *)"x", 1 };
	need = bs_cache_sealed_len(NULL, &items);
	assert_int_equal(bs_cache_seal(BS_CACHE_ACCOUNT, cv_subkey, &p, NULL, &items, out, need - 1, &len), BS_ERR_LIMIT);
	assert_int_equal(bs_cache_seal(BS_CACHE_ACCOUNT, cv_subkey, &p, NULL, &items, out, need, &len), BS_OK);
	assert_int_equal(len, need);
	assert_int_equal(bs_cache_seal(BS_CACHE_MESSAGE, cv_subkey, &p, NULL, &items, out, sizeof(out), &len), BS_ERR_ARG);
}

/* Dovecot sends ENVELOPE and BODYSTRUCTURE between parentheses as they are: no text gets out of them. */
static void
test_texts_stay_inside(void **state)
{
	static const struct {
		const char *text;
		bool sound;
	} cases[] = {
		{ "NIL \"a \\\" b\" ((NIL NIL \"x\" \"y\")) {3}\r\na\r\n\")", false },
		{ "NIL \"a \\\" b\" ((NIL NIL \"x\" \"y\")) {5}\r\na\r\n\") NIL", true },
		{ "NIL \"a \\\" b\" ((NIL NIL \"x\" \"y\")) {4}\r\na\r\n) NIL", true },
		{ "NIL)\r\n* OK [ALERT] injected\r\n* 1 FETCH (X (NIL)", false },
		{ "NIL\r\nNIL", false },
		{ "\"a\r\nb\"", false },
		{ "\"a\\\r\nb\"", false },
		{ "\"open", false },
		{ "\"open\\", false },
		{ ")(", false },
		{ "((NIL)", false },
		{ "{3}\r\nab", false },
		{ "{}\r\nab", false },
		{ "{99999999999999999999}\r\nab", false },
		{ "{2}ab", false },
		{ "\"text\" \"plain\" (\"charset\" \"utf-8\") NIL NIL \"8bit\" 12 1 NIL NIL NIL NIL", true },
		{ "\"caf\xc3\xa9\"", true },
		{ "caf\xc3\xa9", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (uint8_t number = BS_CACHE_ENVELOPE; number <= BS_CACHE_STRUCTURE; number++) {
			struct bs_cache_items items = { 0 };
			uint8_t bytes[128] = { number, 0, 0, (uint8_t)strlen(cases[i].text) };

			memcpy(bytes + 4, cases[i].text, bytes[3]);
			if (bs_cache_items_parse(BS_CACHE_LIST, bytes, 4u + bytes[3], &items) != (cases[i].sound ? BS_OK : BS_ERR_FORMAT))
				fail_msg("case %zu", i);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_message_blob_opens),
		cmocka_unit_test(test_account_blob_opens),
		cmocka_unit_test(test_elsewhere_it_does_not_open),
		cmocka_unit_test(test_each_byte_counts),
		cmocka_unit_test(test_another_version),
		cmocka_unit_test(test_items_are_checked),
		cmocka_unit_test(test_texts_stay_inside),
		cmocka_unit_test(test_headers_are_packed),
		cmocka_unit_test(test_sealing_has_its_bounds),
	};

	if (bs_crypto_init() != BS_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
