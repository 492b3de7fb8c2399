/*
 * msgfmt_helper: sealing to memory and reading all of it back, for the tests of msgfmt.
 * seal_message() and read_message() behave as the Dovecot plugin does: parse, unwrap, commitment, footer, trailer, chunks.
 */
#ifndef MSGFMT_HELPER_H
#define MSGFMT_HELPER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/msgfmt.h"

struct bytes {
	uint8_t *p;
	size_t len;
	size_t size;
};

struct account {
	uint8_t id[BS_ID_LEN];
	uint8_t pub[BS_KEY_LEN];
	uint8_t sec[BS_KEY_LEN];
};

/* xorshift64*: the same messages in every run. */
static inline uint64_t
rnd(void)
{
	static uint64_t s = 0x9e3779b97f4a7c15u;

	s ^= s >> 12;
	s ^= s << 25;
	s ^= s >> 27;
	return s * 0x2545f4914f6cdd1du;
}

static inline size_t
rnd_below(size_t n)
{
	return n == 0 ? 0 : (size_t)(rnd() % n);
}

static inline struct account
new_account(void)
{
	struct account a;

	bs_random(a.id, sizeof(a.id));
	bs_x25519_keypair(a.pub, a.sec);
	return a;
}

static inline enum bs_err
append_bytes(void *ctx, const uint8_t *data, size_t len)
{
	struct bytes *b = ctx;

	if (len == 0)
		return BS_OK;
	if (b->size - b->len < len) {
		b->size = (b->len + len) * 2;
		b->p = realloc(b->p, b->size);
		if (b->p == NULL)
			return BS_ERR_NOMEM;
	}
	memcpy(b->p + b->len, data, len);
	b->len += len;
	return BS_OK;
}

/* Text of short lines with some repetition, some noise, now and then a bare LF; no empty line. */
static inline struct bytes
make_text(size_t len)
{
	static const char *const words[] = { "the ", "mail ", "of ", "Basalt ", "is ", "sealed, ", "and ", "so\r\n", "x\n" };
	struct bytes b = { .p = malloc(len + 1), .len = len };
	size_t i, n, w;

	assert_non_null(b.p);
	for (i = 0; i < len; i += n) {
		w = rnd_below(12);
		if (w < 9) {
			n = strlen(words[w]);
			n = n < len - i ? n : len - i;
			memcpy(b.p + i, words[w], n);
			if (b.p[i] == '\n' || b.p[i] == '\r')
				b.p[i] = '_';
		} else {
			n = 1;
			b.p[i] = (uint8_t)(128 + rnd_below(127));
		}
		if (i > 0 && b.p[i - 1] == '\n' && (b.p[i] == '\n' || b.p[i] == '\r'))
			b.p[i] = '-';
	}
	return b;
}

static inline struct bytes
make_noise(size_t len)
{
	struct bytes b = { .p = malloc(len + 1), .len = len };
	size_t i;

	assert_non_null(b.p);
	for (i = 0; i < len; i++)
		b.p[i] = (uint8_t)(rnd() >> 32);
	return b;
}

/* max_write 0: all at once. data_key may be NULL. */
static inline struct bytes
seal_message(const struct account *a, uint8_t suite, bool compress, const uint8_t *plain, size_t len, size_t max_write,
    uint8_t *data_key)
{
	struct bs_msg_encoder_opts opts = { .suite = suite, .compress = compress };
	struct bs_msg_encoder *enc = NULL;
	struct bytes out = { 0 };
	size_t n;

	memcpy(opts.account_id, a->id, BS_ID_LEN);
	memcpy(opts.public_key, a->pub, BS_KEY_LEN);
	assert_int_equal(bs_msg_encoder_new(&opts, append_bytes, &out, &enc), BS_OK);
	while (len > 0) {
		n = max_write == 0 ? len : 1 + rnd_below(max_write);
		n = n < len ? n : len;
		assert_int_equal(bs_msg_encoder_write(enc, plain, n), BS_OK);
		plain += n;
		len -= n;
	}
	assert_int_equal(bs_msg_encoder_finish(enc), BS_OK);
	if (data_key != NULL)
		bs_msg_encoder_data_key(enc, data_key);
	bs_msg_encoder_free(enc);
	return out;
}

/* Prefix, data key, footer and trailer of a file in memory. data_key NULL: unwrapped with a's key. */
static inline enum bs_err
open_message(const struct account *a, const uint8_t *data_key, const uint8_t *file, size_t len, struct bs_msg_reader **out)
{
	struct bs_msg_prefix prefix;
	struct bs_msg_reader *rd = NULL;
	uint8_t key[BS_KEY_LEN] = { 0 };
	uint64_t off = 0;
	uint32_t trailer_len = 0;
	enum bs_err err = bs_msg_prefix_parse(file, len, &prefix);

	if (err == BS_OK && memcmp(prefix.account_id, a->id, BS_ID_LEN) != 0)
		err = BS_ERR_ACCOUNT;
	if (err == BS_OK && data_key != NULL)
		memcpy(key, data_key, sizeof(key));
	else if (err == BS_OK && prefix.suite != BS_MSG_SUITE_PLAIN)
		err = bs_msg_unwrap(&prefix, a->sec, a->pub, &(struct bs_kem){ .made = false }, key);
	if (err == BS_OK)
		err = bs_msg_reader_new(&prefix, key, &rd);
	if (err == BS_OK && len < BS_MSG_FOOTER_LEN)
		err = BS_ERR_SHORT;
	if (err == BS_OK)
		err = bs_msg_reader_footer(rd, len, file + len - BS_MSG_FOOTER_LEN, &off, &trailer_len);
	if (err == BS_OK)
		err = bs_msg_reader_trailer(rd, file + off, trailer_len);
	if (err == BS_OK)
		*out = rd;
	else
		bs_msg_reader_free(rd);
	return err;
}

/*
 * Reads every chunk; each that opens must hold plain's bytes at its place, each that does not must come out wiped.
 * The first error, or BS_OK.
 */
static inline enum bs_err
read_message(const struct account *a, const uint8_t *data_key, const uint8_t *file, size_t len, const uint8_t *plain,
    size_t plain_len)
{
	struct bs_msg_reader *rd = NULL;
	struct bs_msg_span span;
	uint8_t *out, *zero;
	uint32_t i;
	enum bs_err err = open_message(a, data_key, file, len, &rd), first = BS_OK;

	if (err != BS_OK)
		return err;
	assert_int_equal(bs_msg_reader_sizes(rd)->physical_len, plain_len);
	out = malloc(BS_MSG_CHUNK_LEN);
	zero = calloc(1, BS_MSG_CHUNK_LEN);
	for (i = 0; i < bs_msg_reader_chunk_count(rd); i++) {
		assert_int_equal(bs_msg_reader_span(rd, i, &span), BS_OK);
		assert_true(span.file_off + span.file_len <= len && span.file_len <= BS_MSG_STORED_MAX);
		memset(out, 0xaa, BS_MSG_CHUNK_LEN);
		err = bs_msg_reader_chunk(rd, &span, file + span.file_off, span.file_len, out);
		if (err == BS_OK)
			assert_memory_equal(out, plain + span.plain_off, span.plain_len);
		else
			assert_memory_equal(out, zero, span.plain_len);
		if (first == BS_OK)
			first = err;
	}
	free(zero);
	free(out);
	bs_msg_reader_free(rd);
	return first;
}

/* What `basaltctl scrub` does: the digest, no key. */
static inline bool
scrub_message(const uint8_t *file, size_t len)
{
	uint8_t digest[BS_HASH_LEN], stored[BS_HASH_LEN];
	uint64_t off;
	uint32_t trailer_len;

	if (len < BS_MSG_FOOTER_LEN ||
	    bs_msg_footer_parse(file + len - BS_MSG_FOOTER_LEN, len, &off, &trailer_len, stored) != BS_OK)
		return false;
	bs_sha256(file, len - BS_HASH_LEN, digest);
	return memcmp(digest, stored, BS_HASH_LEN) == 0;
}

#endif
