#include "mailtext.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_WAIT_US 100000
#define BUSY_TRIES 300 /* keyd lets an account open so many messages a second, and its clients come first */

enum bs_err
mailtext_read(int fd, uint64_t off, void *out, size_t len)
{
	size_t got;
	enum bs_err err = ctl_pread(fd, off, out, len, &got);

	return err == BS_OK && got < len ? BS_ERR_SHORT : err;
}

/* --- where it is, and what opens it --- */

/* ctl_mail_fn: a file of one message. */
static enum bs_err
take_only(void *ctx, const struct ctl_mail *mail)
{
	struct mailtext *m = ctx;

	if (m->mail.len != 0)
		return BS_ERR_ARG;
	m->mail = *mail;
	return mail->len == 0 ? BS_ERR_SHORT : BS_OK;
}

static enum bs_err
read_prefix(struct mailtext *m)
{
	size_t want = m->mail.len < sizeof(m->bytes) ? (size_t)m->mail.len : sizeof(m->bytes), got;
	enum bs_err err = ctl_pread(m->fd, m->mail.off, m->bytes, want, &got);

	memset(&m->prefix, 0, sizeof(m->prefix));
	if (err != BS_OK || !bs_msg_is_sealed(m->bytes, got))
		return err;
	return bs_msg_prefix_parse(m->bytes, got, &m->prefix);
}

enum bs_err
mailtext_find(struct mailtext *m, int fd)
{
	uint64_t bad_off;
	struct stat st;
	enum bs_err err;

	if (fstat(fd, &st) < 0)
		return BS_ERR_IO;
	if (!S_ISREG(st.st_mode))
		return BS_ERR_FORMAT;
	m->fd = fd;
	m->file_size = (uint64_t)st.st_size;
	m->mail = (struct ctl_mail){ 0 };
	err = ctl_mailfile_each(fd, m->file_size, take_only, m, &bad_off);
	if (err == BS_OK && m->mail.len == 0)
		err = BS_ERR_SHORT;
	return err == BS_OK ? read_prefix(m) : err;
}

enum bs_err
mailtext_open(struct mailtext *m, const char *path)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	enum bs_err err;

	if (fd < 0)
		return errno == ENOENT ? BS_ERR_CONFLICT : BS_ERR_IO;
	err = mailtext_find(m, fd);
	m->fd = fd;
	if (err != BS_OK)
		mailtext_close(m);
	return err;
}

void
mailtext_close(struct mailtext *m)
{
	int saved = errno;

	(void)close(m->fd);
	m->fd = -1;
	errno = saved;
}

enum bs_err
mailtext_key(struct bs_keyclient *session, const struct bs_msg_prefix *prefix, uint8_t data_key[BS_KEY_LEN])
{
	enum bs_err err, status = BS_ERR_BUSY;

	for (unsigned i = 0; i < BUSY_TRIES; i++) {
		err = bs_keyclient_unwrap(session, prefix, 1, &status, (uint8_t(*)[BS_KEY_LEN])data_key);
		if (err != BS_ERR_BUSY)
			return err == BS_OK ? status : err;
		usleep(BUSY_WAIT_US);
	}
	return BS_ERR_BUSY;
}

/* --- the text --- */

static enum bs_err
open_reader(const struct mailtext *m, const uint8_t *data_key, struct bs_msg_reader **out)
{
	uint8_t footer[BS_MSG_FOOTER_LEN], *trailer;
	uint64_t off;
	uint32_t len;
	enum bs_err err = bs_msg_reader_new(&m->prefix, data_key, out);

	if (err == BS_OK && m->mail.len < sizeof(footer))
		err = BS_ERR_SHORT;
	if (err == BS_OK)
		err = mailtext_read(m->fd, m->mail.off + m->mail.len - sizeof(footer), footer, sizeof(footer));
	if (err == BS_OK)
		err = bs_msg_reader_footer(*out, m->mail.len, footer, &off, &len);
	if (err != BS_OK)
		return err;
	trailer = malloc(len);
	err = trailer == NULL ? BS_ERR_NOMEM : mailtext_read(m->fd, m->mail.off + off, trailer, len);
	if (err == BS_OK)
		err = bs_msg_reader_trailer(*out, trailer, len);
	free(trailer);
	return err;
}

static enum bs_err
each_chunk(const struct mailtext *m, struct bs_msg_reader *rd, uint8_t *stored, uint8_t *plain, mailtext_fn fn, void *ctx)
{
	enum bs_err err = BS_OK;

	for (uint32_t i = 0; err == BS_OK && i < bs_msg_reader_chunk_count(rd); i++) {
		struct bs_msg_span span;

		err = bs_msg_reader_span(rd, i, &span);
		if (err == BS_OK)
			err = mailtext_read(m->fd, m->mail.off + span.file_off, stored, span.file_len);
		if (err == BS_OK)
			err = bs_msg_reader_chunk(rd, &span, stored, span.file_len, plain);
		if (err == BS_OK)
			err = fn(ctx, plain, span.plain_len);
	}
	return err;
}

static enum bs_err
each_of_sealed(const struct mailtext *m, const uint8_t *data_key, uint8_t *plain, mailtext_fn fn, void *ctx)
{
	uint8_t *stored = malloc(BS_MSG_STORED_MAX);
	struct bs_msg_reader *rd = NULL;
	enum bs_err err = stored == NULL ? BS_ERR_NOMEM : open_reader(m, data_key, &rd);

	if (err == BS_OK)
		err = each_chunk(m, rd, stored, plain, fn, ctx);
	bs_msg_reader_free(rd);
	free(stored);
	return err;
}

static enum bs_err
each_as_it_lies(const struct mailtext *m, uint8_t *plain, mailtext_fn fn, void *ctx)
{
	uint64_t left = m->mail.len;
	enum bs_err err = BS_OK;

	while (err == BS_OK && left > 0) {
		size_t n = left < BS_MSG_CHUNK_LEN ? (size_t)left : BS_MSG_CHUNK_LEN;

		err = mailtext_read(m->fd, m->mail.off + m->mail.len - left, plain, n);
		if (err == BS_OK)
			err = fn(ctx, plain, n);
		left -= n;
	}
	return err;
}

enum bs_err
mailtext_each(const struct mailtext *m, const uint8_t *data_key, mailtext_fn fn, void *ctx)
{
	uint8_t *plain = malloc(BS_MSG_CHUNK_LEN);
	enum bs_err err;

	if (plain == NULL)
		return BS_ERR_NOMEM;
	err = m->prefix.bytes == NULL ? each_as_it_lies(m, plain, fn, ctx) : each_of_sealed(m, data_key, plain, fn, ctx);
	bs_wipe(plain, BS_MSG_CHUNK_LEN);
	free(plain);
	return err;
}

/* mailtext_fn */
static enum bs_err
add_to_hash(void *ctx, const uint8_t *text, size_t len)
{
	bs_sha256_update(ctx, text, len);
	return BS_OK;
}

enum bs_err
mailtext_digest(const struct mailtext *m, const uint8_t *data_key, uint8_t out[BS_HASH_LEN])
{
	struct bs_sha256 *hash = bs_sha256_new();
	enum bs_err err = hash == NULL ? BS_ERR_NOMEM : mailtext_each(m, data_key, add_to_hash, hash);

	if (err == BS_OK)
		bs_sha256_final(hash, out);
	bs_sha256_free(hash);
	return err;
}
