#include "msgfmt_reseal.h"

#include <stdlib.h>
#include <string.h>

#include "msgfmt_priv.h"
#include "wire.h"

#define ID_FIELDS_LEN 44 /* prefix bytes up to the key id */
#define FRAME_STORED_MAX (BS_MSG_TRAILER_FIXED + BS_MSG_INDEX_LEN * BS_MSG_CHUNKS_MAX)

struct bs_msg_reseal {
	struct bs_msg_keys from, to;
	struct bs_sha256 *digest; /* of all that came out */
	uint64_t next;            /* the number of the chunk that comes */
	bool ended;               /* the trailer was here */
	uint8_t prefix[BS_MSG_PREFIX_MAX];
	size_t prefix_len;
	uint8_t *plain; /* a frame's stored bytes in the clear */
	size_t plain_size;
};

/* The old prefix with another recipient, as the encoder would have made it. */
static enum bs_err
write_prefix(struct bs_msg_reseal *rs, const struct bs_msg_prefix *old, const uint8_t data_key[BS_KEY_LEN],
    const uint8_t public_key[BS_KEY_LEN])
{
	struct bs_wr wr = bs_wr_init(rs->prefix, sizeof(rs->prefix));
	uint8_t key_id[BS_ID_LEN], kem[BS_MSG_KEM_X25519_LEN], sealed_key[BS_SEALED_KEY_LEN];
	enum bs_err err;

	bs_msg_key_id(old->suite, public_key, key_id);
	bs_wr_bytes(&wr, old->bytes, ID_FIELDS_LEN);
	bs_wr_bytes(&wr, key_id, BS_ID_LEN);
	bs_wr_u16(&wr, BS_MSG_KEM_X25519_LEN);
	err = bs_kem_seal(public_key, old->message_id, BS_MSG_KEM_LABEL, wr.base, wr.len, data_key, kem, sealed_key);
	if (err != BS_OK)
		return err;
	bs_wr_bytes(&wr, kem, sizeof(kem));
	bs_wr_str16(&wr, sealed_key, sizeof(sealed_key));
	err = bs_msg_keys_init(&rs->to, old->suite, wr.base, wr.len, data_key);
	if (err != BS_OK)
		return err;
	bs_wr_bytes(&wr, rs->to.commitment, BS_HASH_LEN);
	rs->prefix_len = wr.len;
	return wr.failed || wr.len != old->len ? BS_ERR_INTERNAL : BS_OK;
}

static enum bs_err
prepare(struct bs_msg_reseal *rs, const struct bs_msg_prefix *prefix, const uint8_t data_key[BS_KEY_LEN],
    const uint8_t public_key[BS_KEY_LEN])
{
	enum bs_err err = bs_msg_keys_init(&rs->from, prefix->suite, prefix->bytes, prefix->hashed_len, data_key);

	if (err == BS_OK && !bs_equal(rs->from.commitment, prefix->commitment, BS_HASH_LEN))
		err = BS_ERR_AUTH;
	if (err == BS_OK)
		err = write_prefix(rs, prefix, data_key, public_key);
	rs->digest = err == BS_OK ? bs_sha256_new() : NULL;
	if (err == BS_OK && rs->digest == NULL)
		err = BS_ERR_NOMEM;
	if (err == BS_OK)
		bs_sha256_update(rs->digest, rs->prefix, rs->prefix_len);
	return err;
}

enum bs_err
bs_msg_reseal_new(const struct bs_msg_prefix *prefix, const uint8_t data_key[BS_KEY_LEN],
    const uint8_t public_key[BS_KEY_LEN], struct bs_msg_reseal **out)
{
	struct bs_msg_reseal *rs;
	enum bs_err err;

	if (prefix->suite != BS_MSG_SUITE_X25519)
		return BS_ERR_NOKEY;
	rs = calloc(1, sizeof(*rs));
	if (rs == NULL)
		return BS_ERR_NOMEM;
	err = prepare(rs, prefix, data_key, public_key);
	if (err != BS_OK) {
		bs_msg_reseal_free(rs);
		return err;
	}
	*out = rs;
	return BS_OK;
}

void
bs_msg_reseal_free(struct bs_msg_reseal *rs)
{
	if (rs == NULL)
		return;
	bs_msg_keys_clear(&rs->from);
	bs_msg_keys_clear(&rs->to);
	bs_sha256_free(rs->digest);
	if (rs->plain != NULL)
		bs_wipe(rs->plain, rs->plain_size);
	free(rs->plain);
	free(rs);
}

const uint8_t *
bs_msg_reseal_prefix(const struct bs_msg_reseal *rs)
{
	return rs->prefix;
}

static struct bs_msg_head
parse_head(const uint8_t bytes[BS_MSG_HEAD_LEN])
{
	struct bs_rd rd = bs_rd_init(bytes, BS_MSG_HEAD_LEN);
	struct bs_msg_head head;

	head.kind = bs_rd_u8(&rd);
	head.flags = bs_rd_u8(&rd);
	head.plain_len = bs_rd_u24(&rd);
	head.stored_len = bs_rd_u24(&rd);
	return head;
}

size_t
bs_msg_reseal_frame_len(const uint8_t bytes[BS_MSG_RESEAL_HEAD_LEN])
{
	struct bs_msg_head head = parse_head(bytes);
	bool trailer = head.kind == BS_MSG_KIND_TRAILER;

	if (head.kind < BS_MSG_KIND_HEADER || head.kind > BS_MSG_KIND_TRAILER ||
	    head.stored_len > (trailer ? FRAME_STORED_MAX : BS_MSG_CHUNK_LEN))
		return 0;
	return BS_MSG_FRAME_LEN + head.stored_len;
}

static enum bs_err
need_plain(struct bs_msg_reseal *rs, size_t len)
{
	uint8_t *plain;

	if (len <= rs->plain_size)
		return BS_OK;
	plain = malloc(len);
	if (plain == NULL)
		return BS_ERR_NOMEM;
	if (rs->plain != NULL)
		bs_wipe(rs->plain, rs->plain_size);
	free(rs->plain);
	rs->plain = plain;
	rs->plain_size = len;
	return BS_OK;
}

enum bs_err
bs_msg_reseal_frame(struct bs_msg_reseal *rs, uint8_t *frame, size_t len)
{
	struct bs_msg_head head;
	uint8_t *stored = frame + BS_MSG_HEAD_LEN, *tag;
	const uint8_t *plain;
	bool trailer;
	enum bs_err err;

	if (rs->ended || len < BS_MSG_FRAME_LEN || bs_msg_reseal_frame_len(frame) != len)
		return BS_ERR_FORMAT;
	head = parse_head(frame);
	tag = stored + head.stored_len;
	trailer = head.kind == BS_MSG_KIND_TRAILER;
	err = need_plain(rs, head.stored_len > 0 ? head.stored_len : 1);
	if (err == BS_OK)
		err = bs_msg_chunk_open(&rs->from, &head, trailer ? 0 : rs->next, stored, tag, rs->plain, &plain);
	if (err == BS_OK)
		err = bs_msg_chunk_seal(&rs->to, &head, trailer ? 0 : rs->next, plain, stored, tag);
	if (err != BS_OK)
		return err;
	rs->next++;
	rs->ended = trailer;
	bs_sha256_update(rs->digest, frame, len);
	return BS_OK;
}

void
bs_msg_reseal_footer(struct bs_msg_reseal *rs, uint8_t footer[BS_MSG_FOOTER_LEN])
{
	bs_sha256_update(rs->digest, footer, BS_MSG_DIGESTED_LEN);
	bs_sha256_final(rs->digest, footer + BS_MSG_DIGESTED_LEN);
}
