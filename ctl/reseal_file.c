#include "reseal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "mailfile.h"
#include "msgfmt_reseal.h"

#define COPY_LEN (64u * 1024)
#define BUSY_WAIT_US 100000
#define BUSY_TRIES 300 /* keyd lets an account open so many messages a second, and its clients come first */

/* A message in an open file, and what opens it. */
struct message {
	int fd;
	struct ctl_mail mail;
	uint8_t bytes[BS_MSG_PREFIX_MAX];
	struct bs_msg_prefix prefix; /* leads into bytes */
};

/* --- reading --- */

static enum bs_err
read_exactly(int fd, uint64_t off, void *out, size_t len)
{
	size_t got;
	enum bs_err err = ctl_pread(fd, off, out, len, &got);

	return err == BS_OK && got < len ? BS_ERR_SHORT : err;
}

/* BS_OK also for what is not sealed: then prefix.bytes is NULL. */
static enum bs_err
read_prefix(struct message *m)
{
	size_t want = m->mail.len < sizeof(m->bytes) ? (size_t)m->mail.len : sizeof(m->bytes), got;
	enum bs_err err = ctl_pread(m->fd, m->mail.off, m->bytes, want, &got);

	memset(&m->prefix, 0, sizeof(m->prefix));
	if (err != BS_OK || !bs_msg_is_sealed(m->bytes, got))
		return err;
	return bs_msg_prefix_parse(m->bytes, got, &m->prefix);
}

static enum bs_err
unwrap(struct reseal *r, const struct bs_msg_prefix *prefix, uint8_t data_key[BS_KEY_LEN])
{
	enum bs_err err, status = BS_ERR_BUSY;

	for (unsigned i = 0; i < BUSY_TRIES; i++) {
		err = bs_keyclient_unwrap(r->session, prefix, 1, &status, (uint8_t(*)[BS_KEY_LEN])data_key);
		if (err != BS_ERR_BUSY)
			return err == BS_OK ? status : err;
		usleep(BUSY_WAIT_US);
	}
	return BS_ERR_BUSY;
}

static enum bs_err
open_reader(const struct message *m, const uint8_t data_key[BS_KEY_LEN], struct bs_msg_reader **out)
{
	uint8_t footer[BS_MSG_FOOTER_LEN], *trailer;
	uint64_t off;
	uint32_t len;
	enum bs_err err = bs_msg_reader_new(&m->prefix, data_key, out);

	if (err == BS_OK && m->mail.len < sizeof(footer))
		err = BS_ERR_SHORT;
	if (err == BS_OK)
		err = read_exactly(m->fd, m->mail.off + m->mail.len - sizeof(footer), footer, sizeof(footer));
	if (err == BS_OK)
		err = bs_msg_reader_footer(*out, m->mail.len, footer, &off, &len);
	if (err != BS_OK)
		return err;
	trailer = malloc(len);
	err = trailer == NULL ? BS_ERR_NOMEM : read_exactly(m->fd, m->mail.off + off, trailer, len);
	if (err == BS_OK)
		err = bs_msg_reader_trailer(*out, trailer, len);
	free(trailer);
	return err;
}

static enum bs_err
hash_chunks(const struct message *m, struct bs_msg_reader *rd, uint8_t *stored, uint8_t *plain, struct bs_sha256 *hash)
{
	enum bs_err err = BS_OK;

	for (uint32_t i = 0; err == BS_OK && i < bs_msg_reader_chunk_count(rd); i++) {
		struct bs_msg_span span;

		err = bs_msg_reader_span(rd, i, &span);
		if (err == BS_OK)
			err = read_exactly(m->fd, m->mail.off + span.file_off, stored, span.file_len);
		if (err == BS_OK)
			err = bs_msg_reader_chunk(rd, &span, stored, span.file_len, plain);
		if (err == BS_OK)
			bs_sha256_update(hash, plain, span.plain_len);
	}
	return err;
}

/* Reads all of a message as a mail reader does, and says what its text was. */
static enum bs_err
digest_of_text(const struct message *m, const uint8_t data_key[BS_KEY_LEN], uint8_t out[BS_HASH_LEN])
{
	uint8_t *stored = malloc(BS_MSG_STORED_MAX), *plain = malloc(BS_MSG_CHUNK_LEN);
	struct bs_sha256 *hash = bs_sha256_new();
	struct bs_msg_reader *rd = NULL;
	enum bs_err err = stored == NULL || plain == NULL || hash == NULL ? BS_ERR_NOMEM : open_reader(m, data_key, &rd);

	if (err == BS_OK)
		err = hash_chunks(m, rd, stored, plain, hash);
	if (err == BS_OK)
		bs_sha256_final(hash, out);
	if (plain != NULL)
		bs_wipe(plain, BS_MSG_CHUNK_LEN);
	bs_msg_reader_free(rd);
	bs_sha256_free(hash);
	free(plain);
	free(stored);
	return err;
}

/* --- writing --- */

static enum bs_err
write_all(int fd, const void *data, size_t len)
{
	return ctl_write_all(fd, data, len) ? BS_OK : BS_ERR_IO;
}

/* Dovecot's own bytes before and behind the message. */
static enum bs_err
copy_range(int from, int to, uint64_t off, uint64_t end)
{
	uint8_t block[COPY_LEN];
	enum bs_err err = BS_OK;

	while (err == BS_OK && off < end) {
		size_t n = end - off < sizeof(block) ? (size_t)(end - off) : sizeof(block);

		err = read_exactly(from, off, block, n);
		if (err == BS_OK)
			err = write_all(to, block, n);
		off += n;
	}
	return err;
}

/* Reads the frame at off, of at most left bytes, into *frame, which grows. */
static enum bs_err
read_frame(const struct message *m, uint64_t off, uint64_t left, uint8_t **frame, size_t *size, size_t *len)
{
	uint8_t head[BS_MSG_RESEAL_HEAD_LEN], *more;
	enum bs_err err = left < sizeof(head) ? BS_ERR_FORMAT : read_exactly(m->fd, m->mail.off + off, head, sizeof(head));

	if (err != BS_OK)
		return err;
	*len = bs_msg_reseal_frame_len(head);
	if (*len == 0 || *len > left)
		return BS_ERR_FORMAT;
	if (*len > *size) {
		more = realloc(*frame, *len);
		if (more == NULL)
			return BS_ERR_NOMEM;
		*frame = more;
		*size = *len;
	}
	return read_exactly(m->fd, m->mail.off + off, *frame, *len);
}

static enum bs_err
write_frames(const struct message *m, struct bs_msg_reseal *rs, int to)
{
	uint64_t end = m->mail.len - BS_MSG_FOOTER_LEN, off = m->prefix.len;
	uint8_t *frame = NULL;
	size_t size = 0, len = 0;
	enum bs_err err = BS_OK;

	while (err == BS_OK && off < end) {
		err = read_frame(m, off, end - off, &frame, &size, &len);
		if (err == BS_OK)
			err = bs_msg_reseal_frame(rs, frame, len);
		if (err == BS_OK)
			err = write_all(to, frame, len);
		off += len;
	}
	free(frame);
	return err;
}

static enum bs_err
write_message(const struct reseal *r, const struct message *m, const uint8_t data_key[BS_KEY_LEN], int to)
{
	uint8_t footer[BS_MSG_FOOTER_LEN];
	struct bs_msg_reseal *rs = NULL;
	enum bs_err err = bs_msg_reseal_new(&m->prefix, data_key, r->public_key, &rs);

	if (err == BS_OK)
		err = write_all(to, bs_msg_reseal_prefix(rs), m->prefix.len);
	if (err == BS_OK)
		err = write_frames(m, rs, to);
	if (err == BS_OK)
		err = read_exactly(m->fd, m->mail.off + m->mail.len - sizeof(footer), footer, sizeof(footer));
	if (err == BS_OK) {
		bs_msg_reseal_footer(rs, footer);
		err = write_all(to, footer, sizeof(footer));
	}
	bs_msg_reseal_free(rs);
	return err;
}

/* --- one file --- */

/* By the key that keyd gives for the new prefix, so that its recipient is proved, too. */
static enum bs_err
verify(struct reseal *r, const struct message *old, int fd, const uint8_t data_key[BS_KEY_LEN])
{
	struct message new = { .fd = fd, .mail = old->mail };
	uint8_t key[BS_KEY_LEN], before[BS_HASH_LEN], after[BS_HASH_LEN];
	enum bs_err err = read_prefix(&new);

	if (err == BS_OK)
		err = new.prefix.bytes == NULL ? BS_ERR_FORMAT : unwrap(r, &new.prefix, key);
	if (err == BS_OK && (memcmp(new.prefix.key_id, r->key_id, BS_ID_LEN) != 0 || !bs_equal(key, data_key, BS_KEY_LEN)))
		err = BS_ERR_INTERNAL;
	if (err == BS_OK)
		err = digest_of_text(old, data_key, before);
	if (err == BS_OK)
		err = digest_of_text(&new, key, after);
	if (err == BS_OK && memcmp(before, after, BS_HASH_LEN) != 0)
		err = BS_ERR_INTERNAL;
	bs_wipe(key, sizeof(key));
	return err;
}

static enum bs_err
write_file(struct reseal *r, const struct message *m, const struct stat *st, const uint8_t data_key[BS_KEY_LEN], int to)
{
	struct timespec times[2] = { st->st_atim, st->st_mtim };
	uint64_t size = (uint64_t)st->st_size;
	enum bs_err err = copy_range(m->fd, to, 0, m->mail.off);

	if (err == BS_OK)
		err = write_message(r, m, data_key, to);
	if (err == BS_OK)
		err = copy_range(m->fd, to, m->mail.off + m->mail.len, size);
	if (err != BS_OK)
		return err;
	if (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0 || futimens(to, times) < 0 || fsync(to) < 0)
		return BS_ERR_IO;
	return verify(r, m, to, data_key);
}

static enum bs_err
replace(struct reseal *r, const struct message *m, const char *path, const char *temp, const uint8_t data_key[BS_KEY_LEN])
{
	struct stat st;
	int fd, saved;
	enum bs_err err;

	if (fstat(m->fd, &st) < 0)
		return BS_ERR_IO;
	fd = open(temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return BS_ERR_IO;
	err = write_file(r, m, &st, data_key, fd);
	if (err == BS_OK)
		err = reseal_temp_exchange(fd, temp, path, &st, r->stranded);
	saved = errno;
	(void)unlink(temp); /* unless it has its second name by now */
	(void)close(fd);
	errno = saved;
	return err;
}

/* ctl_mail_fn: a file of one message. */
static enum bs_err
take_only(void *ctx, const struct ctl_mail *mail)
{
	struct message *m = ctx;

	if (m->mail.len != 0)
		return BS_ERR_ARG;
	m->mail = *mail;
	return mail->len == 0 ? BS_ERR_SHORT : BS_OK;
}

static enum bs_err
reseal_open(struct reseal *r, struct message *m, const char *path, const char *temp, enum reseal_done *done)
{
	uint8_t data_key[BS_KEY_LEN];
	uint64_t bad_off;
	struct stat st;
	enum bs_err err;

	if (fstat(m->fd, &st) < 0)
		return BS_ERR_IO;
	err = S_ISREG(st.st_mode) ? ctl_mailfile_each(m->fd, (uint64_t)st.st_size, take_only, m, &bad_off) : BS_ERR_FORMAT;
	if (err == BS_OK && m->mail.len == 0)
		err = BS_ERR_SHORT;
	if (err == BS_OK)
		err = read_prefix(m);
	*done = RESEAL_NOTHING;
	if (err != BS_OK || m->prefix.bytes == NULL || m->prefix.suite == BS_MSG_SUITE_PLAIN ||
	    memcmp(m->prefix.key_id, r->key_id, BS_ID_LEN) == 0)
		return err;
	if (memcmp(m->prefix.account_id, r->account_id, BS_ID_LEN) != 0)
		return BS_ERR_ACCOUNT;
	err = unwrap(r, &m->prefix, data_key);
	if (err == BS_OK)
		err = replace(r, m, path, temp, data_key);
	if (err == BS_OK)
		*done = RESEAL_MOVED;
	bs_wipe(data_key, sizeof(data_key));
	return err;
}

enum bs_err
reseal_file(struct reseal *reseal, const char *path, const char *temp, enum reseal_done *done)
{
	struct message m = { .fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) };
	enum bs_err err;
	int saved;

	reseal->stranded[0] = '\0';
	if (m.fd < 0)
		return errno == ENOENT ? BS_ERR_CONFLICT : BS_ERR_IO;
	err = reseal_open(reseal, &m, path, temp, done);
	saved = errno;
	(void)close(m.fd);
	errno = saved;
	return err;
}
