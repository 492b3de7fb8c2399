/*
 * msgfmt, what was done to a file on disk: every truncation, bit flip, reordering, splice and swap of accounts is found
 * before a byte of the chunk it touches comes out. read_message() asserts that what does come out is right.
 */
#include "msgfmt_helper.h"

#define MAIL "From: a@example.org\r\nSubject: hello hello hello hello\r\n\r\n"

static struct account alice, bob;

static struct bytes
text_message(size_t len)
{
	struct bytes m = { 0 }, body = make_text(len);

	(void)append_bytes(&m, (const uint8_t *)MAIL, strlen(MAIL));
	(void)append_bytes(&m, body.p, body.len);
	free(body.p);
	return m;
}

static void
check_every_bit(uint8_t suite, size_t body_len)
{
	struct bytes m = text_message(body_len), file = seal_message(&alice, suite, true, m.p, m.len, 0, NULL);
	bool in_digest, scrubbed;
	size_t i;
	enum bs_err err;

	for (i = 0; i < file.len * 8; i++) {
		file.p[i / 8] ^= (uint8_t)(1u << i % 8);
		in_digest = i / 8 >= file.len - BS_HASH_LEN;
		err = read_message(&alice, NULL, file.p, file.len, m.p, m.len);
		scrubbed = scrub_message(file.p, file.len);
		if ((err == BS_OK) != in_digest || scrubbed)
			fail_msg("suite %u, bit %zu of byte %zu of %zu: %s, scrub %s", suite, i % 8, i / 8, file.len,
			    bs_err_text(err), scrubbed ? "clean" : "dirty");
		file.p[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	assert_int_equal(read_message(&alice, NULL, file.p, file.len, m.p, m.len), BS_OK);
	free(file.p);
	free(m.p);
}

static void
test_every_bit(void **state)
{
	(void)state;
	check_every_bit(1, 0);
	check_every_bit(1, 150);
	check_every_bit(0, 0);
	check_every_bit(0, 300);
}

/* Bits of a message of several chunks, one in each 97 bytes. */
static void
test_bits_of_a_large_file(void **state)
{
	struct bytes m = text_message(200000), file;
	uint8_t key[BS_KEY_LEN];
	size_t i;

	(void)state;
	file = seal_message(&alice, 1, true, m.p, m.len, 0, key);
	for (i = 176; i < file.len - BS_HASH_LEN; i += 97) {
		file.p[i] ^= 4;
		assert_int_not_equal(read_message(&alice, key, file.p, file.len, m.p, m.len), BS_OK);
		file.p[i] ^= 4;
	}
	free(file.p);
	free(m.p);
}

static void
check_cut(const uint8_t *file, size_t len, const struct bytes *m, uint8_t *key)
{
	/* A copy of its own, so that the sanitizer sees a read past the end. */
	uint8_t *copy = malloc(len + 1);

	assert_non_null(copy);
	memcpy(copy, file, len);
	assert_int_not_equal(read_message(&alice, key, copy, len, m->p, m->len), BS_OK);
	assert_false(scrub_message(copy, len));
	free(copy);
}

static void
test_every_truncation(void **state)
{
	struct bytes m = text_message(200), file;
	uint8_t key[BS_KEY_LEN];
	size_t i;

	(void)state;
	file = seal_message(&alice, 1, true, m.p, m.len, 0, key);
	for (i = 0; i < file.len; i++)
		check_cut(file.p, i, &m, key);
	check_cut(file.p + 1, file.len - 1, &m, key); /* at the front */
	free(file.p);
	file = seal_message(&alice, 0, true, m.p, m.len, 0, NULL);
	for (i = 0; i < file.len; i++)
		check_cut(file.p, i, &m, NULL);
	free(file.p);
	free(m.p);
}

/* A forger's footer over whatever is in b: it needs no key. */
static void
put_footer(struct bytes *b, uint64_t trailer_off, uint32_t trailer_len)
{
	uint8_t footer[BS_MSG_FOOTER_LEN];
	int i;

	for (i = 0; i < 8; i++)
		footer[i] = (uint8_t)(trailer_off >> (56 - 8 * i));
	for (i = 0; i < 4; i++)
		footer[8 + i] = (uint8_t)(trailer_len >> (24 - 8 * i));
	memcpy(footer + 12, "BSLe", 4);
	(void)append_bytes(b, footer, 16);
	bs_sha256(b->p, b->len, footer);
	(void)append_bytes(b, footer, BS_HASH_LEN);
}

struct parts {
	struct bytes m, file;
	uint8_t key[BS_KEY_LEN];
	struct bs_msg_span spans[16];
	uint32_t count;
	uint64_t trailer_off;
	uint32_t trailer_len;
};

/* A message of two header chunks and four body chunks, equal lengths in every copy. */
static struct parts
make_parts(const struct account *a, uint8_t suite)
{
	struct parts p = { 0 };
	struct bs_msg_reader *rd = NULL;
	uint8_t digest[BS_HASH_LEN];
	struct bytes noise = make_noise(100000 + 3 * BS_MSG_CHUNK_LEN + 1000);
	size_t i;

	for (i = 0; i < 100000; i++)
		noise.p[i] |= 0x20; /* no LF in the header */
	memcpy(noise.p + 99998, "\n\n", 2);
	p.m = noise;
	p.file = seal_message(a, suite, true, p.m.p, p.m.len, 0, p.key);
	assert_int_equal(open_message(a, p.key, p.file.p, p.file.len, &rd), BS_OK);
	p.count = bs_msg_reader_chunk_count(rd);
	assert_int_equal(p.count, 6);
	for (i = 0; i < p.count; i++)
		assert_int_equal(bs_msg_reader_span(rd, (uint32_t)i, &p.spans[i]), BS_OK);
	assert_int_equal(bs_msg_footer_parse(p.file.p + p.file.len - BS_MSG_FOOTER_LEN, p.file.len, &p.trailer_off,
	    &p.trailer_len, digest), BS_OK);
	bs_msg_reader_free(rd);
	return p;
}

static void
free_parts(struct parts *p)
{
	free(p->m.p);
	free(p->file.p);
}

/* prefix of head, the chunks in the order given, the trailer of tail, a fresh footer. */
static struct bytes
assemble(const struct parts *head, const struct parts *chunks, const uint32_t *order, uint32_t n, const struct parts *tail)
{
	struct bytes out = { 0 };
	uint64_t off;
	uint32_t i;

	(void)append_bytes(&out, head->file.p, head->spans[0].file_off);
	for (i = 0; i < n; i++)
		(void)append_bytes(&out, chunks->file.p + chunks->spans[order[i]].file_off, chunks->spans[order[i]].file_len);
	off = out.len;
	(void)append_bytes(&out, tail->file.p + tail->trailer_off, tail->trailer_len);
	put_footer(&out, off, tail->trailer_len);
	return out;
}

static const uint32_t straight[6] = { 0, 1, 2, 3, 4, 5 };

static void
check_reordering(uint8_t suite)
{
	static const struct {
		uint32_t n;
		uint32_t order[7];
	} cases[] = {
		{ 6, { 0, 1, 3, 2, 4, 5 } },    /* two body chunks swapped */
		{ 6, { 0, 1, 2, 2, 4, 5 } },    /* one in place of another */
		{ 6, { 2, 1, 0, 3, 4, 5 } },    /* header and body swapped */
		{ 5, { 0, 1, 2, 3, 4 } },       /* the last left out */
		{ 5, { 0, 1, 2, 3, 5 } },       /* one in the middle left out */
		{ 5, { 1, 2, 3, 4, 5 } },       /* the first left out */
		{ 7, { 0, 1, 2, 3, 4, 5, 5 } }, /* one twice */
		{ 7, { 0, 1, 2, 2, 3, 4, 5 } },
		{ 0, { 0 } },
	};
	struct parts p = make_parts(&alice, suite);
	struct bytes cut;
	size_t i;

	cut = assemble(&p, &p, straight, 6, &p);
	assert_int_equal(cut.len, p.file.len);
	assert_memory_equal(cut.p, p.file.p, cut.len);
	free(cut.p);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cut = assemble(&p, &p, cases[i].order, cases[i].n, &p);
		assert_int_not_equal(read_message(&alice, p.key, cut.p, cut.len, p.m.p, p.m.len), BS_OK);
		free(cut.p);
	}
	free_parts(&p);
}

static void
test_reordering(void **state)
{
	(void)state;
	check_reordering(1);
	check_reordering(0);
}

static void
check_splice(uint8_t suite)
{
	struct parts a = make_parts(&alice, suite), b = make_parts(&alice, suite);
	struct bytes cut;
	uint32_t i;

	/* Same lengths everywhere, so only the tags can tell. */
	assert_int_equal(a.file.len, b.file.len);
	for (i = 0; i < a.count; i++) {
		cut = assemble(&a, &a, straight, 6, &a);
		memcpy(cut.p + a.spans[i].file_off, b.file.p + b.spans[i].file_off, a.spans[i].file_len);
		assert_int_equal(read_message(&alice, a.key, cut.p, cut.len, a.m.p, a.m.len), BS_ERR_AUTH);
		free(cut.p);
	}
	cut = assemble(&a, &a, straight, 6, &b);
	assert_int_equal(read_message(&alice, a.key, cut.p, cut.len, a.m.p, a.m.len), BS_ERR_AUTH);
	free(cut.p);
	cut = assemble(&a, &b, straight, 6, &b);
	assert_int_equal(read_message(&alice, a.key, cut.p, cut.len, a.m.p, a.m.len), BS_ERR_AUTH);
	if (suite == 1) /* the other's data key */
		assert_int_equal(read_message(&alice, b.key, cut.p, cut.len, b.m.p, b.m.len), BS_ERR_AUTH);
	free(cut.p);
	free_parts(&a);
	free_parts(&b);
}

static void
test_splice(void **state)
{
	(void)state;
	check_splice(1);
	check_splice(0);
}

/* Mail of one account laid into another's mailbox, and its account id rewritten. */
static void
test_other_account(void **state)
{
	struct bytes m = text_message(100), file;
	struct account twin = bob;
	uint8_t key[BS_KEY_LEN];

	(void)state;
	file = seal_message(&alice, 1, true, m.p, m.len, 0, key);
	assert_int_equal(read_message(&bob, NULL, file.p, file.len, m.p, m.len), BS_ERR_ACCOUNT);
	memcpy(file.p + 12, bob.id, BS_ID_LEN);
	assert_int_equal(read_message(&bob, NULL, file.p, file.len, m.p, m.len), BS_ERR_NOKEY);
	bs_msg_key_id(1, bob.pub, file.p + 44);
	assert_int_equal(read_message(&bob, NULL, file.p, file.len, m.p, m.len), BS_ERR_AUTH);
	/* Even an account with the same key pair, or somebody who has the data key. */
	memcpy(twin.pub, alice.pub, BS_KEY_LEN);
	memcpy(twin.sec, alice.sec, BS_KEY_LEN);
	bs_msg_key_id(1, alice.pub, file.p + 44);
	assert_int_equal(read_message(&twin, NULL, file.p, file.len, m.p, m.len), BS_ERR_AUTH);
	assert_int_equal(read_message(&twin, key, file.p, file.len, m.p, m.len), BS_ERR_AUTH);
	free(file.p);
	free(m.p);
}

/* A sealed message made to look like suite 0, and the other way. */
static void
test_suite_swap(void **state)
{
	struct bytes m = text_message(100), sealed, plain;
	uint8_t key[BS_KEY_LEN];

	(void)state;
	sealed = seal_message(&alice, 1, true, m.p, m.len, 0, key);
	plain = seal_message(&alice, 0, true, m.p, m.len, 0, NULL);
	sealed.p[9] = 0;
	assert_int_equal(read_message(&alice, key, sealed.p, sealed.len, m.p, m.len), BS_ERR_FORMAT);
	plain.p[9] = 1;
	assert_int_equal(read_message(&alice, key, plain.p, plain.len, m.p, m.len), BS_ERR_FORMAT);
	free(sealed.p);
	free(plain.p);
	free(m.p);
}

/* Bytes between the parts, after the end, or a trailer offset that points elsewhere. */
static void
test_gaps(void **state)
{
	struct parts p = make_parts(&alice, 1);
	struct bytes cut = { 0 };
	uint64_t off;

	(void)state;
	(void)append_bytes(&cut, p.file.p, p.trailer_off);
	(void)append_bytes(&cut, p.file.p, 24);
	off = cut.len;
	(void)append_bytes(&cut, p.file.p + p.trailer_off, p.trailer_len);
	put_footer(&cut, off, p.trailer_len);
	assert_int_equal(read_message(&alice, p.key, cut.p, cut.len, p.m.p, p.m.len), BS_ERR_FORMAT);
	free(cut.p);
	cut = (struct bytes){ 0 };
	(void)append_bytes(&cut, p.file.p, p.file.len);
	(void)append_bytes(&cut, (const uint8_t *)"\n", 1);
	assert_int_equal(read_message(&alice, p.key, cut.p, cut.len, p.m.p, p.m.len), BS_ERR_FORMAT);
	free(cut.p);
	cut = (struct bytes){ 0 };
	(void)append_bytes(&cut, p.file.p, p.trailer_off + p.trailer_len);
	put_footer(&cut, p.trailer_off - 1, p.trailer_len + 1);
	assert_int_equal(read_message(&alice, p.key, cut.p, cut.len, p.m.p, p.m.len), BS_ERR_FORMAT);
	free(cut.p);
	free_parts(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_bit),
		cmocka_unit_test(test_bits_of_a_large_file),
		cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_reordering),
		cmocka_unit_test(test_splice),
		cmocka_unit_test(test_other_account),
		cmocka_unit_test(test_suite_swap),
		cmocka_unit_test(test_gaps),
	};

	if (bs_crypto_init() != BS_OK)
		return 1;
	alice = new_account();
	bob = new_account();
	return cmocka_run_group_tests_name("msgfmt_damage", tests, NULL, NULL);
}
