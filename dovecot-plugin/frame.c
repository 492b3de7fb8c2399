#include "compat.h"

#include <dbox-file.h>
#include <dbox-mail.h>
#include <dbox-storage.h>
#include <guid.h>
#include <hex-binary.h>
#include <istream.h>
#include <mailbox-list.h>
#include <sdbox-file.h>
#include <sdbox-storage.h>
#include <str.h>

#include <sys/stat.h>
#include <unistd.h>

#include "frame.h"
#include "layer.h"
#include "unreadable.h"

struct frame_mail {
	union mail_module_context module_ctx;
};

static MODULE_CONTEXT_DEFINE_INIT(frame_mail_module, &mail_module_register);
#define HEAD_LEN 64 /* of a prefix: magic, ids */
#define FRAME_MAIL(obj) MODULE_CONTEXT_REQUIRE(obj, frame_mail_module)

/* Which of Dovecot's functions we stand before. */
static const struct mail_vfuncs *
super_of(struct mail *mail)
{
	struct frame_mail *fm = FRAME_MAIL(private_of(mail));

	return &fm->module_ctx.super;
}

enum frame {
	FRAME_WHOLE,
	FRAME_LOST,    /* the message, or some of it, is there, but nothing behind it */
	FRAME_NO_FILE, /* the file can't be opened, for good; the error is set */
	FRAME_FAULT,   /* reported; it may pass, or Dovecot repairs it */
};

static bool
is_sdbox(const struct mail *mail)
{
	return strcmp(mail->box->storage->name, "sdbox") == 0;
}

static enum frame
why_not_opened(struct mail *mail, struct dbox_file *file)
{
	if (basalt_unreadable_file(mail))
		return FRAME_NO_FILE;
	/* Half open: Dovecot would take it for open when asked again, and fail an assertion. */
	if (file != NULL && dbox_file_is_open(file))
		dbox_file_close(file);
	return FRAME_FAULT;
}

/* Where the message begins. *file_r may be NULL. */
static enum frame
look_at_head(struct mail *mail, struct dbox_file **file_r)
{
	struct dbox_storage *storage = DBOX_STORAGE(mail->box->storage);
	struct dbox_mail *dmail = DBOX_MAIL(mail);
	uoff_t offset;

	if (is_sdbox(mail) && basalt_unreadable_known(mail)) {
		if (dmail->open_file == NULL)
			dmail->open_file = sdbox_file_init(SDBOX_MAILBOX(mail->box), mail->uid);
		*file_r = dmail->open_file;
		return FRAME_NO_FILE;
	}
	if (storage->v.mail_open(dmail, &offset, file_r) < 0) {
		*file_r = dmail->open_file;
		return why_not_opened(mail, *file_r);
	}
	return dbox_file_seek(*file_r, offset) <= 0 ? FRAME_FAULT : FRAME_WHOLE;
}

/* And where it ends. */
static enum frame
look(struct mail *mail, struct dbox_file **file_r)
{
	enum frame state = look_at_head(mail, file_r);
	char magic[sizeof(DBOX_MAGIC_POST) - 1];
	struct dbox_file *file = *file_r;
	uoff_t end;
	ssize_t n;

	if (state != FRAME_WHOLE)
		return state;
	end = file->cur_offset + file->msg_header_size + file->cur_physical_size;
	n = pread(file->fd, magic, sizeof(magic), (off_t)end);
	if (n < 0) {
		(void)basalt_unreadable(mail, user_of(mail), NULL, file->cur_path, BS_ERR_IO);
		return FRAME_FAULT;
	}
	if (n == (ssize_t)sizeof(magic) && memcmp(magic, DBOX_MAGIC_POST, sizeof(magic)) == 0)
		return FRAME_WHOLE;
	return FRAME_LOST;
}

/* Of whatever stands there; Dovecot's own would follow a link, and complain. */
static int
stat_file(const struct dbox_file *file, struct stat *st)
{
	if (file == NULL)
		return -1;
	return dbox_file_is_open(file) ? fstat(file->fd, st) : lstat(file->cur_path, st);
}

static int
date_of_file(struct dbox_file *file, time_t *date_r)
{
	struct stat st;

	if (stat_file(file, &st) < 0)
		return -1;
	*date_r = st.st_mtime;
	return 0;
}

/* Bytes of the message that are there, out of those that its header promises. */
static int
size_on_disk(struct dbox_file *file, uoff_t *size_r)
{
	struct stat st;
	uoff_t start;

	if (stat_file(file, &st) < 0)
		return -1;
	start = file->cur_offset == UOFF_T_MAX ? 0 : file->cur_offset + file->msg_header_size;
	*size_r = (uoff_t)st.st_size > start ? (uoff_t)st.st_size - start : 0;
	if (file->cur_offset != UOFF_T_MAX)
		*size_r = I_MIN(*size_r, file->cur_physical_size);
	return 0;
}

static int
frame_get_received_date(struct mail *mail, time_t *date_r)
{
	struct index_mail *imail = INDEX_MAIL(mail);
	struct dbox_file *file;
	enum frame state;

	if (mail->saving || index_mail_get_received_date(mail, date_r) == 0 || (state = look(mail, &file)) == FRAME_WHOLE)
		return super_of(mail)->get_received_date(mail, date_r);
	if (state == FRAME_FAULT || mail->expunged || date_of_file(file, date_r) < 0)
		return -1;
	imail->data.received_date = *date_r;
	return 0;
}

/* The trailer's sizes, if the mail opens; it primes them. */
static int
size_in_trailer(struct mail *mail, const uoff_t *primed, uoff_t *size_r)
{
	struct istream *input;

	if (mail_get_hdr_stream(mail, NULL, &input) < 0 || *primed == UOFF_T_MAX)
		return -1;
	*size_r = *primed;
	return 0;
}

static int
frame_size(struct mail *mail, uoff_t *primed, enum frame state, struct dbox_file *file, uoff_t *size_r)
{
	if (mail->expunged || state == FRAME_FAULT)
		return -1;
	if (state == FRAME_LOST && size_in_trailer(mail, primed, size_r) == 0)
		return 0;
	if (size_on_disk(file, size_r) < 0)
		return -1;
	*primed = *size_r;
	return 0;
}

static int
frame_get_virtual_size(struct mail *mail, uoff_t *size_r)
{
	struct index_mail *imail = INDEX_MAIL(mail);
	struct dbox_file *file;
	enum frame state;

	if (mail->saving || mail->lookup_abort != MAIL_LOOKUP_ABORT_NEVER ||
	    index_mail_get_cached_virtual_size(imail, size_r) || (state = look(mail, &file)) == FRAME_WHOLE)
		return super_of(mail)->get_virtual_size(mail, size_r);
	return frame_size(mail, &imail->data.virtual_size, state, file, size_r);
}

static int
frame_get_physical_size(struct mail *mail, uoff_t *size_r)
{
	struct index_mail *imail = INDEX_MAIL(mail);
	struct dbox_file *file;
	enum frame state;

	if (mail->saving || mail->lookup_abort != MAIL_LOOKUP_ABORT_NEVER || index_mail_get_physical_size(mail, size_r) == 0 ||
	    (state = look(mail, &file)) == FRAME_WHOLE)
		return super_of(mail)->get_physical_size(mail, size_r);
	return frame_size(mail, &imail->data.physical_size, state, file, size_r);
}

/*
 * In the place of the GUID that was lost: the same each time, and for all hard links of the file, so that dsync carries the
 * mail. What is left of the beginning has the message id of a sealed mail in it; of less than that the place is part.
 */
static const char *
guid_of_rest(struct mail *mail, const struct dbox_file *file)
{
	uint8_t head[HEAD_LEN], digest[BS_HASH_LEN];
	ssize_t n = pread(file->fd, head, sizeof(head), (off_t)(file->cur_offset + file->msg_header_size));
	buffer_t *text = t_buffer_create(256);

	if (n > 0)
		buffer_append(text, head, (size_t)n);
	if (n < (ssize_t)sizeof(head))
		str_printfa(text, "%s %u", mailbox_get_path(mail->box), mail->uid);
	bs_sha256(text->data, text->used, digest);
	return binary_to_hex(digest, GUID_128_SIZE);
}

/* Without having Dovecot rebuild the mailbox. */
static int
frame_get_special(struct mail *mail, enum mail_fetch_field field, const char **value_r)
{
	struct index_mail *imail = INDEX_MAIL(mail);
	struct dbox_file *file;
	enum frame state = FRAME_WHOLE;

	if (field == MAIL_FETCH_GUID && !mail->saving)
		state = look(mail, &file);
	if (state == FRAME_WHOLE)
		return super_of(mail)->get_special(mail, field, value_r);
	if (state != FRAME_LOST)
		return -1;
	*value_r = p_strdup(imail->mail.data_pool, guid_of_rest(mail, file));
	return 0;
}

static int
frame_get_stream(struct mail *mail, bool get_body, struct message_size *hdr_size, struct message_size *body_size,
    struct istream **stream_r)
{
	struct index_mail *imail = INDEX_MAIL(mail);
	struct dbox_file *file;

	if (imail->data.stream == NULL && !mail->saving && look_at_head(mail, &file) != FRAME_WHOLE)
		return -1;
	return super_of(mail)->get_stream(mail, get_body, hdr_size, body_size, stream_r);
}

void
basalt_frame_mail_allocated(struct mail *mail)
{
	struct mail_private *pmail = private_of(mail);
	struct mail_vfuncs *v = pmail->vlast;
	struct frame_mail *fm;

	if (user_of(mail) == NULL ||
	    (!is_sdbox(mail) && strcmp(mail->box->storage->name, "mdbox") != 0))
		return;
	fm = p_new(pmail->pool, struct frame_mail, 1);
	fm->module_ctx.super = *v;
	pmail->vlast = &fm->module_ctx.super;
	v->get_stream = frame_get_stream;
	v->get_received_date = frame_get_received_date;
	v->get_virtual_size = frame_get_virtual_size;
	v->get_physical_size = frame_get_physical_size;
	v->get_special = frame_get_special;
	MODULE_CONTEXT_SET(pmail, frame_mail_module, fm);
}
