#include "sealed.h"

#include <stdlib.h>
#include <string.h>

#include "wire.h"

#define READ_LEN (256u * 1024)
#define MAGIC_START_LEN 4
#define CHUNK_HEAD_LEN 8 /* docs/FORMAT.message.md: kind, flags, plain length, stored length */
#define CHUNK_KIND_HEADER 1
#define CHUNK_KIND_BODY 2
#define CHUNK_FLAG_FINAL 1
#define CHUNK_FLAGS_COMPRESSED (2 | 4) /* LZO1X, Zstandard */

/* SHA-256 of len bytes at off. */
static enum bs_err
digest_of(int fd, uint64_t off, uint64_t len, uint8_t out[BS_HASH_LEN])
{
	struct bs_sha256 *hash = bs_sha256_new();
	uint8_t *block = malloc(READ_LEN);
	enum bs_err err = hash == NULL || block == NULL ? BS_ERR_NOMEM : BS_OK;

	while (err == BS_OK && len > 0) {
		size_t want = len < READ_LEN ? (size_t)len : READ_LEN, got = 0;

		err = ctl_pread(fd, off, block, want, &got);
		if (err == BS_OK && got == 0)
			break; /* it was cut meanwhile: the digest will not fit */
		if (err == BS_OK)
			bs_sha256_update(hash, block, got);
		off += got;
		len -= got;
	}
	if (err == BS_OK)
		bs_sha256_final(hash, out);
	free(block);
	bs_sha256_free(hash);
	return err;
}

static enum bs_err
look_at_prefix(int fd, const struct ctl_mail *mail, struct ctl_look *look)
{
	size_t want = mail->len < sizeof(look->bytes) ? (size_t)mail->len : sizeof(look->bytes), got;
	enum bs_err err = ctl_pread(fd, mail->off, look->bytes, want, &got);

	if (err != BS_OK)
		return err;
	if (!bs_msg_is_sealed(look->bytes, got)) {
		/* What converts line ends or strips the eighth bit spoils the magic's end: that is what it is for. */
		bool ours = got > 0 && memcmp(look->bytes, BS_MSG_MAGIC, got < MAGIC_START_LEN ? got : MAGIC_START_LEN) == 0;

		look->what = ours ? CTL_SEALED : CTL_PLAINTEXT;
		look->blank = got == 0 || look->bytes[0] == 0;
		look->damage = ours ? "its magic is mangled: were line ends converted?" : "the magic at its beginning is damaged";
		return BS_OK;
	}
	look->what = CTL_SEALED;
	err = bs_msg_prefix_parse(look->bytes, got, &look->prefix);
	look->have_prefix = err == BS_OK;
	if (err == BS_ERR_VERSION)
		look->damage = "its version or suite is unknown to this program";
	else if (err == BS_ERR_SHORT)
		look->damage = "it was cut off within its prefix";
	else if (err != BS_OK)
		look->damage = "its prefix is damaged";
	return BS_OK;
}

static enum bs_err
look_at_footer(int fd, const struct ctl_mail *mail, struct ctl_look *look, uint8_t digest[BS_HASH_LEN])
{
	uint8_t footer[BS_MSG_FOOTER_LEN] = { 0 };
	size_t got = 0;
	enum bs_err err;

	if (mail->len < BS_MSG_FOOTER_LEN)
		return BS_OK;
	err = ctl_pread(fd, mail->off + mail->len - BS_MSG_FOOTER_LEN, footer, sizeof(footer), &got);
	if (err != BS_OK)
		return err;
	look->have_footer =
	    got == sizeof(footer) &&
	    bs_msg_footer_parse(footer, mail->len, &look->trailer_off, &look->trailer_len, digest) == BS_OK;
	return BS_OK;
}

enum bs_err
ctl_sealed_look(int fd, const struct ctl_mail *mail, struct ctl_look *out)
{
	uint8_t digest[BS_HASH_LEN], actual[BS_HASH_LEN] = { 0 };
	enum bs_err err;

	memset(out, 0, sizeof(*out));
	err = look_at_prefix(fd, mail, out);
	if (err == BS_OK)
		err = look_at_footer(fd, mail, out, digest);
	if (err != BS_OK)
		return err;
	if (out->what == CTL_PLAINTEXT && !out->have_footer) {
		out->damage = NULL;
		return BS_OK;
	}
	out->what = CTL_SEALED;
	if (!out->have_footer) {
		if (out->damage == NULL)
			out->damage = "its footer is missing or damaged: the file was cut off or overwritten";
		return BS_OK;
	}
	err = digest_of(fd, mail->off, mail->len - BS_HASH_LEN, actual);
	if (err == BS_OK && out->damage == NULL && memcmp(digest, actual, BS_HASH_LEN) != 0)
		out->damage = "its bytes do not fit its digest";
	return err;
}

bool
ctl_sealed_to(const struct bs_msg_prefix *prefix, const struct bs_record *record)
{
	return prefix->suite == BS_MSG_SUITE_X25519 && memcmp(prefix->account_id, record->account_id, BS_ID_LEN) == 0 &&
	    memcmp(prefix->key_id, record->key_id, BS_ID_LEN) == 0;
}

static bool
parse_chunk_head(const uint8_t head[CHUNK_HEAD_LEN], struct ctl_chunk *out)
{
	struct bs_rd rd = bs_rd_init(head, CHUNK_HEAD_LEN);
	uint8_t flags;

	out->kind = bs_rd_u8(&rd);
	flags = bs_rd_u8(&rd);
	out->plain_len = bs_rd_u24(&rd);
	out->stored_len = bs_rd_u24(&rd);
	out->final = (flags & CHUNK_FLAG_FINAL) != 0;
	out->compressed = (flags & CHUNK_FLAGS_COMPRESSED) != 0;
	return bs_rd_done(&rd) && (out->kind == CHUNK_KIND_HEADER || out->kind == CHUNK_KIND_BODY) &&
	       out->stored_len <= BS_MSG_CHUNK_LEN && out->plain_len <= BS_MSG_CHUNK_LEN;
}

enum bs_err
ctl_sealed_chunks(int fd, const struct ctl_mail *mail, const struct ctl_look *look, ctl_chunk_fn fn, void *ctx)
{
	uint64_t off = look->prefix.len;

	while (off < look->trailer_off) {
		uint8_t head[CHUNK_HEAD_LEN];
		struct ctl_chunk chunk;
		size_t got;
		enum bs_err err = ctl_pread(fd, mail->off + off, head, sizeof(head), &got);

		if (err != BS_OK)
			return err;
		if (got < sizeof(head) || !parse_chunk_head(head, &chunk))
			return BS_ERR_FORMAT;
		chunk.off = off;
		err = fn(ctx, &chunk);
		if (err != BS_OK)
			return err;
		off += CHUNK_HEAD_LEN + chunk.stored_len + BS_TAG_LEN;
	}
	return off == look->trailer_off ? BS_OK : BS_ERR_FORMAT;
}
