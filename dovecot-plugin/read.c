#include "compat.h"

#include <index-mail.h>
#include <istream-private.h>
#include <mail-storage-private.h>

#include "iostream.h"
#include "layer.h"
#include "rawsync.h"
#include "read.h"
#include "unreadable.h"

struct basalt_mail {
	union mail_module_context module_ctx;
	struct basalt_sealed *sm; /* NULL: not open, or not ours */
	bool plaintext;           /* open, and not ours */
	bool probing;             /* open only to see what it is */
	bool ahead;               /* is being opened ahead: nothing is decoded yet */
	bool outermost;           /* no other plugin (zlib) made something else of our stream */
	bool want_body;           /* get_stream() was called for the body, too */
	char *file;               /* for the log */
	struct istream *raw;      /* the file's own bytes, kept for dsync */
};

static MODULE_CONTEXT_DEFINE_INIT(basalt_mail_module, &mail_module_register);
#define BASALT_MAIL(obj) MODULE_CONTEXT(obj, basalt_mail_module)

static void
mail_forget(struct basalt_mail *bm)
{
	basalt_sealed_unref(&bm->sm);
	i_stream_unref(&bm->raw);
	bm->plaintext = false;
	bm->outermost = false;
	i_free_and_null(bm->file);
}

static int
fail(struct mail *mail, struct basalt_mail *bm, enum bs_err err)
{
	struct basalt_user *bu = user_of(mail);

	return basalt_unreadable(mail, bu, bm->sm == NULL ? NULL : basalt_sealed_prefix(bm->sm)->message_id, bm->file, err);
}

/* The trailer knows the sizes: Dovecot need not read the mail to count, and what stands in an index or a name does not matter. */
static void
prime_sizes(struct mail *mail, const struct bs_msg_sizes *sizes)
{
	struct index_mail *imail = INDEX_MAIL(mail);
	struct index_mail_data *data = &imail->data;

	data->physical_size = sizes->physical_len;
	data->virtual_size = sizes->virtual_len;
}

/* Key, sizes and as many chunks as must be good before anything is handed out. */
static int
make_ready(struct mail *mail, struct basalt_mail *bm)
{
	enum bs_err err = bm->want_body ? basalt_sealed_check(bm->sm) : basalt_sealed_open(bm->sm);

	if (err != BS_OK)
		return fail(mail, bm, err);
	if (bm->outermost)
		prime_sizes(mail, basalt_sealed_sizes(bm->sm));
	return 0;
}

/* Opened only to be looked at, or ahead: decoding waits. */
static bool
may_wait(const struct basalt_mail *bm)
{
	return bm->probing || bm->ahead;
}

/* One of our files: puts the plaintext stream in the place of the file's. */
static int
wrap_stream(struct mail *mail, struct basalt_mail *bm, struct istream **stream)
{
	struct basalt_user *bu = user_of(mail);
	struct index_mail *imail = INDEX_MAIL(mail);
	struct istream *input = *stream;
	enum bs_err err;

	bm->file = i_strdup(i_stream_get_name(input));
	err = basalt_sealed_new(bu, input, &bm->sm);
	if (err != BS_OK)
		return fail(mail, bm, err);
	if (basalt_sealed_prefix(bm->sm)->suite == BS_MSG_SUITE_PLAIN)
		basalt_in_the_clear(mail, bu, bm->file);
	/* A session from before the account was sealed still has Dovecot's own cache. */
	if (basalt_sealed_prefix(bm->sm)->suite != BS_MSG_SUITE_PLAIN && !mail->box->mail_cache_disabled)
		imail->data.no_caching = TRUE;
	*stream = basalt_istream_create(input, bm->sm);
	i_stream_unref(&input);
	return may_wait(bm) ? 0 : make_ready(mail, bm);
}

/* Without a key another plugin (zlib) could only fail on it: dsync takes the file's own bytes. */
static bool
is_carried(const struct basalt_mail *bm)
{
	return bm->raw != NULL && bm->sm != NULL && basalt_sealed_prefix(bm->sm)->suite != BS_MSG_SUITE_PLAIN;
}

static int
basalt_istream_opened(struct mail *mail, struct istream **stream)
{
	struct basalt_mail *bm = BASALT_MAIL(private_of(mail));
	struct basalt_user *bu = user_of(mail);
	struct istream *ours = NULL;
	int ret = 0;

	mail_forget(bm);
	if (bu->raw != NULL) {
		/* The file's own bytes are wanted, whatever they are. */
		bm->plaintext = true;
		*bu->raw = *stream;
		i_stream_ref(*bu->raw);
		return 0;
	}
	if (basalt_rawsync_wanted(mail->box->storage->user)) {
		bm->raw = *stream;
		i_stream_ref(bm->raw);
	}
	if (!basalt_sealed_begins(*stream)) {
		bm->plaintext = true;
		basalt_in_the_clear(mail, bu, i_stream_get_name(*stream));
	} else if (wrap_stream(mail, bm, stream) < 0) {
		/* dbox does not release the stream when this fails. */
		i_stream_unref(stream);
		return -1;
	} else {
		ours = *stream;
		/* A later plugin may let go of it, and another stream get its address. */
		i_stream_ref(ours);
	}
	if (bm->module_ctx.super.istream_opened != NULL && !is_carried(bm))
		ret = bm->module_ctx.super.istream_opened(mail, stream);
	/* Only if no plugin (zlib) made something else of it are our sizes the mail's. */
	bm->outermost = ret == 0 && ours != NULL && *stream == ours;
	if (bm->outermost && !may_wait(bm))
		prime_sizes(mail, basalt_sealed_sizes(bm->sm));
	i_stream_unref(&ours);
	return ret;
}

/* Dovecot sets its small buffer size when it opens the stream, and parses in such pieces; what it only sends, it may have at once. */
static void
lend(struct mail *mail, const struct basalt_mail *bm, bool get_body)
{
	struct index_mail *imail = INDEX_MAIL(mail);
	struct index_mail_data *data = &imail->data;
	bool parses = !get_body || (data->access_part & (PARSE_HDR | PARSE_BODY)) != 0;

	data->stream->real_stream->max_buffer_size = parses ? MAIL_READ_FULL_BLOCK_SIZE : BASALT_LEND_MAX;
	/* Saves imap its own search for what a literal must not hold, and a copy. */
	if (!parses && !mail->has_no_nuls && basalt_sealed_has_no_nuls(bm->sm))
		mail->has_no_nuls = TRUE;
}

static int
basalt_get_stream(struct mail *mail, bool get_body, struct message_size *hdr_size, struct message_size *body_size,
    struct istream **stream_r)
{
	struct basalt_mail *bm = BASALT_MAIL(private_of(mail));
	struct index_mail *imail = INDEX_MAIL(mail);
	bool outer = bm->want_body, for_dsync = false;
	int ret;

	if (!may_wait(bm) && basalt_rawsync_wanted(mail->box->storage->user)) {
		for_dsync = hdr_size == NULL && body_size == NULL;
		ret = basalt_rawsync_get_stream(mail, !for_dsync, stream_r);
		if (ret != 0)
			return ret > 0 ? 0 : -1;
	}
	bm->want_body = get_body || outer;
	/* Open already, perhaps only for its header, for a probe, or ahead. */
	if (bm->sm != NULL && imail->data.stream != NULL && !may_wait(bm) && make_ready(mail, bm) < 0)
		ret = -1;
	else
		ret = bm->module_ctx.super.get_stream(mail, get_body, hdr_size, body_size, stream_r);
	if (ret == 0 && bm->outermost)
		lend(mail, bm, get_body && hdr_size == NULL && body_size == NULL);
	bm->want_body = outer;
	if (for_dsync && ret == 0)
		basalt_rawsync_escape(mail, stream_r);
	return ret;
}

static bool
basalt_prefetch(struct mail *mail)
{
	struct basalt_mail *bm = BASALT_MAIL(private_of(mail));
	bool ready;

	/* Another plugin (zlib) may read from our stream, or drop it for one that it kept. */
	bm->ahead = bm->module_ctx.super.istream_opened == index_mail_opened;
	ready = bm->module_ctx.super.prefetch(mail);
	bm->ahead = false;
	if (bm->sm != NULL)
		basalt_sealed_expect(bm->sm);
	return ready;
}

/*
 * maildir asks the file's name again each time, whatever is known. 1: sizes_r is what the trailer says. 0: ask Dovecot. -1: of
 * a mail that was opened ahead; the stream around ours would hold a name's lie against what it reads later.
 */
static int
sizes_of_trailer(struct mail *mail, const struct bs_msg_sizes **sizes_r)
{
	struct basalt_mail *bm = BASALT_MAIL(private_of(mail));

	if (bm->sm == NULL || !bm->outermost)
		return 0;
	if (basalt_sealed_is_open(bm->sm)) {
		*sizes_r = basalt_sealed_sizes(bm->sm);
		return 1;
	}
	if (mail->lookup_abort < MAIL_LOOKUP_ABORT_NOT_IN_CACHE)
		return 0;
	mail_set_aborted(mail);
	return -1;
}

static int
basalt_get_physical_size(struct mail *mail, uoff_t *size_r)
{
	struct basalt_mail *bm = BASALT_MAIL(private_of(mail));
	const struct bs_msg_sizes *sizes;
	int ret = sizes_of_trailer(mail, &sizes);

	if (ret == 0)
		return bm->module_ctx.super.get_physical_size(mail, size_r);
	if (ret > 0)
		*size_r = sizes->physical_len;
	return ret > 0 ? 0 : -1;
}

static int
basalt_get_virtual_size(struct mail *mail, uoff_t *size_r)
{
	struct basalt_mail *bm = BASALT_MAIL(private_of(mail));
	const struct bs_msg_sizes *sizes;
	int ret = sizes_of_trailer(mail, &sizes);

	if (ret == 0)
		return bm->module_ctx.super.get_virtual_size(mail, size_r);
	if (ret > 0)
		*size_r = sizes->virtual_len;
	return ret > 0 ? 0 : -1;
}

static void
basalt_mail_close(struct mail *mail)
{
	struct basalt_mail *bm = BASALT_MAIL(private_of(mail));

	bm->module_ctx.super.close(mail);
	mail_forget(bm);
}

enum basalt_state
basalt_mail_probe(struct mail *mail, const struct bs_msg_prefix **prefix_r)
{
	struct basalt_mail *bm = BASALT_MAIL(private_of(mail));
	struct istream *input;
	int ret;

	if (bm == NULL)
		return BASALT_PLAINTEXT;
	bm->probing = true;
	ret = mail_get_stream_because(mail, NULL, NULL, "copying", &input);
	bm->probing = false;
	if (bm->sm != NULL && ret == 0) {
		*prefix_r = basalt_sealed_prefix(bm->sm);
		return BASALT_SEALED;
	}
	return ret == 0 && bm->plaintext ? BASALT_PLAINTEXT : BASALT_BROKEN;
}

struct istream *
basalt_mail_raw(struct mail *mail)
{
	struct basalt_mail *bm = BASALT_MAIL(private_of(mail));

	return bm->raw;
}

struct basalt_sealed *
basalt_mail_sealed(struct mail *mail, bool *outermost_r)
{
	struct basalt_mail *bm = BASALT_MAIL(private_of(mail));

	*outermost_r = bm != NULL && bm->outermost;
	return bm == NULL ? NULL : bm->sm;
}

void
basalt_mail_allocated(struct mail *mail)
{
	struct mail_private *pmail = private_of(mail);
	struct mail_vfuncs *v = pmail->vlast;
	struct basalt_mail *bm;

	if (user_of(mail) == NULL || !basalt_box_is_binary(mail->box))
		return;
	bm = p_new(pmail->pool, struct basalt_mail, 1);
	bm->module_ctx.super = *v;
	pmail->vlast = &bm->module_ctx.super;
	v->istream_opened = basalt_istream_opened;
	v->get_stream = basalt_get_stream;
	v->get_physical_size = basalt_get_physical_size;
	v->get_virtual_size = basalt_get_virtual_size;
	v->prefetch = basalt_prefetch;
	v->close = basalt_mail_close;
	MODULE_CONTEXT_SET(pmail, basalt_mail_module, bm);
}
