/* msgfmt, reading: which bytes of the file to fetch, and their plaintext once they have authenticated. */
#include <stdlib.h>
#include <string.h>

#include "msgfmt_priv.h"
#include "wire.h"

struct bs_msg_reader {
	struct bs_msg_keys keys;
	uint64_t prefix_len;
	uint64_t trailer_off; /* 0: no footer yet */
	uint32_t trailer_len;
	struct bs_msg_trailer trailer;
	bool knows_zstd;      /* the file's version does */
	/* chunks + 1 of them, the last is trailer_off; NULL: no trailer yet. */
	uint64_t *offsets;
	uint8_t *how; /* chunks bytes: 0, BS_MSG_FLAG_LZO or BS_MSG_FLAG_ZSTD */
	uint8_t *scratch;    /* a compressed chunk in the clear; made when first needed */
	size_t scratch_high;
	struct bs_zstd *zstd;
	bool own_zstd;
};

enum bs_err
bs_msg_reader_new(const struct bs_msg_prefix *prefix, const uint8_t *data_key, struct bs_msg_reader **out)
{
	bool sealed = prefix->suite == BS_MSG_SUITE_X25519;
	struct bs_msg_reader *rd;
	enum bs_err err;

	if (sealed && data_key == NULL)
		return BS_ERR_NOKEY;
	rd = calloc(1, sizeof(*rd));
	if (rd == NULL)
		return BS_ERR_NOMEM;
	rd->prefix_len = prefix->len;
	rd->knows_zstd = prefix->version != BS_MSG_VERSION_LZO;
	err = bs_msg_keys_init(&rd->keys, prefix->suite, prefix->bytes, prefix->hashed_len, data_key);
	if (err == BS_OK && sealed && !bs_equal(rd->keys.commitment, prefix->commitment, BS_HASH_LEN))
		err = BS_ERR_AUTH;
	if (err != BS_OK) {
		bs_msg_reader_free(rd);
		return err;
	}
	*out = rd;
	return BS_OK;
}

void
bs_msg_reader_use(struct bs_msg_reader *rd, struct bs_zstd *zstd)
{
	rd->zstd = zstd;
}

void
bs_msg_reader_free(struct bs_msg_reader *rd)
{
	if (rd == NULL)
		return;
	bs_msg_keys_clear(&rd->keys);
	if (rd->scratch != NULL)
		bs_wipe(rd->scratch, rd->scratch_high);
	if (rd->own_zstd)
		bs_zstd_free(rd->zstd);
	free(rd->scratch);
	free(rd->how);
	free(rd->offsets);
	free(rd);
}

enum bs_err
bs_msg_reader_footer(struct bs_msg_reader *rd, uint64_t file_size, const uint8_t footer[BS_MSG_FOOTER_LEN],
    uint64_t *trailer_off, uint32_t *trailer_len)
{
	uint8_t digest[BS_HASH_LEN];
	uint64_t off;
	uint32_t len;
	enum bs_err err = bs_msg_footer_parse(footer, file_size, &off, &len, digest);

	if (err != BS_OK)
		return err;
	if (off < rd->prefix_len + BS_MSG_FRAME_LEN)
		return BS_ERR_FORMAT;
	*trailer_off = rd->trailer_off = off;
	*trailer_len = rd->trailer_len = len;
	return BS_OK;
}

/* --- the trailer --- */

/* The flag of a chunk's way of compression. An entry that names two leaves a length that no chunk has. */
static uint8_t
how_compressed(const struct bs_msg_reader *rd, uint32_t entry)
{
	if ((entry & BS_MSG_INDEX_LZO) != 0)
		return BS_MSG_FLAG_LZO;
	return rd->knows_zstd && (entry & BS_MSG_INDEX_ZSTD) != 0 ? BS_MSG_FLAG_ZSTD : 0;
}

/* Turns stored lengths into offsets. They must fill what lies between prefix and trailer, to the byte. */
static enum bs_err
place_chunks(struct bs_msg_reader *rd, const struct bs_msg_trailer *trailer, uint64_t *offsets, uint8_t *how)
{
	struct bs_rd index = bs_rd_init(trailer->index, (size_t)trailer->chunks * BS_MSG_INDEX_LEN);
	uint64_t off = rd->prefix_len;
	uint32_t i, entry, stored, plain;

	for (i = 0; i < trailer->chunks; i++) {
		entry = bs_rd_u24(&index);
		how[i] = how_compressed(rd, entry);
		stored = entry & ~(how[i] == BS_MSG_FLAG_LZO ? BS_MSG_INDEX_LZO : how[i] == BS_MSG_FLAG_ZSTD ? BS_MSG_INDEX_ZSTD : 0);
		plain = bs_msg_expected_head(trailer, i).plain_len;
		if (how[i] != 0 ? stored >= plain : stored != plain)
			return BS_ERR_FORMAT;
		offsets[i] = off;
		off += BS_MSG_FRAME_LEN + stored; /* at most 2^18 times 2^17: no overflow */
	}
	offsets[trailer->chunks] = off;
	return off == rd->trailer_off ? BS_OK : BS_ERR_FORMAT;
}

static enum bs_err
take_trailer(struct bs_msg_reader *rd, const struct bs_msg_trailer *trailer)
{
	uint64_t *offsets = calloc((size_t)trailer->chunks + 1, sizeof(*offsets));
	uint8_t *how = calloc(trailer->chunks, 1);
	enum bs_err err = BS_ERR_NOMEM;

	if (offsets != NULL && how != NULL)
		err = place_chunks(rd, trailer, offsets, how);
	if (err != BS_OK) {
		free(how);
		free(offsets);
		return err;
	}
	free(rd->how);
	free(rd->offsets);
	rd->offsets = offsets;
	rd->how = how;
	rd->trailer = *trailer;
	rd->trailer.index = NULL; /* the caller's bytes */
	return BS_OK;
}

enum bs_err
bs_msg_reader_trailer(struct bs_msg_reader *rd, const uint8_t *data, size_t len)
{
	struct bs_msg_head head = { .kind = BS_MSG_KIND_TRAILER };
	struct bs_msg_trailer trailer;
	const uint8_t *text;
	uint8_t *plain;
	enum bs_err err;

	if (rd->trailer_off == 0 || len != rd->trailer_len)
		return BS_ERR_SHORT;
	head.plain_len = head.stored_len = (uint32_t)(len - BS_MSG_FRAME_LEN);
	if (!bs_msg_head_is(&head, data))
		return BS_ERR_FORMAT;
	plain = malloc(head.stored_len);
	if (plain == NULL)
		return BS_ERR_NOMEM;
	err = bs_msg_chunk_open(&rd->keys, &head, 0, data + BS_MSG_HEAD_LEN, data + len - BS_TAG_LEN, plain, &text);
	if (err == BS_OK)
		err = bs_msg_trailer_parse(text, head.stored_len, &trailer);
	if (err == BS_OK)
		err = take_trailer(rd, &trailer);
	bs_wipe(plain, head.stored_len);
	free(plain);
	return err;
}

const struct bs_msg_sizes *
bs_msg_reader_sizes(const struct bs_msg_reader *rd)
{
	return &rd->trailer.sizes;
}

uint32_t
bs_msg_reader_chunk_count(const struct bs_msg_reader *rd)
{
	return rd->trailer.chunks;
}

uint32_t
bs_msg_reader_header_chunks(const struct bs_msg_reader *rd)
{
	return rd->trailer.header_chunks;
}

/* --- chunks --- */

enum bs_err
bs_msg_reader_span(const struct bs_msg_reader *rd, uint32_t index, struct bs_msg_span *out)
{
	const struct bs_msg_trailer *trailer = &rd->trailer;
	bool header = index < trailer->header_chunks;
	uint32_t first = header ? 0 : trailer->header_chunks;

	if (rd->offsets == NULL || index >= trailer->chunks)
		return BS_ERR_LIMIT;
	out->index = index;
	out->file_off = rd->offsets[index];
	out->file_len = (uint32_t)(rd->offsets[index + 1] - rd->offsets[index]);
	out->plain_off = (header ? 0 : trailer->sizes.header_len) + (uint64_t)(index - first) * BS_MSG_CHUNK_LEN;
	out->plain_len = bs_msg_expected_head(trailer, index).plain_len;
	return BS_OK;
}

enum bs_err
bs_msg_reader_locate(const struct bs_msg_reader *rd, uint64_t plain_off, struct bs_msg_span *out)
{
	const struct bs_msg_trailer *trailer = &rd->trailer;
	uint64_t index;

	if (rd->offsets == NULL || plain_off >= trailer->sizes.physical_len)
		return BS_ERR_LIMIT;
	if (plain_off < trailer->sizes.header_len)
		index = plain_off / BS_MSG_CHUNK_LEN;
	else
		index = trailer->header_chunks + (plain_off - trailer->sizes.header_len) / BS_MSG_CHUNK_LEN;
	return bs_msg_reader_span(rd, (uint32_t)index, out);
}

/* Where a compressed chunk is decrypted to before it is decompressed; suite 0 needs no such place. */
static enum bs_err
need_scratch(struct bs_msg_reader *rd, size_t len)
{
	if (rd->scratch == NULL)
		rd->scratch = malloc(BS_MSG_CHUNK_LEN);
	if (rd->scratch == NULL)
		return BS_ERR_NOMEM;
	if (rd->scratch_high < len)
		rd->scratch_high = len;
	return BS_OK;
}

static enum bs_err
decompress(struct bs_msg_reader *rd, const struct bs_msg_head *head, const uint8_t *stored, uint8_t *out)
{
	if ((head->flags & BS_MSG_FLAG_LZO) != 0)
		return bs_decompress(stored, head->stored_len, out, head->plain_len);
	if (rd->zstd == NULL) {
		rd->zstd = bs_zstd_new();
		rd->own_zstd = true;
	}
	if (rd->zstd == NULL)
		return BS_ERR_NOMEM;
	return bs_zstd_decompress(rd->zstd, stored, head->stored_len, out, head->plain_len);
}

/* in: the stored bytes, then the tag. */
static enum bs_err
open_chunk(struct bs_msg_reader *rd, const struct bs_msg_head *head, uint32_t index, const uint8_t *in, uint8_t *out)
{
	bool compressed = (head->flags & (BS_MSG_FLAG_LZO | BS_MSG_FLAG_ZSTD)) != 0;
	const uint8_t *stored;
	enum bs_err err = compressed ? need_scratch(rd, head->stored_len) : BS_OK;

	if (err != BS_OK)
		return err;
	err = bs_msg_chunk_open(&rd->keys, head, index, in, in + head->stored_len, compressed ? rd->scratch : out, &stored);
	if (err != BS_OK)
		return err;
	if (compressed)
		return decompress(rd, head, stored, out);
	if (stored != out && head->plain_len > 0)
		memcpy(out, stored, head->plain_len);
	return BS_OK;
}

enum bs_err
bs_msg_reader_chunk(struct bs_msg_reader *rd, const struct bs_msg_span *span, const uint8_t *data, size_t len,
    uint8_t *out)
{
	struct bs_msg_span own;
	struct bs_msg_head head;
	enum bs_err err = bs_msg_reader_span(rd, span->index, &own);

	if (err != BS_OK)
		return err;
	if (span->plain_len != own.plain_len)
		return BS_ERR_ARG; /* of another reader: out may be too small */
	head = bs_msg_expected_head(&rd->trailer, span->index);
	head.flags |= rd->how[span->index];
	head.stored_len = own.file_len - BS_MSG_FRAME_LEN;
	if (len < own.file_len)
		err = BS_ERR_SHORT;
	else if (len > own.file_len || !bs_msg_head_is(&head, data))
		err = BS_ERR_FORMAT;
	else
		err = open_chunk(rd, &head, span->index, data + BS_MSG_HEAD_LEN, out);
	if (err != BS_OK)
		bs_wipe(out, own.plain_len);
	return err;
}
