/* msgfmt: the two ends of a sealed file that are readable without a key, and the sealed data key. */
#include <string.h>

#include "msgfmt_priv.h"
#include "wire.h"

bool
bs_msg_is_sealed(const void *data, size_t len)
{
	return len >= BS_MSG_MAGIC_LEN && memcmp(data, BS_MSG_MAGIC, BS_MSG_MAGIC_LEN) == 0;
}

static bool
all_zero(const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (p[i] != 0)
			return false;
	}
	return true;
}

/* Lengths are exact in each suite; looked at before the bytes they announce are there. */
static bool
lengths_fit(const struct bs_msg_prefix *prefix, bool key_len_known)
{
	bool sealed = prefix->suite == BS_MSG_SUITE_X25519;

	if (prefix->kem_len != (sealed ? BS_MSG_KEM_X25519_LEN : 0))
		return false;
	return !key_len_known || prefix->sealed_key_len == (sealed ? BS_SEALED_KEY_LEN : 0);
}

/* Version, suite and flags decide how the rest is read, so they are judged as soon as they are there. */
static enum bs_err
parse_kind(struct bs_rd *rd, struct bs_msg_prefix *out)
{
	const uint8_t *magic;
	size_t have = rd->left < BS_MSG_MAGIC_LEN ? rd->left : BS_MSG_MAGIC_LEN;

	if (have > 0 && memcmp(rd->p, BS_MSG_MAGIC, have) != 0)
		return BS_ERR_FORMAT;
	magic = bs_rd_bytes(rd, BS_MSG_MAGIC_LEN);
	out->version = bs_rd_u8(rd);
	if (!rd->failed && out->version != BS_MSG_VERSION && out->version != BS_MSG_VERSION_LZO)
		return BS_ERR_VERSION;
	out->suite = bs_rd_u8(rd);
	out->flags = bs_rd_u16(rd);
	if (rd->failed)
		return BS_ERR_SHORT;
	if (out->suite > BS_MSG_SUITE_X25519 || out->flags != 0)
		return BS_ERR_VERSION;
	out->bytes = magic;
	return BS_OK;
}

static void
parse_id(struct bs_rd *rd, uint8_t out[BS_ID_LEN])
{
	const uint8_t *p = bs_rd_bytes(rd, BS_ID_LEN);

	if (p != NULL)
		memcpy(out, p, BS_ID_LEN);
}

enum bs_err
bs_msg_prefix_parse(const void *data, size_t len, struct bs_msg_prefix *out)
{
	struct bs_rd rd = bs_rd_init(data, len);
	struct bs_msg_prefix prefix = { 0 };
	enum bs_err err = parse_kind(&rd, &prefix);

	if (err != BS_OK)
		return err;
	parse_id(&rd, prefix.account_id);
	parse_id(&rd, prefix.message_id);
	parse_id(&rd, prefix.key_id);
	prefix.kem_len = bs_rd_u16(&rd);
	if (!rd.failed && !lengths_fit(&prefix, false))
		return BS_ERR_FORMAT;
	prefix.kem = bs_rd_bytes(&rd, prefix.kem_len);
	prefix.sealed_key_len = bs_rd_u16(&rd);
	if (!rd.failed && !lengths_fit(&prefix, true))
		return BS_ERR_FORMAT;
	prefix.sealed_key = bs_rd_bytes(&rd, prefix.sealed_key_len);
	prefix.hashed_len = len - rd.left;
	if (prefix.suite == BS_MSG_SUITE_X25519)
		prefix.commitment = bs_rd_bytes(&rd, BS_HASH_LEN);
	if (rd.failed)
		return BS_ERR_SHORT;
	if (prefix.suite == BS_MSG_SUITE_PLAIN && !all_zero(prefix.key_id, BS_ID_LEN))
		return BS_ERR_FORMAT;
	prefix.len = len - rd.left;
	*out = prefix;
	return BS_OK;
}

void
bs_msg_key_id(uint8_t suite, const uint8_t pub[BS_KEY_LEN], uint8_t out[BS_ID_LEN])
{
	static const char label[] = "basalt key id v1";
	uint8_t text[sizeof(label) - 1 + 1 + BS_KEY_LEN], digest[BS_HASH_LEN];
	struct bs_wr wr = bs_wr_init(text, sizeof(text));

	bs_wr_bytes(&wr, label, sizeof(label) - 1);
	bs_wr_u8(&wr, suite);
	bs_wr_bytes(&wr, pub, BS_KEY_LEN);
	bs_sha256(text, sizeof(text), digest);
	memcpy(out, digest, BS_ID_LEN);
}

enum bs_err
bs_msg_unwrap(const struct bs_msg_prefix *prefix, const uint8_t sec[BS_KEY_LEN], const uint8_t pub[BS_KEY_LEN],
    struct bs_kem *kem, uint8_t data_key[BS_KEY_LEN])
{
	uint8_t key_id[BS_ID_LEN];
	enum bs_err err;

	if (prefix->suite != BS_MSG_SUITE_X25519)
		return BS_ERR_NOKEY;
	bs_msg_key_id(prefix->suite, pub, key_id);
	if (memcmp(key_id, prefix->key_id, BS_ID_LEN) != 0)
		return BS_ERR_NOKEY;
	err = bs_kem_accept(sec, pub, prefix->kem, kem);
	if (err != BS_OK)
		return err;
	return bs_kem_open_by(kem, prefix->message_id, BS_MSG_KEM_LABEL, prefix->bytes, BS_MSG_FIELDS_LEN, prefix->sealed_key,
	    data_key);
}

enum bs_err
bs_msg_footer_parse(const uint8_t footer[BS_MSG_FOOTER_LEN], uint64_t file_size, uint64_t *trailer_off,
    uint32_t *trailer_len, uint8_t digest[BS_HASH_LEN])
{
	struct bs_rd rd = bs_rd_init(footer, BS_MSG_FOOTER_LEN);
	uint64_t off = bs_rd_u64(&rd);
	uint32_t len = bs_rd_u32(&rd);
	const uint8_t *magic = bs_rd_bytes(&rd, 4);

	if (memcmp(magic, BS_MSG_FOOTER_MAGIC, 4) != 0)
		return BS_ERR_FORMAT;
	if (len < BS_MSG_FRAME_LEN + BS_MSG_TRAILER_FIXED + BS_MSG_INDEX_LEN ||
	    len > BS_MSG_FRAME_LEN + BS_MSG_TRAILER_FIXED + BS_MSG_INDEX_LEN * BS_MSG_CHUNKS_MAX)
		return BS_ERR_FORMAT;
	if (file_size < (uint64_t)len + BS_MSG_FOOTER_LEN || off != file_size - len - BS_MSG_FOOTER_LEN ||
	    off < BS_MSG_PREFIX_PLAIN_LEN)
		return BS_ERR_FORMAT;
	*trailer_off = off;
	*trailer_len = len;
	memcpy(digest, bs_rd_bytes(&rd, BS_HASH_LEN), BS_HASH_LEN);
	return BS_OK;
}
