/*
 * fuzz_cacheblob: hostile bytes as a blob's outside, as what is found in an opened part, and as a compressed header. What
 * parses lies inside the input; what is sealed again opens to the same items.
 */
#include <stdlib.h>
#include <string.h>

#include "common/cacheblob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
need(bool ok)
{
	if (!ok)
		abort();
}

static void
outside(const uint8_t *data, size_t size)
{
	static const uint8_t key[BS_KEY_LEN];
	static const struct bs_cache_place place;
	struct bs_cache_items items = { 0 };
	struct bs_cache_blob blob;
	uint8_t *plain;

	if (bs_cache_parse(data, size, &blob) != BS_OK)
		return;
	for (unsigned i = 0; i < BS_CACHE_PARTS; i++) {
		if (blob.part[i].p == NULL)
			continue;
		need(blob.part[i].p >= data && blob.part[i].p + blob.part[i].len <= data + size);
		plain = malloc(blob.part[i].len);
		need(bs_cache_open(&blob, (enum bs_cache_part)i, key, &place, plain, &items) != BS_OK);
		free(plain);
	}
}

static void
inside(enum bs_cache_part part, const uint8_t *data, size_t size)
{
	static const uint8_t key[BS_KEY_LEN] = { 1 };
	static const struct bs_cache_place place = { .uid = 1 };
	struct bs_cache_items items = { 0 }, again = { 0 };
	struct bs_cache_numbers n;
	struct bs_cache_blob blob;
	uint8_t *sealed, *plain;
	size_t room, len;

	if (bs_cache_items_parse(part, data, size, &items) != BS_OK)
		return;
	if (items.item[BS_CACHE_NUMBERS].p != NULL)
		(void)!bs_cache_numbers_read(&items.item[BS_CACHE_NUMBERS], &n);
	if (items.item[BS_CACHE_HEADER_TEXT].p != NULL &&
	    bs_cache_header_len(&items.item[BS_CACHE_HEADER_TEXT], &len) == BS_OK) {
		plain = malloc(len);
		(void)!bs_cache_header_unpack(&items.item[BS_CACHE_HEADER_TEXT], plain, len);
		free(plain);
	}
	room = bs_cache_sealed_len(NULL, &items);
	sealed = malloc(room);
	need(bs_cache_seal(BS_CACHE_ACCOUNT, key, &place, NULL, &items, sealed, room, &len) == BS_OK && len == room);
	need(bs_cache_parse(sealed, len, &blob) == BS_OK);
	if (blob.part[part].p != NULL) {
		plain = malloc(blob.part[part].len);
		need(bs_cache_open(&blob, part, key, &place, plain, &again) == BS_OK);
		for (unsigned i = 1; i < BS_CACHE_ITEMS; i++) {
			need(again.item[i].len == items.item[i].len);
			need(again.item[i].len == 0 || memcmp(again.item[i].p, items.item[i].p, items.item[i].len) == 0);
		}
		free(plain);
	}
	free(sealed);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	need(bs_crypto_init() == BS_OK);
	outside(data, size);
	inside(BS_CACHE_LIST, data, size);
	inside(BS_CACHE_HEADER, data, size);
	return 0;
}
