/* msgfmt: the trailer's plaintext, sizes and chunk index; the reader trusts nothing of it that it can derive. */
#include "msgfmt_priv.h"
#include "wire.h"

static uint64_t
chunks_of(uint64_t len)
{
	return len / BS_MSG_CHUNK_LEN + (len % BS_MSG_CHUNK_LEN != 0 ? 1 : 0);
}

/* There is always a body chunk, if an empty one: it is the one that is marked final. */
enum bs_err
bs_msg_count_chunks(const struct bs_msg_sizes *sizes, uint32_t *chunks, uint32_t *header_chunks)
{
	uint64_t header = chunks_of(sizes->header_len), body = chunks_of(sizes->physical_len - sizes->header_len);

	body = body == 0 ? 1 : body;
	if (header > BS_MSG_CHUNKS_MAX || body > BS_MSG_CHUNKS_MAX - header)
		return BS_ERR_LIMIT;
	*header_chunks = (uint32_t)header;
	*chunks = (uint32_t)(header + body);
	return BS_OK;
}

struct bs_msg_head
bs_msg_expected_head(const struct bs_msg_trailer *trailer, uint32_t index)
{
	bool header = index < trailer->header_chunks;
	uint64_t section = header ? trailer->sizes.header_len : trailer->sizes.physical_len - trailer->sizes.header_len;
	uint64_t before = (uint64_t)(header ? index : index - trailer->header_chunks) * BS_MSG_CHUNK_LEN;
	uint64_t left = section - before;

	return (struct bs_msg_head){
		.kind = header ? BS_MSG_KIND_HEADER : BS_MSG_KIND_BODY,
		.flags = index + 1 == trailer->chunks ? BS_MSG_FLAG_FINAL : 0,
		.plain_len = (uint32_t)(left < BS_MSG_CHUNK_LEN ? left : BS_MSG_CHUNK_LEN),
	};
}

void
bs_msg_trailer_write(const struct bs_msg_trailer *trailer, uint8_t *out)
{
	size_t index_len = (size_t)trailer->chunks * BS_MSG_INDEX_LEN;
	struct bs_wr wr = bs_wr_init(out, BS_MSG_TRAILER_FIXED + index_len);

	bs_wr_u64(&wr, trailer->sizes.physical_len);
	bs_wr_u64(&wr, trailer->sizes.virtual_len);
	bs_wr_u64(&wr, trailer->sizes.header_len);
	bs_wr_u64(&wr, trailer->sizes.header_virtual_len);
	bs_wr_u64(&wr, trailer->sizes.lines);
	bs_wr_u64(&wr, trailer->sizes.header_lines);
	bs_wr_u32(&wr, trailer->chunks);
	bs_wr_u32(&wr, trailer->header_chunks);
	bs_wr_bytes(&wr, trailer->index, index_len);
}

/* One section, header or body: each LF adds at most one CR, and is itself a byte. */
static bool
section_fits(uint64_t len, uint64_t virtual_len, uint64_t lines)
{
	return virtual_len >= len && virtual_len - len <= lines && lines <= len;
}

static bool
sizes_fit(const struct bs_msg_sizes *s)
{
	if (s->header_len > s->physical_len || s->header_virtual_len > s->virtual_len || s->header_lines > s->lines)
		return false;
	return section_fits(s->header_len, s->header_virtual_len, s->header_lines) &&
	    section_fits(s->physical_len - s->header_len, s->virtual_len - s->header_virtual_len,
	    s->lines - s->header_lines);
}

enum bs_err
bs_msg_trailer_parse(const uint8_t *data, size_t len, struct bs_msg_trailer *out)
{
	struct bs_rd rd = bs_rd_init(data, len);
	struct bs_msg_trailer trailer = { 0 };
	uint32_t chunks, header_chunks;

	trailer.sizes.physical_len = bs_rd_u64(&rd);
	trailer.sizes.virtual_len = bs_rd_u64(&rd);
	trailer.sizes.header_len = bs_rd_u64(&rd);
	trailer.sizes.header_virtual_len = bs_rd_u64(&rd);
	trailer.sizes.lines = bs_rd_u64(&rd);
	trailer.sizes.header_lines = bs_rd_u64(&rd);
	trailer.chunks = bs_rd_u32(&rd);
	trailer.header_chunks = bs_rd_u32(&rd);
	if (rd.failed || !sizes_fit(&trailer.sizes) ||
	    bs_msg_count_chunks(&trailer.sizes, &chunks, &header_chunks) != BS_OK ||
	    trailer.chunks != chunks || trailer.header_chunks != header_chunks)
		return BS_ERR_FORMAT;
	trailer.index = bs_rd_bytes(&rd, (size_t)chunks * BS_MSG_INDEX_LEN);
	if (!bs_rd_done(&rd))
		return BS_ERR_FORMAT;
	*out = trailer;
	return BS_OK;
}
