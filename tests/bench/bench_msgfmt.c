/*
 * bench_msgfmt: what sealing and opening cost, in CPU time: microseconds a 4 KB message, MB/s of larger ones.
 * Run by `make bench-msgfmt`; takes about five seconds. Text is generated mail-like text, base64 is random bytes in
 * base64 (LZO hardly shrinks it), noise does not shrink at all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/msgfmt.h"

#define MB 1048576.0
#define MIN_SECONDS 0.4

struct sink {
	uint8_t *p;
	size_t len;
	size_t size;
};

static double
cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
need(bool ok)
{
	if (!ok)
		abort();
}

static enum bs_err
take(void *ctx, const uint8_t *data, size_t len)
{
	struct sink *sink = ctx;

	need(sink->size - sink->len >= len);
	memcpy(sink->p + sink->len, data, len);
	sink->len += len;
	return BS_OK;
}

static uint32_t
rnd(void)
{
	static uint64_t s = 88172645463325252u;

	s ^= s << 13;
	s ^= s >> 7;
	s ^= s << 17;
	return (uint32_t)(s >> 20);
}

/* Words of a small vocabulary, skewed as language is: LZO gets it to about a half. */
static void
fill_text(char *p, size_t len)
{
	static char words[2000][12];
	size_t i = 0, line = 0, n, w;

	for (w = 0; words[w % 2000][0] == 0 && w < 2000; w++) {
		for (n = 0; n < 2 + rnd() % 9; n++)
			words[w][n] = (char)('a' + rnd() % 26);
	}
	while (i < len) {
		w = rnd() % 2000;
		w = rnd() % (w + 1);
		w = rnd() % (w + 1);
		for (n = 0; words[w][n] != 0 && i < len; n++)
			p[i++] = words[w][n];
		line += n + 1;
		if (i < len)
			p[i++] = line > 70 ? '\n' : ' ';
		line = line > 70 ? 0 : line;
	}
}

static void
fill_base64(char *p, size_t len)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = i % 77 == 76 ? '\n' : set[rnd() % 64];
}

static void
fill_noise(char *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (char)rnd();
}

static void
encode(const struct bs_msg_encoder_opts *opts, const char *plain, size_t len, struct sink *out, uint8_t *key)
{
	struct bs_msg_encoder *enc;
	size_t off, n;

	out->len = 0;
	need(bs_msg_encoder_new(opts, take, out, &enc) == BS_OK);
	for (off = 0; off < len; off += n) { /* as Dovecot's streams give it */
		n = len - off < 8192 ? len - off : 8192;
		need(bs_msg_encoder_write(enc, plain + off, n) == BS_OK);
	}
	need(bs_msg_encoder_finish(enc) == BS_OK);
	bs_msg_encoder_data_key(enc, key);
	bs_msg_encoder_free(enc);
}

static void
decode(const struct sink *file, const uint8_t *key, uint8_t *out)
{
	struct bs_msg_prefix prefix;
	struct bs_msg_reader *rd;
	struct bs_msg_span span;
	uint64_t off;
	uint32_t len, i;

	need(bs_msg_prefix_parse(file->p, file->len, &prefix) == BS_OK);
	need(bs_msg_reader_new(&prefix, key, &rd) == BS_OK);
	need(bs_msg_reader_footer(rd, file->len, file->p + file->len - BS_MSG_FOOTER_LEN, &off, &len) == BS_OK);
	need(bs_msg_reader_trailer(rd, file->p + off, len) == BS_OK);
	for (i = 0; i < bs_msg_reader_chunk_count(rd); i++) {
		need(bs_msg_reader_span(rd, i, &span) == BS_OK);
		need(bs_msg_reader_chunk(rd, &span, file->p + span.file_off, span.file_len, out) == BS_OK);
	}
	bs_msg_reader_free(rd);
}

static void
measure(const char *name, const struct bs_msg_encoder_opts *opts, const char *plain, size_t len, struct sink *file)
{
	uint8_t key[BS_KEY_LEN], *out = malloc(BS_MSG_CHUNK_LEN);
	double start = cpu_seconds(), enc_s, dec_s;
	int n = 0, m = 0;

	need(out != NULL);
	do {
		encode(opts, plain, len, file, key);
		n++;
	} while ((enc_s = cpu_seconds() - start) < MIN_SECONDS);
	start = cpu_seconds();
	do {
		decode(file, key, out);
		m++;
	} while ((dec_s = cpu_seconds() - start) < MIN_SECONDS);
	printf("%-18s %9zu -> %9zu  seal %9.1f us %7.0f MB/s   open %9.1f us %7.0f MB/s\n", name, len, file->len,
	    enc_s / n * 1e6, (double)len * n / enc_s / MB, dec_s / m * 1e6, (double)len * m / dec_s / MB);
	free(out);
}

int
main(void)
{
	static const size_t big = 4 << 20;
	struct bs_msg_encoder_opts opts = { .suite = BS_MSG_SUITE_X25519, .compress = true };
	struct sink file = { .size = 5 << 20 };
	uint8_t sec[BS_KEY_LEN], sealed[BS_SEALED_KEY_LEN], eph[BS_KEY_LEN], salt[16] = { 0 };
	char *plain = malloc(big);
	double start;
	int i;

	file.p = malloc(file.size);
	need(plain != NULL && file.p != NULL && bs_crypto_init() == BS_OK);
	bs_x25519_keypair(opts.public_key, sec);
	start = cpu_seconds();
	for (i = 0; i < 2000; i++)
		need(bs_kem_seal(opts.public_key, salt, "x", "", 0, sec, eph, sealed) == BS_OK);
	printf("%-18s %.1f us, of which X25519 is nearly all\n", "sealed data key", (cpu_seconds() - start) / 2000 * 1e6);
	fill_text(plain, big);
	memcpy(plain + 1200, "\n\n", 2);
	measure("text 4 KB", &opts, plain, 4096, &file);
	measure("text 20 KB", &opts, plain, 20480, &file);
	measure("text 4 MB", &opts, plain, big, &file);
	opts.compress = false;
	measure("text, as it is", &opts, plain, big, &file);
	opts.compress = true;
	opts.suite = BS_MSG_SUITE_PLAIN;
	measure("text 4 KB suite 0", &opts, plain, 4096, &file);
	measure("text 4 MB suite 0", &opts, plain, big, &file);
	opts.suite = BS_MSG_SUITE_X25519;
	fill_base64(plain + 1300, big - 1300);
	measure("base64 4 MB", &opts, plain, big, &file);
	fill_noise(plain + 1300, big - 1300);
	measure("noise 4 MB", &opts, plain, big, &file);
	free(plain);
	free(file.p);
	return 0;
}
