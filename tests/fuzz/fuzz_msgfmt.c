/*
 * fuzz_msgfmt: the reader of sealed messages on hostile files, sealing them anew, and the encoder on any plaintext.
 *
 * Behind right tags lies most of the parser, and no fuzzer guesses a tag. So the first byte of an input says what is
 * made right before the reader sees the rest: 1 commitment and tags, under a fixed data key, stored bytes taken as they
 * are; 2 the footer; 4: the rest is not a file but plaintext for the encoder, written by pieces.
 */
#include <stdlib.h>
#include <string.h>

#include "common/msgfmt_priv.h"
#include "common/msgfmt_reseal.h"
#include "common/wire.h"

#define MODE_TAGS 1
#define MODE_FOOTER 2
#define MODE_ENCODE 4

static const uint8_t data_key[BS_KEY_LEN] = { 7 };

static void
need(bool ok)
{
	if (!ok)
		abort();
}

/* Seals one frame where it lies, kind and lengths as they stand there; false when it is not whole. */
static bool
seal_frame(struct bs_msg_keys *keys, uint8_t *p, size_t len, uint64_t index, struct bs_msg_head *head)
{
	struct bs_rd rd = bs_rd_init(p, len);

	head->kind = bs_rd_u8(&rd);
	head->flags = bs_rd_u8(&rd);
	head->plain_len = bs_rd_u24(&rd);
	head->stored_len = bs_rd_u24(&rd);
	if (rd.failed || rd.left < head->stored_len + BS_TAG_LEN)
		return false;
	p += BS_MSG_HEAD_LEN;
	index = head->kind == BS_MSG_KIND_TRAILER ? 0 : index;
	return bs_msg_chunk_seal(keys, head, index, p, p, p + head->stored_len) == BS_OK;
}

/* Makes all tags right; returns where the trailer begins, or where frames cease to be whole. */
static size_t
repair_tags(const struct bs_msg_prefix *prefix, uint8_t *file, size_t len)
{
	struct bs_msg_keys keys;
	struct bs_msg_head head = { 0 };
	size_t off = prefix->len, end = len - BS_MSG_FOOTER_LEN;
	uint64_t index;

	need(bs_msg_keys_init(&keys, prefix->suite, file, prefix->hashed_len, data_key) == BS_OK);
	if (prefix->suite == BS_MSG_SUITE_X25519)
		memcpy(file + prefix->hashed_len, keys.commitment, BS_HASH_LEN);
	for (index = 0; off < end && seal_frame(&keys, file + off, end - off, index, &head); index++) {
		if (head.kind == BS_MSG_KIND_TRAILER)
			break;
		off += BS_MSG_FRAME_LEN + head.stored_len;
	}
	bs_msg_keys_clear(&keys);
	return off;
}

static void
repair_footer(uint8_t *file, size_t len, size_t trailer_off)
{
	struct bs_wr wr = bs_wr_init(file + len - BS_MSG_FOOTER_LEN, BS_MSG_FOOTER_LEN);

	bs_wr_u64(&wr, trailer_off);
	bs_wr_u32(&wr, (uint32_t)(len - BS_MSG_FOOTER_LEN - trailer_off));
	bs_wr_bytes(&wr, BS_MSG_FOOTER_MAGIC, 4);
}

/* Every chunk, and every way to ask for it. plain, if not NULL, is what must come out. */
static void
read_chunks(struct bs_msg_reader *rd, const uint8_t *file, size_t len, const uint8_t *plain)
{
	const struct bs_msg_sizes *sizes = bs_msg_reader_sizes(rd);
	uint8_t *in, *out = malloc(BS_MSG_CHUNK_LEN);
	struct bs_msg_span span, same;
	uint64_t next = 0;
	uint32_t i;
	enum bs_err err;

	for (i = 0; i < bs_msg_reader_chunk_count(rd); i++) {
		need(bs_msg_reader_span(rd, i, &span) == BS_OK);
		need(span.file_off <= len && span.file_len <= len - span.file_off && span.file_len <= BS_MSG_STORED_MAX);
		need(span.plain_off == next && span.plain_len <= BS_MSG_CHUNK_LEN);
		next += span.plain_len;
		if (span.plain_len > 0)
			need(bs_msg_reader_locate(rd, span.plain_off + span.plain_len - 1, &same) == BS_OK && same.index == i);
		in = malloc(span.file_len);
		memcpy(in, file + span.file_off, span.file_len);
		err = bs_msg_reader_chunk(rd, &span, in, span.file_len, out);
		need(plain == NULL || (err == BS_OK && memcmp(out, plain + span.plain_off, span.plain_len) == 0));
		free(in);
	}
	need(next == sizes->physical_len && sizes->header_len <= next);
	need(bs_msg_reader_locate(rd, next, &span) == BS_ERR_LIMIT);
	free(out);
}

static enum bs_err
read_file(const struct bs_msg_prefix *prefix, const uint8_t *file, size_t len, const uint8_t *plain)
{
	struct bs_msg_reader *rd = NULL;
	uint8_t *trailer = NULL;
	uint64_t off;
	uint32_t trailer_len;
	enum bs_err err = bs_msg_reader_new(prefix, data_key, &rd);

	if (err == BS_OK)
		err = bs_msg_reader_footer(rd, len, file + len - BS_MSG_FOOTER_LEN, &off, &trailer_len);
	if (err == BS_OK) {
		trailer = malloc(trailer_len);
		memcpy(trailer, file + off, trailer_len);
		err = bs_msg_reader_trailer(rd, trailer, trailer_len);
	}
	if (err == BS_OK)
		read_chunks(rd, file, len, plain);
	free(trailer);
	bs_msg_reader_free(rd);
	return err;
}

/* --- sealed anew for another key --- */

/* In place, as basaltctl does it; the prefix goes to head. */
static enum bs_err
reseal(const struct bs_msg_prefix *prefix, uint8_t *file, size_t len, const uint8_t pub[BS_KEY_LEN], uint8_t *head)
{
	size_t end = len - BS_MSG_FOOTER_LEN, n;
	struct bs_msg_reseal *rs = NULL;
	enum bs_err err = bs_msg_reseal_new(prefix, data_key, pub, &rs);

	for (size_t off = prefix->len; err == BS_OK && off < end; off += n) {
		n = end - off < BS_MSG_RESEAL_HEAD_LEN ? 0 : bs_msg_reseal_frame_len(file + off);
		err = n == 0 || n > end - off ? BS_ERR_FORMAT : bs_msg_reseal_frame(rs, file + off, n);
	}
	if (err == BS_OK) {
		memcpy(head, bs_msg_reseal_prefix(rs), prefix->len);
		bs_msg_reseal_footer(rs, file + end);
	}
	bs_msg_reseal_free(rs);
	return err;
}

/* What could be moved can be read as before, or not at all as before. */
static void
fuzz_reseal(const struct bs_msg_prefix *prefix, const uint8_t *file, size_t len, enum bs_err readable)
{
	uint8_t pub[BS_KEY_LEN], sec[BS_KEY_LEN], *copy = malloc(len), head[BS_MSG_PREFIX_MAX];
	struct bs_msg_prefix new;
	enum bs_err err;

	bs_x25519_keypair(pub, sec);
	memcpy(copy, file, len);
	err = reseal(prefix, copy, len, pub, head);
	if (err == BS_OK) {
		memcpy(copy, head, prefix->len);
		need(bs_msg_prefix_parse(copy, len, &new) == BS_OK && new.len == prefix->len);
		need((read_file(&new, copy, len, NULL) == BS_OK) == (readable == BS_OK));
	}
	free(copy);
}

static void
fuzz_reader(uint8_t mode, uint8_t *file, size_t len)
{
	struct bs_msg_prefix prefix;
	uint8_t key[BS_KEY_LEN];
	size_t off;

	if (bs_msg_prefix_parse(file, len, &prefix) != BS_OK)
		return;
	need(prefix.len <= len && prefix.hashed_len <= prefix.len && bs_msg_is_sealed(file, len));
	if (prefix.suite != BS_MSG_SUITE_PLAIN)
		need(bs_msg_unwrap(&prefix, data_key, data_key, &(struct bs_kem){ .made = false }, key) != BS_OK);
	if (len < prefix.len + BS_MSG_FOOTER_LEN)
		return;
	if (mode & MODE_TAGS) {
		off = repair_tags(&prefix, file, len);
		if (mode & MODE_FOOTER)
			repair_footer(file, len, off);
	}
	fuzz_reseal(&prefix, file, len, read_file(&prefix, file, len, NULL));
}

/* --- the encoder --- */

struct sink {
	uint8_t *p;
	size_t len;
	size_t size;
};

static enum bs_err
take(void *ctx, const uint8_t *data, size_t len)
{
	struct sink *sink = ctx;

	need(sink->size - sink->len >= len);
	memcpy(sink->p + sink->len, data, len);
	sink->len += len;
	return BS_OK;
}

static void
fuzz_encoder(uint8_t mode, const uint8_t *plain, size_t len)
{
	struct bs_msg_encoder_opts opts = { .suite = BS_MSG_SUITE_PLAIN, .compress = (mode & MODE_TAGS) != 0 };
	struct sink sink = { .size = len + len / 512 + 4096 };
	struct bs_msg_encoder *enc;
	struct bs_msg_prefix prefix;
	size_t off, n;

	sink.p = malloc(sink.size);
	need(bs_msg_encoder_new(&opts, take, &sink, &enc) == BS_OK);
	for (off = 0; off < len; off += n) {
		n = 1 + plain[off] % 61;
		n = n < len - off ? n : len - off;
		need(bs_msg_encoder_write(enc, plain + off, n) == BS_OK);
	}
	need(bs_msg_encoder_finish(enc) == BS_OK);
	bs_msg_encoder_free(enc);
	need(bs_msg_prefix_parse(sink.p, sink.len, &prefix) == BS_OK);
	need(read_file(&prefix, sink.p, sink.len, plain) == BS_OK);
	free(sink.p);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy;

	if (size == 0)
		return 0;
	need(bs_crypto_init() == BS_OK);
	copy = malloc(size);
	memcpy(copy, data + 1, size - 1);
	if (data[0] & MODE_ENCODE)
		fuzz_encoder(data[0], copy, size - 1);
	else
		fuzz_reader(data[0], copy, size - 1);
	free(copy);
	return 0;
}
