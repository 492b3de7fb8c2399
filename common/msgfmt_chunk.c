/* msgfmt: one chunk's frame and its tag, and the keys of a message. */
#include <string.h>

#include "msgfmt_priv.h"
#include "wire.h"

#define AAD_LEN (BS_HASH_LEN + 16)

void
bs_msg_head_write(const struct bs_msg_head *head, uint8_t out[BS_MSG_HEAD_LEN])
{
	struct bs_wr wr = bs_wr_init(out, BS_MSG_HEAD_LEN);

	bs_wr_u8(&wr, head->kind);
	bs_wr_u8(&wr, head->flags);
	bs_wr_u24(&wr, head->plain_len);
	bs_wr_u24(&wr, head->stored_len);
}

bool
bs_msg_head_is(const struct bs_msg_head *head, const uint8_t p[BS_MSG_HEAD_LEN])
{
	uint8_t expected[BS_MSG_HEAD_LEN];

	bs_msg_head_write(head, expected);
	return memcmp(expected, p, sizeof(expected)) == 0;
}

static enum bs_err
derive(const uint8_t *data_key, const uint8_t h[BS_HASH_LEN], const char *label, uint8_t out[BS_KEY_LEN])
{
	return bs_hkdf(data_key, BS_KEY_LEN, h, BS_HASH_LEN, label, strlen(label), out);
}

static enum bs_err
derive_cipher(const uint8_t *data_key, const uint8_t h[BS_HASH_LEN], const char *label, struct bs_gcm **out)
{
	uint8_t key[BS_KEY_LEN];
	enum bs_err err = derive(data_key, h, label, key);

	if (err == BS_OK) {
		*out = bs_gcm_new(key);
		if (*out == NULL)
			err = BS_ERR_NOMEM;
	}
	bs_wipe(key, sizeof(key));
	return err;
}

enum bs_err
bs_msg_keys_init(struct bs_msg_keys *keys, uint8_t suite, const uint8_t *prefix, size_t hashed_len,
    const uint8_t *data_key)
{
	enum bs_err err = BS_OK;

	memset(keys, 0, sizeof(*keys));
	keys->suite = suite;
	bs_sha256(prefix, hashed_len, keys->h);
	if (suite == BS_MSG_SUITE_PLAIN) {
		keys->hash = bs_sha256_new();
		return keys->hash == NULL ? BS_ERR_NOMEM : BS_OK;
	}
	err = derive(data_key, keys->h, "basalt commitment v1", keys->commitment);
	if (err == BS_OK)
		err = derive_cipher(data_key, keys->h, "basalt chunk v1", &keys->chunk);
	if (err == BS_OK)
		err = derive_cipher(data_key, keys->h, "basalt trailer v1", &keys->trailer);
	if (err != BS_OK)
		bs_msg_keys_clear(keys);
	return err;
}

enum bs_err
bs_msg_key_fits(const struct bs_msg_prefix *prefix, const uint8_t data_key[BS_KEY_LEN])
{
	uint8_t h[BS_HASH_LEN], commitment[BS_HASH_LEN];
	enum bs_err err;

	if (prefix->suite == BS_MSG_SUITE_PLAIN)
		return BS_ERR_NOKEY;
	bs_sha256(prefix->bytes, prefix->hashed_len, h);
	err = derive(data_key, h, "basalt commitment v1", commitment);
	return err == BS_OK && !bs_equal(commitment, prefix->commitment, BS_HASH_LEN) ? BS_ERR_AUTH : err;
}

void
bs_msg_keys_clear(struct bs_msg_keys *keys)
{
	bs_gcm_free(keys->chunk);
	bs_gcm_free(keys->trailer);
	bs_sha256_free(keys->hash);
	memset(keys, 0, sizeof(*keys));
}

static void
make_aad(const struct bs_msg_keys *keys, const struct bs_msg_head *head, uint64_t index, uint8_t out[AAD_LEN])
{
	struct bs_wr wr = bs_wr_init(out, AAD_LEN);

	bs_wr_bytes(&wr, keys->h, BS_HASH_LEN);
	bs_wr_u8(&wr, head->kind);
	bs_wr_u64(&wr, index);
	bs_wr_u8(&wr, head->flags);
	bs_wr_u24(&wr, head->plain_len);
	bs_wr_u24(&wr, head->stored_len);
}

static void
make_nonce(const struct bs_msg_head *head, uint64_t index, uint8_t out[BS_NONCE_LEN])
{
	struct bs_wr wr = bs_wr_init(out, BS_NONCE_LEN);

	bs_wr_u32(&wr, head->kind);
	bs_wr_u64(&wr, index);
}

/* The tag of suite 0 finds damage; anybody can make it. */
static void
plain_tag(struct bs_msg_keys *keys, const uint8_t aad[AAD_LEN], const uint8_t *data, size_t len, uint8_t tag[BS_TAG_LEN])
{
	uint8_t digest[BS_HASH_LEN];

	bs_sha256_update(keys->hash, aad, AAD_LEN);
	bs_sha256_update(keys->hash, data, len);
	bs_sha256_final(keys->hash, digest);
	memcpy(tag, digest, BS_TAG_LEN);
}

static struct bs_gcm *
cipher_of(const struct bs_msg_keys *keys, uint8_t kind)
{
	return kind == BS_MSG_KIND_TRAILER ? keys->trailer : keys->chunk;
}

enum bs_err
bs_msg_chunk_seal(struct bs_msg_keys *keys, const struct bs_msg_head *head, uint64_t index, const uint8_t *in,
    uint8_t *out, uint8_t tag[BS_TAG_LEN])
{
	uint8_t aad[AAD_LEN], nonce[BS_NONCE_LEN];

	make_aad(keys, head, index, aad);
	if (keys->suite == BS_MSG_SUITE_PLAIN) {
		plain_tag(keys, aad, in, head->stored_len, tag);
		if (out != in && head->stored_len > 0)
			memcpy(out, in, head->stored_len);
		return BS_OK;
	}
	make_nonce(head, index, nonce);
	return bs_gcm_seal(cipher_of(keys, head->kind), nonce, aad, sizeof(aad), in, head->stored_len, out, tag);
}

enum bs_err
bs_msg_chunk_open(struct bs_msg_keys *keys, const struct bs_msg_head *head, uint64_t index, const uint8_t *in,
    const uint8_t tag[BS_TAG_LEN], uint8_t *out, const uint8_t **stored)
{
	uint8_t aad[AAD_LEN], nonce[BS_NONCE_LEN], expected[BS_TAG_LEN];
	enum bs_err err;

	make_aad(keys, head, index, aad);
	if (keys->suite == BS_MSG_SUITE_PLAIN) {
		plain_tag(keys, aad, in, head->stored_len, expected);
		if (!bs_equal(expected, tag, sizeof(expected)))
			return BS_ERR_AUTH;
		*stored = in;
		return BS_OK;
	}
	make_nonce(head, index, nonce);
	err = bs_gcm_open(cipher_of(keys, head->kind), nonce, aad, sizeof(aad), in, head->stored_len, tag, out);
	if (err == BS_OK)
		*stored = out;
	return err;
}
