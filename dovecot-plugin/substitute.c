#include "compat.h"

#include <index-mail.h>
#include <istream.h>
#include <mail-storage-private.h>
#include <message-date.h>
#include <str.h>
#include <str-sanitize.h>

#include "cache.h"
#include "layer.h"
#include "read.h"
#include "substitute.h"
#include "unreadable.h"

#define SUBJECT_MAX 200
#define NO_STRUCTURE "\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0"

struct substitute_mail {
	union mail_module_context module_ctx;
	enum bs_err err;     /* why it can't be read, of the call at hand */
	bool in_use;         /* data.stream is ours, or an answer was made up */
	bool stream;         /* data.stream is ours */
	bool structure;      /* BODYSTRUCTURE or PREVIEW is being made: the body will be parsed */
};

static MODULE_CONTEXT_DEFINE_INIT(substitute_mail_module, &mail_module_register);
#define SUBSTITUTE_MAIL(obj) MODULE_CONTEXT(obj, substitute_mail_module)

void
basalt_substitute_note(struct mail *mail, enum bs_err err)
{
	struct substitute_mail *um = SUBSTITUTE_MAIL(private_of(mail));

	if (um != NULL)
		um->err = err;
}

bool
basalt_substitute_in_use(struct mail *mail)
{
	struct substitute_mail *um = SUBSTITUTE_MAIL(private_of(mail));

	return um != NULL && um->in_use;
}

/*
 * Clients keep headers for ever: what may be better tomorrow is not shown in another's place. That is keyd's absence, and a
 * process that should have had a login but has none.
 */
static bool
is_lasting(const struct basalt_user *bu, enum bs_err err)
{
	return err != BS_OK && !bs_err_is_transient(err) && (err != BS_ERR_PERM || bu->locked != NULL);
}

/* Why the call that just failed did: BS_OK when it is nothing that a substitute may stand for. */
static enum bs_err
why(struct mail *mail, struct substitute_mail *um)
{
	struct basalt_user *bu = user_of(mail);

	if (um->err == BS_OK && basalt_unreadable_file(mail))
		um->err = BS_ERR_FORMAT;
	return is_lasting(bu, um->err) ? um->err : BS_OK;
}

static bool
is_listing(struct mail *mail)
{
	return strcmp(mail->box->storage->user->service, "imap") == 0 && !mail->saving && !mail->expunged;
}

static string_t *
header_text(struct mail *mail, enum bs_err err)
{
	const struct basalt_user *bu = user_of(mail);
	const char *domain = strrchr(bu->account, '@');
	string_t *text = t_str_new(512);
	time_t date;

	str_printfa(text, "From: Mail system <postmaster%s>\r\nTo: %s\r\nSubject: [%s]\r\n",
	    domain == NULL ? "@localhost" : domain, bu->account, str_sanitize(basalt_unreadable_text(bu, err), SUBJECT_MAX));
	if (mail_get_received_date(mail, &date) == 0)
		str_printfa(text, "Date: %s\r\n", message_date_create(date));
	str_printfa(text, "Auto-Submitted: auto-generated\r\nX-Basalt-Unreadable: %s\r\nMIME-Version: 1.0\r\n"
	                  "Content-Type: text/plain; charset=us-ascii\r\n\r\n", basalt_unreadable_kind(bu, err));
	return text;
}

/* Puts a header where Dovecot keeps the mail's stream. */
static void
install(struct mail *mail, struct substitute_mail *um, const string_t *text, const char *name)
{
	struct index_mail *imail = INDEX_MAIL(mail);

	index_mail_close_streams(imail);
	imail->data.no_caching = TRUE;
	/* What is known of the mail's own structure is not compared with ours. */
	imail->data.access_part = 0;
	imail->data.parts = NULL;
	imail->data.save_bodystructure_header = imail->data.save_bodystructure_body = FALSE;
	imail->data.stream = i_stream_create_copy_from_data(str_data(text), str_len(text));
	/* No stream around it that would hold its size against the mail's. */
	imail->data.stream_has_only_header = imail->data.initialized_wrapper_stream = TRUE;
	i_stream_set_name(imail->data.stream, name);
	um->stream = um->in_use = TRUE;
}

/* The mail's own header. */
static enum bs_err
read_header(struct basalt_sealed *sm, string_t *text)
{
	uint64_t len = basalt_sealed_sizes(sm)->header_len;
	const uint8_t *data;
	size_t size;
	enum bs_err err = BS_OK;

	while (err == BS_OK && str_len(text) < len) {
		err = basalt_sealed_read(sm, str_len(text), &data, &size);
		if (err == BS_OK)
			str_append_data(text, data, (size_t)I_MIN(size, len - str_len(text)));
	}
	return err;
}

/* BODY[HEADER] is only copied: it costs the same of a mail of 100 MB as of one of 10 KB. */
static bool
will_parse(const struct index_mail *imail)
{
	return (imail->data.access_part & (PARSE_HDR | PARSE_BODY)) != 0 || imail->data.wanted_headers != NULL ||
	    null_strcmp(imail->mail.get_stream_reason, "header stream") != 0;
}

/*
 * Dovecot's parser of headers looks at what follows the header, too. When that can't be read it gets the header by itself,
 * which is good: header chunks are checked before a mail counts as open.
 */
static void
part_from_body(struct mail *mail, struct substitute_mail *um)
{
	struct index_mail *imail = INDEX_MAIL(mail);
	bool plain;
	struct basalt_sealed *sm = basalt_mail_sealed(mail, &plain);
	string_t *text;
	const uint8_t *data;
	size_t size;
	enum bs_err err;

	if (sm == NULL || !plain || imail->data.stream_has_only_header || !is_listing(mail) || !will_parse(imail))
		return;
	err = basalt_sealed_read(sm, basalt_sealed_sizes(sm)->header_len, &data, &size);
	if (!is_lasting(basalt_sealed_user(sm), err))
		return;
	text = str_new(default_pool, 4096);
	(void)basalt_unreadable(mail, basalt_sealed_user(sm), basalt_sealed_prefix(sm)->message_id,
	    i_stream_get_name(imail->data.stream), err);
	if (read_header(sm, text) == BS_OK)
		install(mail, um, text, "(header of a damaged mail)");
	str_free(&text);
}

static int
refuse(struct mail *mail, enum bs_err err)
{
	mail_storage_set_error(mail->box->storage, MAIL_ERROR_INVALIDDATA,
	    basalt_unreadable_text(user_of(mail), err));
	return -1;
}

/* The mail's own stream, or why there is none in um->err. */
static int
own_stream(struct mail *mail, struct substitute_mail *um, bool get_body, struct message_size *hdr_size,
    struct message_size *body_size, struct istream **stream_r)
{
	struct index_mail *imail = INDEX_MAIL(mail);

	um->err = BS_OK;
	if (imail->data.stream == NULL && basalt_unreadable_known(mail))
		return -1;
	if (!get_body) {
		if (um->module_ctx.super.get_stream(mail, FALSE, NULL, NULL, stream_r) < 0)
			return -1;
		part_from_body(mail, um);
		if (um->stream || (hdr_size == NULL && body_size == NULL))
			return 0;
	}
	return um->module_ctx.super.get_stream(mail, get_body, hdr_size, body_size, stream_r);
}

/*
 * The header by itself, though the body would have been wanted as well, if the index cache has it. Dovecot is told that nobody
 * parses the body any more.
 */
static bool
header_alone(struct mail *mail, struct substitute_mail *um, struct message_size *hdr_size, struct istream **stream_r)
{
	struct index_mail *imail = INDEX_MAIL(mail);
	struct index_mail_data *data = &imail->data;

	if (!basalt_cache_has_header(mail))
		return FALSE;
	data->save_bodystructure_header = data->save_bodystructure_body = FALSE;
	data->save_message_parts = data->save_body_snippet = FALSE;
	data->access_part &= ENUM_NEGATE(READ_BODY | PARSE_BODY);
	return um->module_ctx.super.get_stream(mail, FALSE, hdr_size, NULL, stream_r) == 0;
}

static int
substitute_get_stream(struct mail *mail, bool get_body, struct message_size *hdr_size, struct message_size *body_size,
    struct istream **stream_r)
{
	struct mail_private *pmail = private_of(mail);
	struct substitute_mail *um = SUBSTITUTE_MAIL(pmail);
	/* A SEARCH of bodies goes on with the next mail. */
	bool may_stand = !get_body || null_strcmp(pmail->get_stream_reason, "search") == 0;
	enum bs_err err;

	if (!um->stream) {
		if (own_stream(mail, um, get_body || um->structure, hdr_size, body_size, stream_r) == 0 && !um->stream)
			return 0;
		err = why(mail, um);
		if (!um->stream) {
			if (!may_stand || um->structure || err == BS_OK || !is_listing(mail) || !mail_stream_access_start(mail))
				return -1;
			if (!get_body && body_size == NULL && header_alone(mail, um, hdr_size, stream_r))
				return 0;
			install(mail, um, header_text(mail, err), "(header in the place of an unreadable mail's)");
		}
	} else if (!may_stand) {
		return refuse(mail, um->err);
	}
	return index_mail_init_stream(INDEX_MAIL(mail), hdr_size, body_size, stream_r);
}

/* What an index knows of the mail's own parts does not fit our header. */
static int
substitute_get_parts(struct mail *mail, struct message_part **parts_r)
{
	struct substitute_mail *um = SUBSTITUTE_MAIL(private_of(mail));

	return um->stream ? refuse(mail, um->err) : um->module_ctx.super.get_parts(mail, parts_r);
}

/* The structure of a mail with a body that has no bytes. */
static const char *
structure_of(struct mail *mail, enum mail_fetch_field field, enum bs_err err)
{
	switch (field) {
	case MAIL_FETCH_IMAP_BODY:
		return NO_STRUCTURE;
	case MAIL_FETCH_IMAP_BODYSTRUCTURE:
		return NO_STRUCTURE " NIL NIL NIL NIL";
	case MAIL_FETCH_BODY_SNIPPET:
		/* Dovecot's snippets begin with the number of their algorithm. */
		return t_strconcat("1", str_sanitize(basalt_unreadable_text(user_of(mail), err),
		    SUBJECT_MAX), NULL);
	default:
		return NULL;
	}
}

static int
substitute_get_special(struct mail *mail, enum mail_fetch_field field, const char **value_r)
{
	struct substitute_mail *um = SUBSTITUTE_MAIL(private_of(mail));
	struct index_mail *imail = INDEX_MAIL(mail);
	bool outer = um->structure;
	struct istream *input;
	enum bs_err err;
	int ret = 0;

	if (structure_of(mail, field, BS_ERR_FORMAT) == NULL || !is_listing(mail))
		return um->module_ctx.super.get_special(mail, field, value_r);
	um->structure = TRUE;
	/* Is open for its header: parsing goes on in the body, where a failure could not be told from others. */
	if (um->stream)
		ret = -1;
	else if (imail->data.stream != NULL && !imail->data.stream_has_only_header)
		ret = mail_get_stream(mail, NULL, NULL, &input);
	if (ret == 0)
		ret = um->module_ctx.super.get_special(mail, field, value_r);
	um->structure = outer;
	if (ret == 0)
		return 0;
	err = um->stream ? um->err : why(mail, um);
	if (err == BS_OK)
		return -1;
	imail->data.no_caching = TRUE;
	um->in_use = TRUE;
	*value_r = p_strdup(imail->mail.data_pool, structure_of(mail, field, err));
	return 0;
}

static void
substitute_close(struct mail *mail)
{
	struct substitute_mail *um = SUBSTITUTE_MAIL(private_of(mail));

	um->module_ctx.super.close(mail);
	um->err = BS_OK;
	um->stream = um->in_use = um->structure = FALSE;
}

void
basalt_substitute_mail_allocated(struct mail *mail)
{
	struct mail_private *pmail = private_of(mail);
	struct mail_vfuncs *v = pmail->vlast;
	struct substitute_mail *um;

	if (user_of(mail) == NULL || !basalt_box_is_binary(mail->box))
		return;
	um = p_new(pmail->pool, struct substitute_mail, 1);
	um->module_ctx.super = *v;
	pmail->vlast = &um->module_ctx.super;
	v->get_stream = substitute_get_stream;
	v->get_parts = substitute_get_parts;
	v->get_special = substitute_get_special;
	v->close = substitute_close;
	MODULE_CONTEXT_SET(pmail, substitute_mail_module, um);
}
