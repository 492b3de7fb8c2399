/*
 * fuzz_record: the parser of records on hostile bytes. What parses and could be signed is written again as the same bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "common/record.h"
#include "tests/vectors/keys.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t site_pub[BS_SIGN_PUB_LEN], site_sec[BS_SIGN_SEC_LEN];

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
	bs_sign_keypair(site_pub, site_sec);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t bytes[BS_RECORD_MAX];
	struct bs_record rec, again;
	size_t len;

	/* The key of this run is random: nothing was signed by it. */
	need(bs_record_open(data, size, site_pub, NULL, &rec) != BS_OK);
	if (bs_record_parse(data, size, &rec) != BS_OK)
		return 0;
	need(strlen(rec.name) > 0);
	(void)bs_record_open(data, size, kv_site_pub, rec.name, &again);
	bs_msg_key_id(BS_MSG_SUITE_X25519, rec.public_key, again.key_id);
	if (memcmp(again.key_id, rec.key_id, BS_ID_LEN) != 0)
		return 0;
	need(bs_record_sign(&rec, site_sec, bytes, &len) == BS_OK && len == size);
	need(memcmp(bytes, data, len - BS_SIG_LEN) == 0);
	need(bs_record_open(bytes, len, site_pub, rec.name, &again) == BS_OK);
	return 0;
}
