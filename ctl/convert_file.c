#include "convert_file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "dboxmeta.h"
#include "mailtext.h"
#include "sealed.h"

#define CARRY_TEXT "carry the account over by `doveadm backup`, which seals it on the way (KEYS.md)"

/* One file on its way. */
struct job {
	const struct convert *convert;
	const struct mailtext *old;
	uint8_t old_key[BS_KEY_LEN], new_key[BS_KEY_LEN];
	const uint8_t *opens_old, *opens_new; /* these, or NULL where nothing is encrypted */
	struct dboxmeta meta;                 /* of an sdbox file */
	uint64_t text_len;
	struct bs_msg_encoder *enc;           /* or NULL: the text is written as it is */
	int to;
};

/* --- writing --- */

/* bs_msg_emit_fn, mailtext_fn */
static enum bs_err
emit(void *ctx, const uint8_t *data, size_t len)
{
	const struct job *job = ctx;

	return swap_write(job->to, data, len);
}

/* mailtext_fn */
static enum bs_err
take_text(void *ctx, const uint8_t *text, size_t len)
{
	struct job *job = ctx;

	job->text_len += len;
	return job->enc != NULL ? bs_msg_encoder_write(job->enc, text, len) : emit(job, text, len);
}

/* Dovecot's own bytes behind the message, and what they and its header say of it. */
static enum bs_err
write_frame(struct job *job)
{
	off_t end = lseek(job->to, 0, SEEK_CUR);
	enum bs_err err = end < 0 ? BS_ERR_IO : ctl_mailfile_set_len(job->to, &job->old->mail, (uint64_t)end - job->old->mail.off);

	if (err == BS_OK)
		err = dboxmeta_set_text_len(&job->meta, job->enc != NULL ? job->text_len : 0);
	return err == BS_OK ? swap_write(job->to, job->meta.bytes, job->meta.len) : err;
}

/* Of swap_ops. */
static enum bs_err
write_new(void *ctx, int fd)
{
	struct job *job = ctx;
	const struct mailtext *old = job->old;
	enum bs_err err;

	job->to = fd;
	err = swap_copy(old->fd, fd, 0, old->mail.off);
	if (err == BS_OK)
		err = mailtext_each(old, job->opens_old, take_text, job);
	if (err == BS_OK && job->enc != NULL) {
		err = bs_msg_encoder_finish(job->enc);
		bs_msg_encoder_data_key(job->enc, job->new_key);
	}
	return err == BS_OK && old->mail.kind == CTL_MAILFILE_DBOX ? write_frame(job) : err;
}

/* Of swap_ops. The text of the old file is read once more, too. */
static enum bs_err
check_new(void *ctx, int fd)
{
	const struct job *job = ctx;
	uint8_t before[BS_HASH_LEN] = { 0 }, after[BS_HASH_LEN] = { 0 };
	struct mailtext new = { 0 };
	enum bs_err err = mailtext_find(&new, fd);

	if (err == BS_OK && job->opens_new == NULL && new.prefix.bytes != NULL)
		err = BS_ERR_FORMAT; /* a text that looks like one of our files would be taken for one */
	if (err == BS_OK && job->opens_new != NULL && (new.prefix.bytes == NULL || !ctl_sealed_to(&new.prefix, &job->convert->record)))
		err = BS_ERR_INTERNAL;
	if (err == BS_OK)
		err = mailtext_digest(job->old, job->opens_old, before);
	if (err == BS_OK)
		err = mailtext_digest(&new, job->opens_new, after);
	if (err == BS_OK && memcmp(before, after, BS_HASH_LEN) != 0)
		err = BS_ERR_INTERNAL;
	return err;
}

/* --- one file --- */

static enum bs_err
replace(struct job *job, struct swap_file *file)
{
	struct swap_ops ops = { .ctx = job, .write = write_new, .check = check_new };

	return swap_file(job->old->fd, file, &ops);
}

static enum bs_err
read_meta(struct job *job)
{
	const struct mailtext *m = job->old;

	return m->mail.kind == CTL_MAILFILE_DBOX ? dboxmeta_read(m->fd, m->mail.off + m->mail.len, m->file_size, &job->meta) : BS_OK;
}

static bool
begins(const struct mailtext *m, const char *magic, size_t len)
{
	return m->mail.len >= len && memcmp(m->bytes, magic, len) == 0;
}

/* As Dovecot's zlib plugin knows them. */
static bool
is_compressed(const struct mailtext *m)
{
	return begins(m, "\x1f\x8b", 2) || begins(m, "BZh", 3) || begins(m, "\xfd" "7zXZ", 6) || begins(m, "\x28\xb5\x2f\xfd", 4) ||
	    begins(m, "Dovecot-LZ4", 11);
}

/* Is it a message's text as it was sent, and nothing else? */
static enum bs_err
judge_text(const struct job *job, struct swap_file *file)
{
	const struct mailtext *m = job->old;
	struct ctl_look look;
	enum bs_err err = ctl_sealed_look(m->fd, &m->mail, &look);

	if (err != BS_OK)
		return err;
	if (look.what != CTL_PLAINTEXT || look.blank)
		return BS_ERR_FORMAT;
	if (begins(m, "CRYPTED\x03\x07", 9))
		file->left = "it is encrypted by Dovecot's mail_crypt: " CARRY_TEXT;
	else if (is_compressed(m))
		file->left = "it is compressed by Dovecot's zlib plugin: " CARRY_TEXT;
	else if (dboxmeta_has(&job->meta, DBOXMETA_ATTACHMENTS))
		file->left = "its attachments lie in files of their own (mail_attachment_dir): " CARRY_TEXT;
	else if (dboxmeta_has(&job->meta, DBOXMETA_TEXT_LEN))
		file->left = "Dovecot stored it in another form than its text: " CARRY_TEXT;
	return file->left == NULL ? BS_OK : BS_ERR_ARG;
}

static enum bs_err
new_encoder(struct job *job)
{
	const struct bs_record *record = &job->convert->record;
	struct bs_msg_encoder_opts opts = {
		.suite = BS_MSG_SUITE_X25519,
		.compress = (record->flags & BS_RECORD_FLAG_NOCOMPRESS) == 0,
	};

	memcpy(opts.account_id, record->account_id, BS_ID_LEN);
	memcpy(opts.public_key, record->public_key, BS_KEY_LEN);
	return bs_msg_encoder_new(&opts, emit, job, &job->enc);
}

static enum bs_err
seal(struct job *job, struct swap_file *file)
{
	const struct bs_msg_prefix *prefix = &job->old->prefix;
	enum bs_err err;

	if (prefix->bytes != NULL && prefix->suite != BS_MSG_SUITE_PLAIN)
		return BS_OK;
	if (prefix->bytes != NULL && memcmp(prefix->account_id, job->convert->record.account_id, BS_ID_LEN) != 0)
		return BS_ERR_ACCOUNT;
	err = read_meta(job);
	if (err == BS_OK && prefix->bytes == NULL)
		err = judge_text(job, file);
	if (err == BS_OK)
		err = new_encoder(job);
	job->opens_new = job->new_key;
	return err == BS_OK ? replace(job, file) : err;
}

/* A mail comes back as its text, whether it was sealed from that or from suite 0. */
static enum bs_err
open_text(struct job *job, struct swap_file *file)
{
	const struct bs_msg_prefix *prefix = &job->old->prefix;
	enum bs_err err;

	if (prefix->bytes == NULL || prefix->suite == BS_MSG_SUITE_PLAIN)
		return BS_OK;
	if (memcmp(prefix->account_id, job->convert->record.account_id, BS_ID_LEN) != 0)
		return BS_ERR_ACCOUNT;
	err = read_meta(job);
	if (err == BS_OK)
		err = mailtext_key(job->convert->session, prefix, job->old_key);
	job->opens_old = job->old_key;
	return err == BS_OK ? replace(job, file) : err;
}

static enum bs_err
take(struct convert *convert, struct swap_file *file, enum bs_err (*fn)(struct job *job, struct swap_file *file))
{
	struct mailtext old;
	struct job job = { .convert = convert, .old = &old };
	enum bs_err err = mailtext_open(&old, file->path);
	int saved;

	if (err != BS_OK)
		return err;
	err = fn(&job, file);
	saved = errno;
	bs_msg_encoder_free(job.enc);
	dboxmeta_clear(&job.meta);
	bs_wipe(job.old_key, sizeof(job.old_key));
	bs_wipe(job.new_key, sizeof(job.new_key));
	mailtext_close(&old);
	errno = saved;
	return err;
}

enum bs_err
convert_seal(struct convert *convert, struct swap_file *file)
{
	return take(convert, file, seal);
}

enum bs_err
convert_open(struct convert *convert, struct swap_file *file)
{
	return take(convert, file, open_text);
}
