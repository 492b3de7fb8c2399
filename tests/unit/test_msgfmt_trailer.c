/* msgfmt, trailers that authenticate and lie: a buggy or hostile writer has the key too. */
#include "common/msgfmt_priv.h"
#include "msgfmt_helper.h"

/* Header of 70,000 bytes, body of 200: two header chunks and one body chunk. */
static const struct bs_msg_trailer good = {
	.sizes = { .physical_len = 70200, .virtual_len = 70260, .header_len = 70000, .header_virtual_len = 70050,
	    .lines = 90, .header_lines = 70 },
	.chunks = 3,
	.header_chunks = 2,
};

static enum bs_err
parse(const struct bs_msg_trailer *trailer, size_t extra)
{
	static const uint8_t index[64];
	struct bs_msg_trailer in = *trailer, out;
	uint8_t buf[256] = { 0 };
	size_t len = BS_MSG_TRAILER_FIXED + (in.chunks < 8 ? in.chunks : 8) * BS_MSG_INDEX_LEN;
	uint32_t chunks = in.chunks;

	in.index = index;
	in.chunks = chunks < 8 ? chunks : 8;
	bs_msg_trailer_write(&in, buf);
	if (chunks != in.chunks) {
		buf[48] = (uint8_t)(chunks >> 24);
		buf[49] = (uint8_t)(chunks >> 16);
	}
	return bs_msg_trailer_parse(buf, len + extra, &out);
}

static void
test_sizes_that_lie(void **state)
{
	struct bs_msg_trailer t;
	size_t i;

	(void)state;
	assert_int_equal(parse(&good, 0), BS_OK);
	assert_int_equal(parse(&good, 1), BS_ERR_FORMAT);
	assert_int_equal(parse(&good, (size_t)-1), BS_ERR_FORMAT);
#define REFUSED(field, value) \
	do { \
		t = good; \
		t.field = (value); \
		assert_int_equal(parse(&t, 0), BS_ERR_FORMAT); \
	} while (0)
	REFUSED(sizes.physical_len, 69999);
	REFUSED(sizes.physical_len, 70000 + 65537);
	REFUSED(sizes.physical_len, UINT64_MAX);
	REFUSED(sizes.virtual_len, 70199);
	REFUSED(sizes.virtual_len, 70000 + 70050);
	REFUSED(sizes.virtual_len, UINT64_MAX);
	REFUSED(sizes.header_len, 65536);
	REFUSED(sizes.header_len, 70201);
	REFUSED(sizes.header_virtual_len, 69999);
	REFUSED(sizes.header_virtual_len, 70071);
	REFUSED(sizes.header_virtual_len, 70061);
	REFUSED(sizes.lines, 69);
	REFUSED(sizes.lines, 70 + 201);
	REFUSED(sizes.lines, 70 + 9);
	REFUSED(sizes.header_lines, 49);
	REFUSED(sizes.header_lines, 91);
	REFUSED(sizes.header_lines, 81);
	REFUSED(chunks, 2);
	REFUSED(chunks, 4);
	REFUSED(chunks, 0);
	REFUSED(chunks, 0x01000003);
	REFUSED(header_chunks, 1);
	REFUSED(header_chunks, 3);
	for (i = 0; i < BS_MSG_TRAILER_FIXED; i++)
		assert_int_equal(bs_msg_trailer_parse((const uint8_t[BS_MSG_TRAILER_FIXED]){ 0 }, i, &t), BS_ERR_FORMAT);
}

static void
test_too_many_chunks(void **state)
{
	struct bs_msg_sizes s = { .physical_len = (uint64_t)BS_MSG_CHUNKS_MAX * BS_MSG_CHUNK_LEN };
	uint32_t chunks, headers;

	(void)state;
	assert_int_equal(bs_msg_count_chunks(&s, &chunks, &headers), BS_OK);
	assert_int_equal(chunks, BS_MSG_CHUNKS_MAX);
	s.physical_len++;
	assert_int_equal(bs_msg_count_chunks(&s, &chunks, &headers), BS_ERR_LIMIT);
	s.physical_len--;
	s.header_len = 1; /* shifts the body: one chunk more */
	assert_int_equal(bs_msg_count_chunks(&s, &chunks, &headers), BS_ERR_LIMIT);
	s.header_len = s.physical_len;
	assert_int_equal(bs_msg_count_chunks(&s, &chunks, &headers), BS_ERR_LIMIT);
}

/* One index entry of a suite 0 file overwritten, the trailer's tag made right again. version 0: as it is. */
static enum bs_err
with_entry(struct bytes file, uint8_t version, unsigned number, uint32_t entry)
{
	struct bs_msg_prefix prefix;
	struct bs_msg_keys keys;
	struct bs_msg_reader *rd = NULL;
	struct bs_msg_head head = { .kind = BS_MSG_KIND_TRAILER };
	uint8_t digest[BS_HASH_LEN], *p, *copy = malloc(file.len);
	uint64_t off;
	uint32_t len;
	enum bs_err err;

	memcpy(copy, file.p, file.len);
	copy[8] = version > 0 ? version : copy[8];
	assert_int_equal(bs_msg_footer_parse(copy + file.len - BS_MSG_FOOTER_LEN, file.len, &off, &len, digest), BS_OK);
	assert_int_equal(bs_msg_prefix_parse(copy, file.len, &prefix), BS_OK);
	assert_int_equal(bs_msg_keys_init(&keys, 0, copy, prefix.hashed_len, NULL), BS_OK);
	head.plain_len = head.stored_len = len - BS_MSG_FRAME_LEN;
	p = copy + off + BS_MSG_HEAD_LEN;
	p[56 + 3 * number] = (uint8_t)(entry >> 16);
	p[57 + 3 * number] = (uint8_t)(entry >> 8);
	p[58 + 3 * number] = (uint8_t)entry;
	assert_int_equal(bs_msg_chunk_seal(&keys, &head, 0, p, p, p + head.stored_len), BS_OK);
	bs_msg_keys_clear(&keys);
	assert_int_equal(bs_msg_reader_new(&prefix, NULL, &rd), BS_OK);
	assert_int_equal(bs_msg_reader_footer(rd, file.len, copy + file.len - BS_MSG_FOOTER_LEN, &off, &len), BS_OK);
	err = bs_msg_reader_trailer(rd, copy + off, len);
	bs_msg_reader_free(rd);
	free(copy);
	return err;
}

static void
test_index_that_lies(void **state)
{
	struct account a = new_account();
	struct bytes file = seal_message(&a, 0, false, (const uint8_t *)"\nhello, body", 12, 0, NULL);

	(void)state;
	/* Header chunk of 1 byte, body chunk of 11; the entry is the header chunk's. */
	assert_int_equal(with_entry(file, 0, 0, 1), BS_OK);
	assert_int_equal(with_entry(file, 0, 0, 0), BS_ERR_FORMAT);
	assert_int_equal(with_entry(file, 0, 0, 2), BS_ERR_FORMAT);
	assert_int_equal(with_entry(file, 0, 0, 0x800001), BS_ERR_FORMAT);
	assert_int_equal(with_entry(file, 0, 0, 0xffffff), BS_ERR_FORMAT);
	free(file.p);
}

/* The way of compression is one of those that the file's version knows, and the one that the chunk itself names. */
static void
test_ways_of_compression(void **state)
{
	static const uint32_t lzo = 0x800000, zstd = 0x400000;
	uint8_t plain[201];
	struct account a = new_account();
	struct bs_msg_reader *rd = NULL;
	struct bs_msg_span span;
	struct bytes file;
	uint32_t stored;

	(void)state;
	memset(plain, 'a', sizeof(plain));
	plain[0] = '\n';
	file = seal_message(&a, 0, true, plain, sizeof(plain), 0, NULL);
	assert_int_equal(open_message(&a, NULL, file.p, file.len, &rd), BS_OK);
	assert_int_equal(bs_msg_reader_span(rd, 1, &span), BS_OK);
	bs_msg_reader_free(rd);
	stored = span.file_len - BS_MSG_FRAME_LEN;
	assert_in_range(stored, 5, 30);
	assert_int_equal(file.p[span.file_off + 1], BS_MSG_FLAG_FINAL | BS_MSG_FLAG_ZSTD);
	assert_int_equal(with_entry(file, 0, 1, zstd | stored), BS_OK);
	assert_int_equal(with_entry(file, 0, 1, stored), BS_ERR_FORMAT);
	assert_int_equal(with_entry(file, 0, 1, lzo | zstd | stored), BS_ERR_FORMAT);
	assert_int_equal(with_entry(file, 0, 1, 0x200000 | stored), BS_ERR_FORMAT);
	assert_int_equal(with_entry(file, 0, 1, zstd | 200), BS_ERR_FORMAT);
	/* In version 1 that bit is a part of the length. */
	assert_int_equal(with_entry(file, 1, 1, zstd | stored), BS_ERR_FORMAT);
	assert_int_equal(with_entry(file, 1, 1, lzo | stored), BS_OK);
	free(file.p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes_that_lie),
		cmocka_unit_test(test_too_many_chunks),
		cmocka_unit_test(test_index_that_lies),
		cmocka_unit_test(test_ways_of_compression),
	};

	if (bs_crypto_init() != BS_OK)
		return 1;
	return cmocka_run_group_tests_name("msgfmt_trailer", tests, NULL, NULL);
}
