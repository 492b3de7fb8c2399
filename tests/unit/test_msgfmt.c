/* msgfmt, what goes in comes out: sizes, splits, header detection, counts, random access. */
#include <malloc.h>

#include "msgfmt_helper.h"

static struct account alice;

/* Sizes the slow and obvious way. */
static struct bs_msg_sizes
naive_sizes(const uint8_t *p, size_t len)
{
	struct bs_msg_sizes s = { .physical_len = len };
	size_t i, line_start = 0;
	bool in_body = false;

	for (i = 0; i < len; i++) {
		s.virtual_len++;
		if (p[i] != '\n')
			continue;
		s.lines++;
		if (i == 0 || p[i - 1] != '\r')
			s.virtual_len++;
		if (!in_body && (i == line_start || (i == line_start + 1 && p[line_start] == '\r'))) {
			in_body = true;
			s.header_len = i + 1;
			s.header_virtual_len = s.virtual_len;
			s.header_lines = s.lines;
		}
		line_start = i + 1;
	}
	if (!in_body) {
		s.header_len = len;
		s.header_virtual_len = s.virtual_len;
		s.header_lines = s.lines;
	}
	return s;
}

static void
assert_sizes(const struct bs_msg_sizes *a, const struct bs_msg_sizes *b)
{
	assert_int_equal(a->physical_len, b->physical_len);
	assert_int_equal(a->virtual_len, b->virtual_len);
	assert_int_equal(a->header_len, b->header_len);
	assert_int_equal(a->header_virtual_len, b->header_virtual_len);
	assert_int_equal(a->lines, b->lines);
	assert_int_equal(a->header_lines, b->header_lines);
}

static void
check_round_trip(uint8_t suite, bool compress, const uint8_t *plain, size_t len, size_t max_write)
{
	struct bytes file = seal_message(&alice, suite, compress, plain, len, max_write, NULL);
	struct bs_msg_sizes expected = naive_sizes(plain, len);
	struct bs_msg_reader *rd = NULL;

	assert_true(bs_msg_is_sealed(file.p, file.len));
	assert_true(scrub_message(file.p, file.len));
	assert_int_equal(read_message(&alice, NULL, file.p, file.len, plain, len), BS_OK);
	assert_int_equal(open_message(&alice, NULL, file.p, file.len, &rd), BS_OK);
	assert_sizes(bs_msg_reader_sizes(rd), &expected);
	bs_msg_reader_free(rd);
	free(file.p);
}

/* A header of about header_len bytes, its empty line, a body. */
static struct bytes
make_message(size_t header_len, size_t body_len)
{
	struct bytes out = { 0 }, header = make_text(header_len);
	struct bytes body = rnd() % 2 == 0 ? make_text(body_len) : make_noise(body_len);
	const char *empty = rnd() % 2 == 0 ? "\r\n\r\n" : "\n\n";

	(void)append_bytes(&out, header.p, header.len);
	(void)append_bytes(&out, (const uint8_t *)empty, strlen(empty));
	(void)append_bytes(&out, body.p, body.len);
	free(header.p);
	free(body.p);
	return out;
}

static void
test_random_messages(void **state)
{
	static const size_t limits[] = { 3, 200, 5000, 70000, 300000 };
	struct bytes m;
	int i;

	(void)state;
	for (i = 0; i < 150; i++) {
		m = make_message(rnd_below(limits[rnd_below(4)]), rnd_below(limits[rnd_below(5)]));
		check_round_trip((uint8_t)(rnd() % 2), rnd() % 4 != 0, m.p, m.len, m.len < 6000 ? 1 + rnd_below(90) : 1 + rnd_below(m.len));
		free(m.p);
	}
}

/* Sizes around chunk borders, in header and body, in one write and in many. */
static void
test_borders(void **state)
{
	static const size_t sizes[] = { 0, 1, 65535, 65536, 65537, 131071, 131072, 131073 };
	struct bytes header, m;
	size_t i, j;

	(void)state;
	for (i = 0; i < 8; i++) {
		for (j = 0; j < 8; j++) {
			m = (struct bytes){ 0 };
			header = make_text(sizes[i] < 2 ? 0 : sizes[i] - 2);
			(void)append_bytes(&m, header.p, header.len);
			if (sizes[i] > 0)
				(void)append_bytes(&m, (const uint8_t *)"\n\n", sizes[i] < 2 ? 1 : 2);
			free(header.p);
			header = make_text(sizes[j]);
			(void)append_bytes(&m, header.p, header.len);
			free(header.p);
			check_round_trip(1, true, m.p, m.len, 0);
			check_round_trip(1, true, m.p, m.len, 40000);
			free(m.p);
		}
	}
}

static void
test_header_detection(void **state)
{
	static const struct {
		const char *text;
		uint64_t header_len;
	} cases[] = {
		{ "", 0 },
		{ "\n", 1 },
		{ "\r\n", 2 },
		{ "\r\nbody", 2 },
		{ "\nbody", 1 },
		{ "a: b", 4 },
		{ "a: b\n", 5 },
		{ "a: b\r\n", 6 },
		{ "a: b\n\nbody\n\n", 6 },
		{ "a: b\r\n\r\nbody\r\n\r\n", 8 },
		{ "a: b\r\n\nbody", 7 },
		{ "a: b\n\r\nbody", 7 },
		{ "a: b\n\r\r\nbody", 12 },   /* CR CR LF is no empty line */
		{ "a: b\r\r\n\r\nbody", 9 },
		{ "a: b\n \nbody", 11 },      /* nor is a blank */
		{ "a: b\n\r", 6 },
		{ "\r", 1 },
		{ "\r\r\n\n", 4 },
		{ "a\rb\n\nc", 5 },
	};
	struct bs_msg_reader *rd;
	struct bytes file;
	size_t i, split;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (split = 0; split < 3; split++) {
			file = seal_message(&alice, 0, false, (const uint8_t *)cases[i].text, strlen(cases[i].text), split, NULL);
			assert_int_equal(open_message(&alice, NULL, file.p, file.len, &rd), BS_OK);
			assert_int_equal(bs_msg_reader_sizes(rd)->header_len, cases[i].header_len);
			bs_msg_reader_free(rd);
			free(file.p);
			check_round_trip(1, true, (const uint8_t *)cases[i].text, strlen(cases[i].text), split);
		}
	}
}

static void
test_empty_message(void **state)
{
	struct bytes file = seal_message(&alice, 1, true, (const uint8_t *)"", 0, 0, NULL);
	struct bs_msg_reader *rd = NULL;
	struct bs_msg_span span;
	uint8_t out[1];

	(void)state;
	assert_int_equal(open_message(&alice, NULL, file.p, file.len, &rd), BS_OK);
	assert_int_equal(bs_msg_reader_chunk_count(rd), 1);
	assert_int_equal(bs_msg_reader_locate(rd, 0, &span), BS_ERR_LIMIT);
	assert_int_equal(bs_msg_reader_span(rd, 0, &span), BS_OK);
	assert_int_equal(span.plain_len, 0);
	assert_int_equal(bs_msg_reader_chunk(rd, &span, file.p + span.file_off, span.file_len, out), BS_OK);
	file.p[span.file_off + span.file_len - 1] ^= 1;
	assert_int_equal(bs_msg_reader_chunk(rd, &span, file.p + span.file_off, span.file_len, out), BS_ERR_AUTH);
	bs_msg_reader_free(rd);
	free(file.p);
}

static void
test_locate(void **state)
{
	struct bytes m = make_message(100000, 300000);
	struct bytes file = seal_message(&alice, 1, true, m.p, m.len, 0, NULL);
	struct bs_msg_reader *rd = NULL;
	struct bs_msg_span span, other;
	uint8_t *out = malloc(BS_MSG_CHUNK_LEN);
	size_t off;
	int i;

	(void)state;
	assert_int_equal(open_message(&alice, NULL, file.p, file.len, &rd), BS_OK);
	for (i = 0; i < 500; i++) {
		off = rnd_below(m.len);
		assert_int_equal(bs_msg_reader_locate(rd, off, &span), BS_OK);
		assert_true(span.plain_off <= off && off < span.plain_off + span.plain_len);
		assert_int_equal(bs_msg_reader_chunk(rd, &span, file.p + span.file_off, span.file_len, out), BS_OK);
		assert_memory_equal(out, m.p + span.plain_off, span.plain_len);
	}
	assert_int_equal(bs_msg_reader_locate(rd, m.len, &span), BS_ERR_LIMIT);
	assert_int_equal(bs_msg_reader_span(rd, bs_msg_reader_chunk_count(rd), &span), BS_ERR_LIMIT);
	/* What is not this span's bytes. */
	assert_int_equal(bs_msg_reader_span(rd, 1, &span), BS_OK);
	assert_int_equal(bs_msg_reader_chunk(rd, &span, file.p + span.file_off, span.file_len - 1, out), BS_ERR_SHORT);
	other = span;
	other.plain_len--;
	assert_int_equal(bs_msg_reader_chunk(rd, &other, file.p + span.file_off, span.file_len, out), BS_ERR_ARG);
	bs_msg_reader_free(rd);
	free(file.p);
	free(m.p);
	free(out);
}

static void
test_40_megabytes(void **state)
{
	struct bytes m = make_message(3000, 40 << 20);

	(void)state;
	check_round_trip(1, true, m.p, m.len, 0);
	free(m.p);
}

static void
test_suite_0_needs_no_key(void **state)
{
	struct bytes file = seal_message(&alice, 0, true, (const uint8_t *)"a: b\n\nhello", 11, 0, NULL);
	struct bs_msg_prefix prefix;
	uint8_t key[BS_KEY_LEN];

	(void)state;
	assert_int_equal(bs_msg_prefix_parse(file.p, file.len, &prefix), BS_OK);
	assert_int_equal(prefix.len, 64);
	assert_null(prefix.commitment);
	assert_int_equal(bs_msg_unwrap(&prefix, alice.sec, alice.pub, &(struct bs_kem){ .made = false }, key), BS_ERR_NOKEY);
	free(file.p);
}

static void
test_prefix(void **state)
{
	struct bytes file = seal_message(&alice, 1, true, (const uint8_t *)"a: b\n\nhello", 11, 0, NULL);
	struct account bob = new_account();
	struct bs_msg_prefix prefix;
	uint8_t key[BS_KEY_LEN];
	size_t i;

	(void)state;
	for (i = 0; i < 176; i++)
		assert_int_equal(bs_msg_prefix_parse(file.p, i, &prefix), BS_ERR_SHORT);
	assert_int_equal(bs_msg_prefix_parse(file.p, 176, &prefix), BS_OK);
	assert_int_equal(prefix.len, 176);
	assert_int_equal(prefix.hashed_len, 144);
	assert_int_equal(bs_msg_unwrap(&prefix, bob.sec, bob.pub, &(struct bs_kem){ .made = false }, key), BS_ERR_NOKEY);
	assert_int_equal(bs_msg_unwrap(&prefix, bob.sec, alice.pub, &(struct bs_kem){ .made = false }, key), BS_ERR_AUTH);
	assert_int_equal(bs_msg_reader_new(&prefix, NULL, &(struct bs_msg_reader *){ NULL }), BS_ERR_NOKEY);
	for (i = 0; i < 256; i++) {
		file.p[8] = (uint8_t)i;
		assert_int_equal(bs_msg_prefix_parse(file.p, file.len, &prefix), i == 1 || i == 2 ? BS_OK : BS_ERR_VERSION);
	}
	/* A version is no more to be talked down than a suite. */
	file.p[8] = 1;
	assert_int_equal(bs_msg_prefix_parse(file.p, file.len, &prefix), BS_OK);
	assert_int_equal(bs_msg_unwrap(&prefix, alice.sec, alice.pub, &(struct bs_kem){ .made = false }, key), BS_ERR_AUTH);
	file.p[8] = BS_MSG_VERSION;
	file.p[9] = 2;
	assert_int_equal(bs_msg_prefix_parse(file.p, file.len, &prefix), BS_ERR_VERSION);
	file.p[9] = 1;
	file.p[11] = 1;
	assert_int_equal(bs_msg_prefix_parse(file.p, file.len, &prefix), BS_ERR_VERSION);
	file.p[11] = 0;
	file.p[61] = 33;
	assert_int_equal(bs_msg_prefix_parse(file.p, file.len, &prefix), BS_ERR_FORMAT);
	file.p[61] = 32;
	/* CRLF mangling shows in the magic */
	memmove(file.p + 4, file.p + 5, file.len - 5);
	assert_int_equal(bs_msg_prefix_parse(file.p, file.len, &prefix), BS_ERR_FORMAT);
	assert_false(bs_msg_is_sealed(file.p, file.len));
	free(file.p);
}

/* An emit that fails ends the encoder, with the same error ever after. */
static enum bs_err
fail_third(void *ctx, const uint8_t *data, size_t len)
{
	int *calls = ctx;

	(void)data;
	(void)len;
	return ++*calls == 3 ? BS_ERR_IO : BS_OK;
}

static void
test_emit_error(void **state)
{
	struct bs_msg_encoder_opts opts = { .suite = 0 };
	struct bs_msg_encoder *enc = NULL;
	uint8_t *big = calloc(1, 400000);
	int calls = 0;

	(void)state;
	assert_int_equal(bs_msg_encoder_new(&opts, fail_third, &calls, &enc), BS_OK);
	assert_int_equal(calls, 0);
	assert_int_equal(bs_msg_encoder_write(enc, "\n", 1), BS_OK);
	assert_int_equal(bs_msg_encoder_write(enc, big, 400000), BS_ERR_IO);
	assert_int_equal(bs_msg_encoder_write(enc, "x", 1), BS_ERR_IO);
	assert_int_equal(bs_msg_encoder_finish(enc), BS_ERR_IO);
	assert_int_equal(calls, 3);
	bs_msg_encoder_free(enc);
	bs_msg_encoder_free(NULL);
	bs_msg_reader_free(NULL);
	free(big);
	opts.suite = 7;
	assert_int_equal(bs_msg_encoder_new(&opts, fail_third, &calls, &enc), BS_ERR_VERSION);
	opts.suite = 1; /* an all-zero public key */
	assert_int_equal(bs_msg_encoder_new(&opts, fail_third, &calls, &enc), BS_ERR_AUTH);
}

/* Two copies of one message share nothing: neither ids nor a byte of sealed text that could be matched. */
static void
test_copies_differ(void **state)
{
	struct bytes m = make_noise(2000);
	struct bytes a = seal_message(&alice, 1, false, m.p, m.len, 0, NULL);
	struct bytes b = seal_message(&alice, 1, false, m.p, m.len, 0, NULL);
	size_t i, same = 0;

	(void)state;
	assert_int_equal(a.len, b.len);
	for (i = 28; i < a.len; i++)
		same += a.p[i] == b.p[i] ? 1 : 0;
	assert_true(same < 100); /* one in 256, the key id, frames */
	free(a.p);
	free(b.p);
	free(m.p);
}

static enum bs_err
count_bytes(void *ctx, const uint8_t *data, size_t len)
{
	(void)data;
	*(uint64_t *)ctx += len;
	return BS_OK;
}

/* 30 MB through the encoder may cost it its index of three bytes a chunk, and nothing else. */
static void
test_memory_is_constant(void **state)
{
	struct bs_msg_encoder_opts opts = { .suite = 0, .compress = true };
	struct bs_msg_encoder *enc = NULL;
	struct bytes m = make_noise(100000);
	uint64_t total = 0;
	size_t before;
	int i;

	(void)state;
	assert_int_equal(bs_msg_encoder_new(&opts, count_bytes, &total, &enc), BS_OK);
	assert_int_equal(bs_msg_encoder_write(enc, m.p, m.len), BS_OK);
	before = mallinfo2().uordblks + mallinfo2().hblkhd;
	for (i = 0; i < 300; i++)
		assert_int_equal(bs_msg_encoder_write(enc, m.p, m.len), BS_OK);
	assert_true(mallinfo2().uordblks + mallinfo2().hblkhd < before + 8192);
	assert_int_equal(bs_msg_encoder_finish(enc), BS_OK);
	assert_true(total > 30000000);
	bs_msg_encoder_free(enc);
	free(m.p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header_detection),
		cmocka_unit_test(test_empty_message),
		cmocka_unit_test(test_random_messages),
		cmocka_unit_test(test_borders),
		cmocka_unit_test(test_locate),
		cmocka_unit_test(test_40_megabytes),
		cmocka_unit_test(test_suite_0_needs_no_key),
		cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_emit_error),
		cmocka_unit_test(test_copies_differ),
		cmocka_unit_test(test_memory_is_constant),
	};

	if (bs_crypto_init() != BS_OK)
		return 1;
	alice = new_account();
	return cmocka_run_group_tests_name("msgfmt", tests, NULL, NULL);
}
