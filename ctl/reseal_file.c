#include "reseal_file.h"

#include <stdlib.h>
#include <string.h>

#include "mailtext.h"
#include "msgfmt_reseal.h"

/* One file on its way. */
struct job {
	struct reseal *reseal;
	const struct mailtext *old;
	uint8_t data_key[BS_KEY_LEN];
};

/* --- writing --- */

/* Reads the frame at off, of at most left bytes, into *frame, which grows. */
static enum bs_err
read_frame(const struct mailtext *m, uint64_t off, uint64_t left, uint8_t **frame, size_t *size, size_t *len)
{
	uint8_t head[BS_MSG_RESEAL_HEAD_LEN], *more;
	enum bs_err err = left < sizeof(head) ? BS_ERR_FORMAT : mailtext_read(m->fd, m->mail.off + off, head, sizeof(head));

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
	return mailtext_read(m->fd, m->mail.off + off, *frame, *len);
}

static enum bs_err
write_frames(const struct mailtext *m, struct bs_msg_reseal *rs, int to)
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
			err = swap_write(to, frame, len);
		off += len;
	}
	free(frame);
	return err;
}

static enum bs_err
write_message(const struct job *job, int to)
{
	const struct mailtext *m = job->old;
	uint8_t footer[BS_MSG_FOOTER_LEN];
	struct bs_msg_reseal *rs = NULL;
	enum bs_err err = bs_msg_reseal_new(&m->prefix, job->data_key, job->reseal->record.public_key, &rs);

	if (err == BS_OK)
		err = swap_write(to, bs_msg_reseal_prefix(rs), m->prefix.len);
	if (err == BS_OK)
		err = write_frames(m, rs, to);
	if (err == BS_OK)
		err = mailtext_read(m->fd, m->mail.off + m->mail.len - sizeof(footer), footer, sizeof(footer));
	if (err == BS_OK) {
		bs_msg_reseal_footer(rs, footer);
		err = swap_write(to, footer, sizeof(footer));
	}
	bs_msg_reseal_free(rs);
	return err;
}

/* Of swap_ops. Dovecot's own bytes before and behind the message stay. */
static enum bs_err
write_new(void *ctx, int to)
{
	const struct job *job = ctx;
	const struct mailtext *m = job->old;
	enum bs_err err = swap_copy(m->fd, to, 0, m->mail.off);

	if (err == BS_OK)
		err = write_message(job, to);
	return err == BS_OK ? swap_copy(m->fd, to, m->mail.off + m->mail.len, m->file_size) : err;
}

/* Of swap_ops. By the key that keyd gives for the new prefix, so that its recipient is proved, too. */
static enum bs_err
check_new(void *ctx, int fd)
{
	const struct job *job = ctx;
	struct reseal *r = job->reseal;
	struct mailtext new;
	uint8_t key[BS_KEY_LEN], before[BS_HASH_LEN], after[BS_HASH_LEN];
	enum bs_err err = mailtext_find(&new, fd);

	if (err == BS_OK)
		err = new.prefix.bytes == NULL ? BS_ERR_FORMAT : mailtext_key(r->session, &new.prefix, key);
	if (err == BS_OK && (memcmp(new.prefix.key_id, r->record.key_id, BS_ID_LEN) != 0 || !bs_equal(key, job->data_key, BS_KEY_LEN)))
		err = BS_ERR_INTERNAL;
	if (err == BS_OK)
		err = mailtext_digest(job->old, job->data_key, before);
	if (err == BS_OK)
		err = mailtext_digest(&new, key, after);
	if (err == BS_OK && memcmp(before, after, BS_HASH_LEN) != 0)
		err = BS_ERR_INTERNAL;
	bs_wipe(key, sizeof(key));
	return err;
}

/* --- one file --- */

static enum bs_err
reseal_open(struct reseal *r, const struct mailtext *m, struct swap_file *file)
{
	struct job job = { .reseal = r, .old = m };
	struct swap_ops ops = { .ctx = &job, .write = write_new, .check = check_new };
	enum bs_err err;

	if (m->prefix.bytes == NULL || m->prefix.suite == BS_MSG_SUITE_PLAIN || memcmp(m->prefix.key_id, r->record.key_id, BS_ID_LEN) == 0)
		return BS_OK;
	if (memcmp(m->prefix.account_id, r->record.account_id, BS_ID_LEN) != 0)
		return BS_ERR_ACCOUNT;
	err = mailtext_key(r->session, &m->prefix, job.data_key);
	if (err == BS_OK)
		err = swap_file(m->fd, file, &ops);
	bs_wipe(job.data_key, sizeof(job.data_key));
	return err;
}

enum bs_err
reseal_file(struct reseal *reseal, struct swap_file *file)
{
	struct mailtext m;
	enum bs_err err = mailtext_open(&m, file->path);

	if (err != BS_OK)
		return err;
	err = reseal_open(reseal, &m, file);
	mailtext_close(&m);
	return err;
}
