#include "selftest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keyset.h"

/* One account's worth of keys, none of them anybody's. */
struct sample {
	uint8_t site_pub[BS_SIGN_PUB_LEN], site_sec[BS_SIGN_SEC_LEN];
	uint8_t seed[BS_KEY_LEN], amk[BS_KEY_LEN];
	struct bs_record rec;
	struct bs_slot slot;
	struct bs_ring_key key;
	uint8_t blob[4096];
	size_t blob_len;
};

static enum bs_err
make(struct sample *s)
{
	enum bs_err err;

	bs_sign_keypair(s->site_pub, s->site_sec);
	bs_random(s->seed, BS_KEY_LEN);
	bs_random(s->amk, BS_KEY_LEN);
	bs_x25519_keypair(s->key.public_key, s->key.secret_key);
	bs_msg_key_id(BS_MSG_SUITE_X25519, s->key.public_key, s->key.key_id);
	s->key.active = true;
	memcpy(s->rec.name, "self@test.invalid", 18);
	bs_random(s->rec.account_id, BS_ID_LEN);
	memcpy(s->rec.key_id, s->key.key_id, BS_ID_LEN);
	memcpy(s->rec.public_key, s->key.public_key, BS_KEY_LEN);
	s->rec.generation = 1;
	s->slot.kind = BS_SLOT_PASSWORD;
	s->slot.generation = 1;
	s->slot.memory_kib = BS_ARGON2_MEMORY_KIB_MIN;
	s->slot.passes = BS_ARGON2_PASSES_MIN;
	err = bs_keyset_make_slot(s->rec.account_id, &s->slot, s->seed, s->amk);
	if (err != BS_OK)
		return err;
	return bs_keyset_write(&(struct bs_keyset_parts){ .record = &s->rec, .slots = &s->slot, .slot_count = 1, .keys = &s->key,
	    .key_count = 1 }, s->site_sec, s->amk, s->blob, sizeof(s->blob), &s->blob_len);
}

/* Opens the blob with what should open it. */
static enum bs_err
open_all(const struct sample *s)
{
	struct bs_keyset ks;
	struct bs_ring_key key;
	uint8_t amk[BS_KEY_LEN];
	size_t count = 0;
	enum bs_err err = bs_keyset_parse(s->blob, s->blob_len, &ks);

	if (err != BS_OK)
		return err;
	err = bs_keyset_verify(&ks, s->site_pub, s->rec.name);
	if (err == BS_OK)
		err = bs_keyset_open_slot(&ks, 0, s->seed, amk);
	if (err == BS_OK)
		err = bs_keyset_check(&ks, amk);
	if (err == BS_OK)
		err = bs_keyset_open_ring(&ks, amk, &key, 1, &count);
	if (err == BS_OK && (count != 1 || !bs_equal(key.secret_key, s->key.secret_key, BS_KEY_LEN)))
		err = BS_ERR_CRYPTO;
	bs_wipe(&key, sizeof(key));
	bs_wipe(amk, sizeof(amk));
	bs_keyset_clear(&ks);
	return err;
}

enum bs_err
selftest_keyset(void)
{
	struct sample *s = calloc(1, sizeof(*s));
	enum bs_err err;

	if (s == NULL)
		return BS_ERR_NOMEM;
	err = make(s);
	if (err == BS_OK)
		err = open_all(s);
	/* What does not refuse a forgery is broken however well it opens what is right. */
	for (size_t i = 0; err == BS_OK && i < s->blob_len; i += 7) {
		s->blob[i] ^= 0x10;
		if (open_all(s) == BS_OK)
			err = BS_ERR_CRYPTO;
		s->blob[i] ^= 0x10;
	}
	s->seed[1] ^= 1; /* not the first byte: X25519 ignores its low bits */
	if (err == BS_OK && open_all(s) != BS_ERR_DENIED)
		err = BS_ERR_CRYPTO;
	bs_wipe(s, sizeof(*s));
	free(s);
	return err == BS_OK ? BS_OK : BS_ERR_CRYPTO;
}

enum bs_err
selftest_run(char *errbuf, size_t errbuf_size)
{
	const char *what = "a primitive gives a wrong answer";
	enum bs_err err = bs_crypto_init();

	if (err == BS_OK)
		err = bs_crypto_selftest();
	if (err == BS_OK) {
		what = "a keyset does not come back as it was made";
		err = selftest_keyset();
	}
	if (err != BS_OK)
		(void)snprintf(errbuf, errbuf_size, "self test failed: %s: %s", what, bs_err_text(err));
	return err;
}
