/* msgfmt_reseal: the same message under another key, and nothing of it unless all of it was authentic. */
#include "common/msgfmt_reseal.h"
#include "msgfmt_helper.h"

/* Reseals a whole file in memory, in place. */
static enum bs_err
reseal(uint8_t *file, size_t len, const uint8_t data_key[BS_KEY_LEN], const uint8_t pub[BS_KEY_LEN])
{
	struct bs_msg_prefix prefix;
	struct bs_msg_reseal *rs = NULL;
	uint8_t digest[BS_HASH_LEN];
	uint64_t trailer_off;
	uint32_t trailer_len;
	size_t off, n;
	enum bs_err err = bs_msg_prefix_parse(file, len, &prefix);

	if (err == BS_OK)
		err = bs_msg_footer_parse(file + len - BS_MSG_FOOTER_LEN, len, &trailer_off, &trailer_len, digest);
	if (err == BS_OK)
		err = bs_msg_reseal_new(&prefix, data_key, pub, &rs);
	for (off = prefix.len; err == BS_OK && off < len - BS_MSG_FOOTER_LEN; off += n) {
		n = bs_msg_reseal_frame_len(file + off);
		if (n == 0 || n > len - BS_MSG_FOOTER_LEN - off)
			err = BS_ERR_FORMAT;
		else
			err = bs_msg_reseal_frame(rs, file + off, n);
	}
	if (err == BS_OK) {
		memcpy(file, bs_msg_reseal_prefix(rs), prefix.len);
		bs_msg_reseal_footer(rs, file + len - BS_MSG_FOOTER_LEN);
	}
	bs_msg_reseal_free(rs);
	return err;
}

static struct bytes
copy_of(const struct bytes *b)
{
	struct bytes out = { .p = malloc(b->len), .len = b->len };

	memcpy(out.p, b->p, b->len);
	return out;
}

static void
check_digest(const struct bytes *file)
{
	uint8_t digest[BS_HASH_LEN], actual[BS_HASH_LEN];
	uint64_t off;
	uint32_t trailer_len;

	assert_int_equal(bs_msg_footer_parse(file->p + file->len - BS_MSG_FOOTER_LEN, file->len, &off, &trailer_len, digest), BS_OK);
	bs_sha256(file->p, file->len - BS_HASH_LEN, actual);
	assert_memory_equal(digest, actual, BS_HASH_LEN);
}

/* The new key opens it, the old one does not; ids, data key and every length stay; no ciphertext does. */
static void
test_moves(void **state)
{
	static const size_t lens[] = { 0, 1, 100, 5000, 65536, 65537, 300000 };

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		struct account old = new_account(), new = old;
		struct bytes text = make_text(lens[i]), before, after;
		struct bs_msg_prefix a, b;
		uint8_t key[BS_KEY_LEN];

		bs_x25519_keypair(new.pub, new.sec);
		if (lens[i] > 1000)
			memcpy(text.p + 500, "\r\n\r\n", 4);
		before = seal_message(&old, BS_MSG_SUITE_X25519, i % 2 == 0, text.p, text.len, 0, key);
		after = copy_of(&before);
		assert_int_equal(reseal(after.p, after.len, key, new.pub), BS_OK);
		assert_int_equal(read_message(&new, NULL, after.p, after.len, text.p, text.len), BS_OK);
		assert_int_equal(read_message(&new, key, after.p, after.len, text.p, text.len), BS_OK);
		assert_int_equal(read_message(&old, NULL, after.p, after.len, text.p, text.len), BS_ERR_NOKEY);
		check_digest(&after);
		assert_int_equal(bs_msg_prefix_parse(before.p, before.len, &a), BS_OK);
		assert_int_equal(bs_msg_prefix_parse(after.p, after.len, &b), BS_OK);
		assert_memory_equal(a.message_id, b.message_id, BS_ID_LEN);
		assert_memory_equal(a.account_id, b.account_id, BS_ID_LEN);
		assert_memory_not_equal(a.kem, b.kem, BS_KEY_LEN);
		if (lens[i] >= 100)
			assert_memory_not_equal(before.p + a.len + 8, after.p + b.len + 8, 50);
		free(after.p);
		free(before.p);
		free(text.p);
	}
}

/* A flipped bit anywhere: refused, or (in what only the new file's own digest and trailer can tell) no readable file. */
static void
test_damage_does_not_move(void **state)
{
	struct account old = new_account(), new = old;
	struct bytes text = make_text(900), file;
	uint8_t key[BS_KEY_LEN];

	(void)state;
	bs_x25519_keypair(new.pub, new.sec);
	memcpy(text.p + 300, "\r\n\r\n", 4);
	file = seal_message(&old, BS_MSG_SUITE_X25519, true, text.p, text.len, 0, key);
	for (size_t i = 0; i < file.len - BS_HASH_LEN; i++) {
		struct bytes bad = copy_of(&file);

		bad.p[i] ^= (uint8_t)(1u << rnd_below(8));
		if (reseal(bad.p, bad.len, key, new.pub) == BS_OK)
			fail_msg("byte %zu of %zu is looked at by nobody", i, file.len);
		free(bad.p);
	}
	free(file.p);
	free(text.p);
}

static void
test_what_it_refuses(void **state)
{
	static const uint8_t weak[BS_KEY_LEN];
	struct account a = new_account(), b = new_account();
	struct bytes text = make_text(200), file = seal_message(&a, BS_MSG_SUITE_X25519, true, text.p, text.len, 0, NULL);
	struct bytes plain = seal_message(&a, BS_MSG_SUITE_PLAIN, true, text.p, text.len, 0, NULL);
	uint8_t wrong[BS_KEY_LEN] = { 1 }, head[BS_MSG_RESEAL_HEAD_LEN] = { 0 };

	(void)state;
	assert_int_equal(reseal(file.p, file.len, wrong, b.pub), BS_ERR_AUTH);
	assert_int_equal(reseal(plain.p, plain.len, wrong, b.pub), BS_ERR_NOKEY);
	free(file.p);
	file = seal_message(&a, BS_MSG_SUITE_X25519, true, text.p, text.len, 0, wrong);
	assert_int_equal(reseal(file.p, file.len, wrong, weak), BS_ERR_AUTH);
	assert_int_equal(bs_msg_reseal_frame_len(head), 0);
	head[0] = 2;
	head[5] = 2;
	assert_int_equal(bs_msg_reseal_frame_len(head), 0); /* longer than a chunk */
	head[0] = 4;
	head[5] = 0;
	assert_int_equal(bs_msg_reseal_frame_len(head), 0);
	free(plain.p);
	free(file.p);
	free(text.p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_moves),
		cmocka_unit_test(test_damage_does_not_move),
		cmocka_unit_test(test_what_it_refuses),
	};

	if (bs_crypto_init() != BS_OK)
		return 1;
	return cmocka_run_group_tests_name("msgfmt_reseal", tests, NULL, NULL);
}
