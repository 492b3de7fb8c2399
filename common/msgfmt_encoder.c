/* msgfmt, writing: plaintext in by pieces, sealed bytes out in order. */
#include <stdlib.h>
#include <string.h>

#include "msgfmt_priv.h"
#include "wire.h"

/* Shorter chunks are not worth the call. */
#define COMPRESS_MIN 64
/* A chunk is stored compressed when that saves at least one part in so many: reading it costs a decompression. */
#define COMPRESS_GAIN 8
#define PACKED_LEN (BS_MSG_HEAD_LEN + BS_COMPRESS_BOUND(BS_MSG_CHUNK_LEN) + BS_TAG_LEN)

/*
 * One allocation of constant size, whatever the message; the index alone grows, by three bytes a chunk.
 * Neither plaintext nor the data key is in locked memory: the key opens nothing but the plaintext beside it, and
 * locking costs more than all symmetric work on a small message.
 */
struct bs_msg_encoder {
	struct bs_msg_encoder_opts opts;
	bs_msg_emit_fn emit;
	void *ctx;
	enum bs_err err; /* the first one; sticky */
	bool started;
	bool in_body;
	struct bs_msg_keys keys;
	struct bs_sha256 *digest; /* of all that was emitted */
	struct bs_buf *index;
	struct bs_zstd *own_zstd;
	uint8_t data_key[BS_KEY_LEN];
	uint8_t message_id[BS_ID_LEN];
	uint8_t prefix[BS_MSG_PREFIX_MAX];
	size_t prefix_len;
	uint64_t file_len; /* bytes emitted */
	struct bs_msg_scan scan;
	struct bs_msg_trailer trailer;
	size_t plain_len;    /* bytes waiting in plain */
	size_t plain_high;   /* of plain that ever held something: what must be wiped */
	size_t packed_high;
	/* Not initialised: a small message touches few of these pages. */
	uint8_t plain[BS_MSG_CHUNK_LEN];
	uint8_t packed[PACKED_LEN];
	uint8_t work[BS_COMPRESS_WORK_LEN] __attribute__((aligned(16)));
};

/* Seals the data key to the recipient's. */
static enum bs_err
seal_key(const struct bs_msg_encoder *enc, const uint8_t *fields, size_t len, uint8_t kem[BS_MSG_KEM_X25519_LEN],
    uint8_t sealed_key[BS_SEALED_KEY_LEN])
{
	const struct bs_msg_encoder_opts *opts = &enc->opts;

	if (opts->kem == NULL)
		return bs_kem_seal(opts->public_key, enc->message_id, BS_MSG_KEM_LABEL, fields, len, enc->data_key, kem, sealed_key);
	if (memcmp(opts->kem->pub, opts->public_key, BS_KEY_LEN) != 0)
		return BS_ERR_ARG;
	memcpy(kem, opts->kem->eph, BS_KEY_LEN);
	return bs_kem_seal_by(opts->kem, enc->message_id, BS_MSG_KEM_LABEL, fields, len, enc->data_key, sealed_key);
}

/* All but the commitment; that needs the hash of what is here. */
static enum bs_err
write_prefix(struct bs_msg_encoder *enc, struct bs_wr *wr)
{
	bool sealed = enc->opts.suite == BS_MSG_SUITE_X25519;
	uint8_t key_id[BS_ID_LEN] = { 0 }, kem[BS_MSG_KEM_X25519_LEN], sealed_key[BS_SEALED_KEY_LEN];
	enum bs_err err;

	if (sealed)
		bs_msg_key_id(enc->opts.suite, enc->opts.public_key, key_id);
	bs_wr_bytes(wr, BS_MSG_MAGIC, BS_MSG_MAGIC_LEN);
	bs_wr_u8(wr, BS_MSG_VERSION);
	bs_wr_u8(wr, enc->opts.suite);
	bs_wr_u16(wr, 0);
	bs_wr_bytes(wr, enc->opts.account_id, BS_ID_LEN);
	bs_wr_bytes(wr, enc->message_id, BS_ID_LEN);
	bs_wr_bytes(wr, key_id, BS_ID_LEN);
	bs_wr_u16(wr, sealed ? BS_MSG_KEM_X25519_LEN : 0);
	if (!sealed) {
		bs_wr_u16(wr, 0);
		return BS_OK;
	}
	err = seal_key(enc, wr->base, wr->len, kem, sealed_key);
	if (err != BS_OK)
		return err;
	bs_wr_bytes(wr, kem, sizeof(kem));
	bs_wr_str16(wr, sealed_key, sizeof(sealed_key));
	return BS_OK;
}

static enum bs_err
make_prefix(struct bs_msg_encoder *enc)
{
	struct bs_wr wr = bs_wr_init(enc->prefix, sizeof(enc->prefix));
	uint8_t drawn[BS_ID_LEN + BS_KEY_LEN];
	enum bs_err err;

	bs_random(drawn, sizeof(drawn)); /* one system call for both */
	memcpy(enc->message_id, drawn, BS_ID_LEN);
	memcpy(enc->data_key, drawn + BS_ID_LEN, BS_KEY_LEN);
	bs_wipe(drawn, sizeof(drawn));
	err = write_prefix(enc, &wr);
	if (err == BS_OK)
		err = bs_msg_keys_init(&enc->keys, enc->opts.suite, wr.base, wr.len, enc->data_key);
	if (err != BS_OK)
		return err;
	if (enc->opts.suite == BS_MSG_SUITE_X25519)
		bs_wr_bytes(&wr, enc->keys.commitment, BS_HASH_LEN);
	enc->prefix_len = wr.len;
	return wr.failed ? BS_ERR_INTERNAL : BS_OK;
}

enum bs_err
bs_msg_encoder_new(const struct bs_msg_encoder_opts *opts, bs_msg_emit_fn emit, void *ctx, struct bs_msg_encoder **out)
{
	struct bs_msg_encoder *enc;
	enum bs_err err;

	if (opts->suite > BS_MSG_SUITE_X25519)
		return BS_ERR_VERSION;
	err = bs_compress_init();
	if (err != BS_OK)
		return err;
	enc = malloc(sizeof(*enc));
	if (enc == NULL)
		return BS_ERR_NOMEM;
	memset(enc, 0, offsetof(struct bs_msg_encoder, plain));
	enc->opts = *opts;
	enc->emit = emit;
	enc->ctx = ctx;
	if (opts->compress && opts->zstd == NULL)
		enc->opts.zstd = enc->own_zstd = bs_zstd_new();
	enc->digest = bs_sha256_new();
	enc->index = bs_buf_new((size_t)BS_MSG_CHUNKS_MAX * BS_MSG_INDEX_LEN);
	err = enc->digest == NULL || enc->index == NULL || (opts->compress && enc->opts.zstd == NULL) ? BS_ERR_NOMEM : make_prefix(enc);
	if (err != BS_OK) {
		bs_msg_encoder_free(enc);
		return err;
	}
	*out = enc;
	return BS_OK;
}

void
bs_msg_encoder_free(struct bs_msg_encoder *enc)
{
	if (enc == NULL)
		return;
	bs_wipe(enc->plain, enc->plain_high);
	bs_wipe(enc->packed, enc->packed_high);
	bs_msg_keys_clear(&enc->keys);
	bs_sha256_free(enc->digest);
	bs_buf_free(enc->index);
	bs_zstd_free(enc->own_zstd);
	bs_wipe(enc, offsetof(struct bs_msg_encoder, plain));
	free(enc);
}

static enum bs_err
emit(struct bs_msg_encoder *enc, const uint8_t *data, size_t len)
{
	bs_sha256_update(enc->digest, data, len);
	enc->file_len += len;
	return enc->emit(enc->ctx, data, len);
}

/* Compresses into packed when that is allowed and pays: a header, which is short and is read most often, by the quicker way;
 * else says that the plaintext itself is to be stored. */
static const uint8_t *
squeeze(struct bs_msg_encoder *enc, struct bs_msg_head *head, const uint8_t *plain)
{
	uint8_t *out = enc->packed + BS_MSG_HEAD_LEN;
	size_t len;

	head->stored_len = head->plain_len;
	if (!enc->opts.compress || head->plain_len < COMPRESS_MIN)
		return plain;
	if (enc->in_body)
		len = bs_zstd_compress(enc->opts.zstd, plain, head->plain_len, out, BS_COMPRESS_BOUND(BS_MSG_CHUNK_LEN));
	else
		len = bs_compress(enc->work, plain, head->plain_len, out, BS_COMPRESS_BOUND(BS_MSG_CHUNK_LEN));
	if (len == 0 || len > head->plain_len - head->plain_len / COMPRESS_GAIN)
		return plain;
	head->stored_len = (uint32_t)len;
	head->flags |= enc->in_body ? BS_MSG_FLAG_ZSTD : BS_MSG_FLAG_LZO;
	return out;
}

static enum bs_err
note_chunk(struct bs_msg_encoder *enc, const struct bs_msg_head *head)
{
	uint8_t entry[BS_MSG_INDEX_LEN];
	struct bs_wr wr = bs_wr_init(entry, sizeof(entry));

	bs_wr_u24(&wr, head->stored_len | (head->flags & BS_MSG_FLAG_LZO ? BS_MSG_INDEX_LZO : 0) |
	    (head->flags & BS_MSG_FLAG_ZSTD ? BS_MSG_INDEX_ZSTD : 0));
	return bs_buf_append(enc->index, entry, sizeof(entry));
}

static enum bs_err
seal_chunk(struct bs_msg_encoder *enc, const uint8_t *plain, size_t len, bool final)
{
	struct bs_msg_head head = {
		.kind = enc->in_body ? BS_MSG_KIND_BODY : BS_MSG_KIND_HEADER,
		.flags = final ? BS_MSG_FLAG_FINAL : 0,
		.plain_len = (uint32_t)len,
	};
	size_t touched = BS_MSG_FRAME_LEN + BS_COMPRESS_BOUND(len);
	const uint8_t *stored;
	uint8_t *out = enc->packed + BS_MSG_HEAD_LEN;
	enum bs_err err;

	if (enc->packed_high < touched)
		enc->packed_high = touched;
	stored = squeeze(enc, &head, plain);
	bs_msg_head_write(&head, enc->packed);
	err = bs_msg_chunk_seal(&enc->keys, &head, enc->trailer.chunks, stored, out, out + head.stored_len);
	if (err == BS_OK)
		err = note_chunk(enc, &head);
	if (err != BS_OK)
		return err;
	enc->trailer.chunks++;
	enc->trailer.header_chunks += enc->in_body ? 0 : 1;
	return emit(enc, enc->packed, BS_MSG_FRAME_LEN + head.stored_len);
}

/* Seals what waits in plain. */
static enum bs_err
flush(struct bs_msg_encoder *enc, bool final)
{
	size_t len = enc->plain_len;

	enc->plain_len = 0;
	return seal_chunk(enc, enc->plain, len, final);
}

/* Bytes of one section. A full chunk waits until more comes, since it may be the last; what is surely not the last
 * goes without a copy. */
static enum bs_err
append(struct bs_msg_encoder *enc, const uint8_t *data, size_t len)
{
	enum bs_err err;
	size_t n;

	while (len > 0) {
		if (enc->plain_len == BS_MSG_CHUNK_LEN) {
			err = flush(enc, false);
			if (err != BS_OK)
				return err;
		}
		if (enc->plain_len == 0 && len > BS_MSG_CHUNK_LEN) {
			n = BS_MSG_CHUNK_LEN;
			err = seal_chunk(enc, data, n, false);
			if (err != BS_OK)
				return err;
		} else {
			n = BS_MSG_CHUNK_LEN - enc->plain_len;
			n = len < n ? len : n;
			memcpy(enc->plain + enc->plain_len, data, n);
			enc->plain_len += n;
			if (enc->plain_high < enc->plain_len)
				enc->plain_high = enc->plain_len;
		}
		data += n;
		len -= n;
	}
	return BS_OK;
}

/* The header is whole: what waits of it becomes its last chunk. */
static enum bs_err
end_header(struct bs_msg_encoder *enc)
{
	struct bs_msg_sizes *sizes = &enc->trailer.sizes;
	enum bs_err err = enc->plain_len > 0 ? flush(enc, false) : BS_OK;

	sizes->header_len = enc->scan.len;
	sizes->header_virtual_len = enc->scan.len + enc->scan.bare_lfs;
	sizes->header_lines = enc->scan.lines;
	enc->in_body = true;
	return err;
}

static enum bs_err
start(struct bs_msg_encoder *enc)
{
	if (enc->started)
		return BS_OK;
	enc->started = true;
	return emit(enc, enc->prefix, enc->prefix_len);
}

enum bs_err
bs_msg_encoder_write(struct bs_msg_encoder *enc, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t n;

	if (enc->err == BS_OK)
		enc->err = start(enc);
	while (enc->err == BS_OK && len > 0) {
		n = bs_msg_scan(&enc->scan, p, len, !enc->in_body);
		enc->err = append(enc, p, n);
		if (enc->err == BS_OK && !enc->in_body && enc->scan.empty_line)
			enc->err = end_header(enc);
		p += n;
		len -= n;
	}
	return enc->err;
}

static enum bs_err
emit_trailer(struct bs_msg_encoder *enc)
{
	size_t len = BS_MSG_TRAILER_FIXED + bs_buf_len(enc->index);
	struct bs_msg_head head = {
		.kind = BS_MSG_KIND_TRAILER,
		.plain_len = (uint32_t)len,
		.stored_len = (uint32_t)len,
	};
	uint8_t *frame = malloc(BS_MSG_FRAME_LEN + len), *text;
	enum bs_err err;

	if (frame == NULL)
		return BS_ERR_NOMEM;
	text = frame + BS_MSG_HEAD_LEN;
	enc->trailer.index = bs_buf_data(enc->index);
	bs_msg_head_write(&head, frame);
	bs_msg_trailer_write(&enc->trailer, text);
	err = bs_msg_chunk_seal(&enc->keys, &head, 0, text, text, text + len);
	if (err == BS_OK)
		err = emit(enc, frame, BS_MSG_FRAME_LEN + len);
	bs_wipe(frame, BS_MSG_FRAME_LEN + len);
	free(frame);
	return err;
}

static enum bs_err
emit_footer(struct bs_msg_encoder *enc, uint64_t trailer_off)
{
	uint8_t footer[BS_MSG_FOOTER_LEN];
	struct bs_wr wr = bs_wr_init(footer, sizeof(footer));

	bs_wr_u64(&wr, trailer_off);
	bs_wr_u32(&wr, (uint32_t)(enc->file_len - trailer_off));
	bs_wr_bytes(&wr, BS_MSG_FOOTER_MAGIC, 4);
	bs_sha256_update(enc->digest, footer, BS_MSG_DIGESTED_LEN);
	bs_sha256_final(enc->digest, footer + BS_MSG_DIGESTED_LEN);
	return enc->emit(enc->ctx, footer, sizeof(footer));
}

enum bs_err
bs_msg_encoder_finish(struct bs_msg_encoder *enc)
{
	struct bs_msg_sizes *sizes = &enc->trailer.sizes;
	uint64_t trailer_off;

	if (enc->err == BS_OK)
		enc->err = start(enc);
	if (enc->err == BS_OK && !enc->in_body)
		enc->err = end_header(enc);
	if (enc->err == BS_OK)
		enc->err = flush(enc, true);
	if (enc->err != BS_OK)
		return enc->err;
	sizes->physical_len = enc->scan.len;
	sizes->virtual_len = enc->scan.len + enc->scan.bare_lfs;
	sizes->lines = enc->scan.lines;
	trailer_off = enc->file_len;
	enc->err = emit_trailer(enc);
	if (enc->err == BS_OK)
		enc->err = emit_footer(enc, trailer_off);
	if (enc->err != BS_OK)
		return enc->err;
	enc->err = BS_ERR_INTERNAL; /* what a later write or finish gets */
	return BS_OK;
}

void
bs_msg_encoder_data_key(const struct bs_msg_encoder *enc, uint8_t data_key[BS_KEY_LEN])
{
	memcpy(data_key, enc->data_key, BS_KEY_LEN);
}

void
bs_msg_encoder_message_id(const struct bs_msg_encoder *enc, uint8_t id[BS_ID_LEN])
{
	memcpy(id, enc->message_id, BS_ID_LEN);
}
