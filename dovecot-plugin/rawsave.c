/*
 * The receiving half of rawsync. Dovecot's storages take a mail's sizes from what passes through their input: they are
 * given a stand-in, as many blanks as the plaintext has bytes, which a sink swallows, while the sealed bytes go into the file.
 */
#include "compat.h"

#include <istream-private.h>
#include <mail-storage-private.h>
#include <ostream-private.h>

#include "carrier.h"
#include "plugin.h"
#include "rawsync.h"
#include "record.h"

struct rawsave {
	struct mail_save_context *ctx;
	struct bs_carrier head;
	struct bs_passing *pass;
	struct istream *input; /* the carrier; what dsync reads from */
	struct istream *standin;
	struct ostream *file;  /* what the storage writes to */
};

struct rawsave_mailbox {
	union mailbox_module_context module_ctx;
	struct rawsave *save; /* one mail at a time */
	struct mail_storage_settings set;
};

static MODULE_CONTEXT_DEFINE_INIT(rawsave_module, &mail_storage_module_register);
#define RAWSAVE_MAILBOX(obj) MODULE_CONTEXT_REQUIRE(obj, rawsave_module)

/* --- the stand-in --- */

struct standin {
	struct istream_private istream;
	uint64_t len;
};

/* An empty header, and a body that nobody looks at. */
static ssize_t
standin_read(struct istream_private *stream)
{
	struct standin *si = container_of(stream, struct standin, istream);
	uint64_t at = stream->istream.v_offset + (stream->pos - stream->skip), left = si->len - at;
	size_t room, len;

	if (left == 0) {
		stream->istream.eof = TRUE;
		return -1;
	}
	if (!i_stream_try_alloc(stream, (size_t)I_MIN(left, IO_BLOCK_SIZE), &room))
		return -2;
	len = (size_t)I_MIN(left, room);
	memset(stream->w_buffer + stream->pos, ' ', len);
	if (at == 0)
		stream->w_buffer[stream->pos] = '\n';
	stream->pos += len;
	return (ssize_t)len;
}

static struct istream *
standin_create(uint64_t len)
{
	struct standin *si = i_new(struct standin, 1);

	si->len = len;
	si->istream.max_buffer_size = IO_BLOCK_SIZE;
	si->istream.read = standin_read;
	si->istream.istream.blocking = TRUE;
	return i_stream_create(&si->istream, NULL, -1, 0);
}

/* --- the sink --- */

static ssize_t
sink_sendv(struct ostream_private *stream, const struct const_iovec *iov, unsigned int iov_count)
{
	size_t sent = 0;

	for (unsigned int i = 0; i < iov_count; i++)
		sent += iov[i].iov_len;
	stream->ostream.offset += sent;
	return (ssize_t)sent;
}

static struct ostream *
sink_create(struct ostream *parent)
{
	struct ostream_private *sink = i_new(struct ostream_private, 1);

	sink->sendv = sink_sendv;
	return o_stream_create(sink, parent, o_stream_get_fd(parent));
}

/* --- what may come in --- */

static int
refuse(struct mailbox *box, const char *reason)
{
	e_error(box->event, "basalt: dsync: mail not stored: %s", reason);
	mail_storage_set_error(box->storage, MAIL_ERROR_TEMP, t_strdup_printf("Sealed mail not stored: %s", reason));
	return -1;
}

/* A plain account's, which could not be read where it comes from, may stay as it is in a plain account. */
static bool
may_be_plain(const struct bs_carrier *head, const struct bs_record *rec)
{
	return head->kind == BS_CARRIER_DAMAGED && (rec->flags & BS_RECORD_FLAG_SEALED) == 0;
}

/* Sealed for whom? A damaged file may not say, and will never open for anybody. */
static int
check_account(struct mailbox *box, const struct bs_carrier *head, const uint8_t *file, size_t len,
    const struct bs_record *rec)
{
	struct bs_msg_prefix prefix;
	enum bs_err err = bs_msg_prefix_parse(file, len, &prefix);

	if (err != BS_OK && head->kind == BS_CARRIER_DAMAGED)
		return 0;
	if (err != BS_OK)
		return refuse(box, bs_err_text(err));
	if (prefix.suite != BS_MSG_SUITE_X25519 && !may_be_plain(head, rec))
		return refuse(box, "it is not encrypted");
	if (memcmp(prefix.account_id, rec->account_id, BS_ID_LEN) != 0)
		return refuse(box, "it is sealed for another account");
	return 0;
}

/* The carrier's head and the file's prefix; leaves input at the first byte of the file. */
static int
read_head(struct mailbox *box, struct istream *input, const struct bs_record *rec, struct bs_carrier *head_r)
{
	size_t prefix_len, size;
	const unsigned char *data;
	enum bs_err err;

	if (i_stream_get_max_buffer_size(input) < BS_CARRIER_LEN + BS_MSG_PREFIX_MAX)
		i_stream_set_max_buffer_size(input, BS_CARRIER_LEN + BS_MSG_PREFIX_MAX);
	if (i_stream_read_bytes(input, &data, &size, BS_CARRIER_LEN) <= 0)
		return refuse(box, bs_err_text(BS_ERR_SHORT));
	err = bs_carrier_parse(data, head_r);
	if (err != BS_OK)
		return refuse(box, t_strdup_printf("how it was carried: %s (does the other side have this plugin?)", bs_err_text(err)));
	i_stream_skip(input, BS_CARRIER_LEN);
	if (head_r->kind == BS_CARRIER_LITERAL)
		return 0;
	if (head_r->virtual_len == UINT64_MAX && strcmp(box->storage->name, "maildir") != 0)
		return refuse(box, "its file name has no W=, and only maildir can do without");
	prefix_len = (size_t)I_MIN(head_r->file_len, BS_MSG_PREFIX_MAX);
	if (i_stream_read_bytes(input, &data, &size, prefix_len) < 0 && input->stream_errno != 0)
		return refuse(box, i_stream_get_error(input));
	return check_account(box, head_r, data, I_MIN(size, prefix_len), rec);
}

/* --- saving --- */

static void
rawsave_free(struct rawsave_mailbox *rbox)
{
	struct rawsave *save = rbox->save;

	rbox->save = NULL;
	basalt_rawsync_unset_sizes(save->ctx->dest_mail);
	bs_passing_free(save->pass);
	i_stream_unref(&save->standin);
	i_free(save);
}

/* The stand-in is neither to be given CRs, nor looked at for attachments. */
static const struct mail_storage_settings *
settings_for_standin(struct mailbox *box)
{
	struct rawsave_mailbox *rbox = RAWSAVE_MAILBOX(box);
	const struct mail_storage_settings *own = box->storage->set;

	rbox->set = *own;
	rbox->set.mail_save_crlf = FALSE;
	rbox->set.parsed_mail_attachment_detection_add_flags = FALSE;
	box->storage->set = &rbox->set;
	return own;
}

static int
begin(struct mail_save_context *ctx, struct istream *input, const struct bs_carrier *head)
{
	struct mailbox *box = ctx->transaction->box;
	struct rawsave_mailbox *rbox = RAWSAVE_MAILBOX(box);
	const struct mail_storage_settings *own = settings_for_standin(box);
	struct istream *standin = standin_create(head->physical_len);
	struct mail_private *dest = container_of(ctx->dest_mail, struct mail_private, mail);
	struct ostream *file;
	int ret = rbox->module_ctx.super.save_begin(ctx, standin);

	box->storage->set = own;
	if (ret < 0) {
		i_stream_unref(&standin);
		return -1;
	}
	rbox->save = i_new(struct rawsave, 1);
	rbox->save->ctx = ctx;
	rbox->save->head = *head;
	rbox->save->pass = bs_passing_new(head->file_len);
	rbox->save->input = input;
	rbox->save->standin = standin;
	file = ctx->data.output;
	rbox->save->file = file;
	ctx->data.output = sink_create(file);
	o_stream_unref(&file); /* the sink holds it */
	/* Nothing that the stand-in seems to say is to be remembered. */
	dest->v.set_uid_cache_updates(ctx->dest_mail, TRUE);
	basalt_rawsync_set_sizes(ctx->dest_mail, head->physical_len, head->virtual_len);
	return 1;
}

int
basalt_rawsync_save_begin(struct mail_save_context *ctx, struct istream *input, const struct bs_record *rec)
{
	struct mailbox *box = ctx->transaction->box;
	struct rawsave_mailbox *rbox = RAWSAVE_MAILBOX(box);
	struct bs_carrier head;
	const unsigned char *data;
	size_t size;

	(void)i_stream_read_bytes(input, &data, &size, 4);
	if (!bs_carrier_begins(data, size))
		return 0;
	if (read_head(box, input, rec, &head) < 0)
		return -1;
	if (head.kind == BS_CARRIER_LITERAL)
		return 0;
	if (rbox->save != NULL)
		return refuse(box, "another one is being stored");
	return begin(ctx, input, &head);
}

static int
rawsave_continue(struct mail_save_context *ctx)
{
	struct mailbox *box = ctx->transaction->box;
	struct rawsave_mailbox *rbox = RAWSAVE_MAILBOX(box);
	struct rawsave *save = rbox->save;
	const unsigned char *data;
	size_t size;

	if (save == NULL || save->ctx != ctx)
		return rbox->module_ctx.super.save_continue(ctx);
	while (i_stream_read_more(save->input, &data, &size) > 0) {
		bs_passing_update(save->pass, data, size);
		if (o_stream_send(save->file, data, size) != (ssize_t)size)
			return refuse(box, o_stream_get_error(save->file));
		i_stream_skip(save->input, size);
	}
	return save->input->stream_errno == 0 ? 0 : refuse(box, i_stream_get_error(save->input));
}

/* All is there, and the digest is right, unless it was wrong already where the mail comes from. */
static int
check_all(struct mailbox *box, struct rawsave *save)
{
	enum bs_err err = bs_passing_end(save->pass);

	if (err == BS_OK || (save->head.kind == BS_CARRIER_DAMAGED && err != BS_ERR_SHORT))
		return 0;
	return refuse(box, t_strdup_printf("damaged on its way: %s", bs_err_text(err)));
}

/* Feeds the stand-in, so that the storage counts. */
static int
feed_standin(struct mailbox *box, struct mail_save_context *ctx)
{
	struct rawsave_mailbox *rbox = RAWSAVE_MAILBOX(box);
	int ret;

	do {
		ret = rbox->module_ctx.super.save_continue(ctx);
	} while (ret == 0 && !rbox->save->standin->eof && i_stream_read(rbox->save->standin) > 0);
	return ret;
}

static int
rawsave_finish(struct mail_save_context *ctx)
{
	struct mailbox *box = ctx->transaction->box;
	struct rawsave_mailbox *rbox = RAWSAVE_MAILBOX(box);
	const struct mail_storage_settings *own;
	int ret;

	if (rbox->save == NULL || rbox->save->ctx != ctx)
		return rbox->module_ctx.super.save_finish(ctx);
	ret = check_all(box, rbox->save);
	if (ret == 0)
		ret = feed_standin(box, ctx);
	if (ret == 0) {
		own = settings_for_standin(box);
		ret = rbox->module_ctx.super.save_finish(ctx);
		box->storage->set = own;
	} else {
		rbox->module_ctx.super.save_cancel(ctx);
	}
	rawsave_free(rbox);
	return ret;
}

static void
rawsave_cancel(struct mail_save_context *ctx)
{
	struct rawsave_mailbox *rbox = RAWSAVE_MAILBOX(ctx->transaction->box);

	rbox->module_ctx.super.save_cancel(ctx);
	if (rbox->save != NULL && rbox->save->ctx == ctx)
		rawsave_free(rbox);
}

void
basalt_rawsync_mailbox_allocated(struct mailbox *box)
{
	struct mailbox_vfuncs *v = box->vlast;
	struct rawsave_mailbox *rbox;

	if (!basalt_rawsync_possible(box->storage->user) || basalt_user_get(box->storage->user) == NULL)
		return;
	rbox = p_new(box->pool, struct rawsave_mailbox, 1);
	rbox->module_ctx.super = *v;
	box->vlast = &rbox->module_ctx.super;
	v->save_continue = rawsave_continue;
	v->save_finish = rawsave_finish;
	v->save_cancel = rawsave_cancel;
	MODULE_CONTEXT_SET(box, rawsave_module, rbox);
}
