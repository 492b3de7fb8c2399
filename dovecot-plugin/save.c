#include "compat.h"

#include <istream.h>
#include <mail-copy.h>
#include <mail-storage-private.h>
#include <ostream.h>

#include "crlf.h"
#include "home.h"
#include "iostream.h"
#include "layer.h"
#include "rawsync.h"
#include "read.h"
#include "save.h"
#include "session.h"

struct basalt_mailbox {
	union mailbox_module_context module_ctx;
};

static MODULE_CONTEXT_DEFINE_INIT(basalt_storage_module, &mail_storage_module_register);
#define BASALT_MAILBOX(obj) MODULE_CONTEXT_REQUIRE(obj, basalt_storage_module)

static int
refuse(struct mailbox *box, const char *reason)
{
	e_error(box->event, "basalt: mail not stored: %s", reason);
	mail_storage_set_error(box->storage, MAIL_ERROR_TEMP, "Mail can't be encrypted at the moment, try again later");
	return -1;
}

/* Keys that were lost, too, are keys that keyd does not have: the home knows that there were some. */
static bool
waits_for_enrolment(struct mailbox *box, struct basalt_user *owner)
{
	return owner->clear_before_keys && !basalt_rawsync_active(box->storage->user) && basalt_home_never_had_keys(owner);
}

/* The record by which mail of this mailbox is stored (NULL: as it comes), or -1 with the error set. */
static int
record_for(struct mailbox *box, const struct bs_record **rec_r)
{
	struct basalt_user *owner = basalt_box_owner(box);
	const char *reason = "?";
	enum bs_err err;

	if (owner == NULL)
		return refuse(box, "a public namespace belongs to no account, nobody could read it");
	err = basalt_session_record(owner, rec_r, &reason);
	if (err == BS_ERR_NOENT && waits_for_enrolment(box, owner)) {
		*rec_r = NULL;
		return 0;
	}
	return err == BS_OK ? 0 : refuse(box, reason);
}

/* Mail is stored with CRLFs, whatever the storage does (crlf.h). */
static int
super_save_begin(struct mail_save_context *ctx, struct istream *input)
{
	struct mailbox *box = ctx->transaction->box;
	struct basalt_mailbox *bbox = BASALT_MAILBOX(box);
	struct istream *crlf;
	int ret;

	if (!basalt_crlf_needed(box))
		return bbox->module_ctx.super.save_begin(ctx, input);
	crlf = basalt_crlf_create(input);
	ret = bbox->module_ctx.super.save_begin(ctx, crlf);
	i_stream_unref(&crlf);
	return ret;
}

/* In a session from before the account was sealed, which still has Dovecot's own cache: what passes is not remembered. */
static void
cache_nothing(struct mail_save_context *ctx)
{
	private_of(ctx->dest_mail)->v.set_uid_cache_updates(ctx->dest_mail, TRUE);
}

static int
basalt_save_begin(struct mail_save_context *ctx, struct istream *input)
{
	struct mailbox *box = ctx->transaction->box;
	struct basalt_mailbox *bbox = BASALT_MAILBOX(box);
	const struct bs_record *rec;
	struct ostream *output;
	int carried;

	if (!basalt_box_is_binary(box))
		return refuse(box, t_strdup_printf("storage %s can't hold sealed mail", box->storage->name));
	if (record_for(box, &rec) < 0)
		return -1;
	if (rec == NULL)
		return bbox->module_ctx.super.save_begin(ctx, input);
	if (basalt_rawsync_active(box->storage->user) && (carried = basalt_rawsync_save_begin(ctx, input, rec)) != 0)
		return carried > 0 ? 0 : -1;
	if (super_save_begin(ctx, input) < 0)
		return -1;
	if ((rec->flags & BS_RECORD_FLAG_SEALED) != 0 && !box->mail_cache_disabled)
		cache_nothing(ctx);
	output = basalt_ostream_create(ctx->data.output, basalt_user_get(box->storage->user), rec);
	if (output == NULL)
		return refuse(box, "no memory for encryption");
	o_stream_unref(&ctx->data.output);
	ctx->data.output = output;
	o_stream_cork(output);
	return 0;
}

enum copy_how { COPY_RAW, COPY_RESAVE, COPY_FAIL };

/*
 * The file itself may be copied (linked, counted) only inside one account, and only when it is already what saving would
 * make of it. A mail that can't be read, because it is broken or sealed for somebody else, can still be moved.
 */
static enum copy_how
copy_how(struct mailbox *box, struct mail *mail)
{
	struct basalt_user *dest = basalt_box_owner(box), *src = basalt_box_owner(mail->box);
	const struct bs_msg_prefix *prefix;
	const struct bs_record *rec;
	enum basalt_state state;

	if (dest == NULL || src == NULL || strcmp(dest->account, src->account) != 0 || !basalt_box_is_binary(box) ||
	    !basalt_box_is_binary(mail->box))
		return COPY_RESAVE;
	state = basalt_mail_probe(mail, &prefix);
	if (state == BASALT_PLAINTEXT)
		return COPY_RESAVE;
	if (state == BASALT_BROKEN || (prefix->suite == BS_MSG_SUITE_X25519 && dest == src))
		return COPY_RAW;
	if (record_for(box, &rec) < 0)
		return COPY_FAIL;
	if (rec == NULL)
		return COPY_RESAVE;
	/* From another place, which need not be what it is said to be (doveadm import). */
	if (prefix->suite == BS_MSG_SUITE_X25519)
		return memcmp(prefix->account_id, rec->account_id, BS_ID_LEN) == 0 ? COPY_RAW : COPY_RESAVE;
	return (rec->flags & BS_RECORD_FLAG_SEALED) != 0 ? COPY_RESAVE : COPY_RAW;
}

static int
copy_mail(struct mail_save_context *ctx, struct mail *mail)
{
	struct mailbox *box = ctx->transaction->box;
	struct basalt_mailbox *bbox = BASALT_MAILBOX(box);

	switch (copy_how(box, mail)) {
	case COPY_RAW:
		return bbox->module_ctx.super.copy(ctx, mail);
	case COPY_RESAVE:
		return mail_storage_copy(ctx, mail);
	case COPY_FAIL:
		break;
	}
	mailbox_save_cancel(&ctx);
	return -1;
}

static int
basalt_copy(struct mail_save_context *ctx, struct mail *mail)
{
	struct mailbox *box = ctx->transaction->box;
	bool unopened = basalt_rawsync_copy_begin(box, mail);
	int ret = copy_mail(ctx, mail);

	if (unopened)
		basalt_rawsync_copy_end(box, mail);
	return ret;
}

void
basalt_mailbox_allocated(struct mailbox *box)
{
	struct mailbox_vfuncs *v = box->vlast;
	struct basalt_mailbox *bbox;

	if (basalt_user_get(box->storage->user) == NULL)
		return;
	bbox = p_new(box->pool, struct basalt_mailbox, 1);
	bbox->module_ctx.super = *v;
	box->vlast = &bbox->module_ctx.super;
	v->save_begin = basalt_save_begin;
	v->copy = basalt_copy;
	MODULE_CONTEXT_SET(box, basalt_storage_module, bbox);
}
