/*
 * fuzz_keyset: the parser of keysets on hostile bytes. What parses is written again as the same bytes, and no login with
 * it succeeds unless it is the vector; what stands before a damaged kept section, too. Input that does not parse is taken for
 * the plaintext of a ring, which no fuzzer could reach behind its tag.
 */
#include <stdlib.h>
#include <string.h>

#include "common/keyset_priv.h"
#include "tests/vectors/keys.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
need(bool ok)
{
	if (!ok)
		abort();
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	need(bs_crypto_init() == BS_OK);
	return 0;
}

/* The vector's keyset with another ring, sealed as it should be. */
static void
try_ring(const uint8_t *plain, size_t plain_len)
{
	uint8_t key[BS_KEY_LEN], aad[BS_ID_LEN + 8] = { 0 };
	struct bs_ring_key keys[BS_RING_MAX];
	struct bs_keyset ks;
	size_t n = 0, active = 0;

	if (plain_len > BS_RING_PLAIN_LEN(BS_RING_MAX + 1))
		return;
	need(bs_keyset_parse(kv_blob, sizeof(kv_blob), &ks) == BS_OK);
	free(ks.sealed_ring);
	ks.sealed_ring_len = BS_RING_OVERHEAD + plain_len;
	ks.sealed_ring = calloc(1, ks.sealed_ring_len);
	need(ks.sealed_ring != NULL);
	memcpy(aad, kv_account, BS_ID_LEN);
	aad[sizeof(aad) - 1] = KV_GENERATION;
	need(bs_hkdf(kv_amk, BS_KEY_LEN, kv_account, BS_ID_LEN, "basalt ring v1", 14, key) == BS_OK);
	need(bs_xchacha_seal(key, ks.sealed_ring, aad, sizeof(aad), plain, plain_len, ks.sealed_ring + BS_XNONCE_LEN) == BS_OK);
	if (bs_keyset_open_ring(&ks, kv_amk, keys, BS_RING_MAX, &n) == BS_OK) {
		need(n >= 1 && n <= BS_RING_MAX);
		for (size_t i = 0; i < n; i++)
			active += keys[i].active;
		need(active == 1);
	}
	bs_keyset_clear(&ks);
}

/* What lies beside can be read, and written again without one of them. */
static void
need_kept(const struct bs_keyset *ks)
{
	size_t n = bs_keyset_kept_count(ks), len;
	struct bs_keyset kept;
	uint8_t *section;

	need(n <= BS_KEPT_MAX && (ks->version > 1 || n == 0));
	for (size_t i = 0; i < n; i++) {
		need(bs_keyset_kept(ks, i, &kept) == BS_OK && kept.kept_len == 0);
		need(bs_keyset_kept_holds(ks, &kept));
		bs_keyset_clear(&kept);
		need(bs_keyset_kept_drop(ks, i, &section, &len) == BS_OK && len < ks->kept_len && section[0] == n - 1);
		free(section);
	}
}

/* The core of what is damaged behind it, and of what is not, is the same bytes again. */
static void
need_core(const uint8_t *data, size_t size)
{
	static uint8_t core[BS_KEYSET_MAX];
	struct bs_keyset ks;
	size_t len;

	if (bs_keyset_parse_without_kept(data, size, &ks) != BS_OK)
		return;
	need(ks.kept == NULL && ks.kept_len == 0 && ks.slot_count >= 1);
	need(bs_keyset_core_bytes(&ks, core, sizeof(core), &len) == BS_OK);
	need(len <= size && memcmp(core, data, len) == 0);
	bs_keyset_clear(&ks);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t again[BS_KEYSET_MAX];
	struct bs_ring_key keys[BS_RING_MAX];
	uint8_t amk[BS_KEY_LEN];
	struct bs_keyset ks;
	size_t len, n;
	bool opens;

	need_core(data, size);
	if (bs_keyset_parse(data, size, &ks) != BS_OK) {
		try_ring(data, size);
		return 0;
	}
	need(ks.slot_count >= 1 && ks.slot_count <= BS_SLOTS_MAX);
	need(bs_keyset_bytes(&ks, again, sizeof(again), &len) == BS_OK);
	need(len == size && memcmp(again, data, size) == 0);
	opens = bs_keyset_verify(&ks, kv_site_pub, KV_NAME) == BS_OK && bs_keyset_open_slot(&ks, 0, kv_seed, amk) == BS_OK &&
	    bs_keyset_check(&ks, amk) == BS_OK && bs_keyset_open_ring(&ks, amk, keys, BS_RING_MAX, &n) == BS_OK;
	/* The seeds hold two keysets of that account and AMK. */
	need(!opens || size == sizeof(kv_blob) || ks.slot_count == 1);
	need_kept(&ks);
	bs_keyset_clear(&ks);
	return 0;
}
