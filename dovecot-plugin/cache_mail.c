#include "compat.h"

#include <imap-bodystructure.h>
#include <istream.h>
#include <message-header-parser.h>
#include <str.h>

#include "cache_priv.h"
#include "keymem.h"
#include "session.h"
#include "read.h"

static MODULE_CONTEXT_DEFINE_INIT(cache_mail_module, &mail_module_register);
#define CACHE_MAIL(obj) MODULE_CONTEXT_REQUIRE(obj, cache_mail_module)

struct cache_mail *
basalt_cache_mail(struct mail *mail)
{
	return MODULE_CONTEXT(private_of(mail), cache_mail_module);
}

/* --- when the file is opened --- */

/* The blobs spoke of another file: nothing of what they said counts. */
static void
unprime(struct mail *mail, struct cache_mail *cm)
{
	struct index_mail_data *data = data_of(mail);

	data->envelope = data->body = data->bodystructure = data->body_snippet = NULL;
	index_mail_parts_reset(INDEX_MAIL(mail));
	data->physical_size = data->virtual_size = UOFF_T_MAX;
	data->hdr_size_set = data->body_size_set = FALSE;
	data->sent_date.time = (uint32_t)-1;
	data->received_date = data->save_date = (time_t)-1;
	mail->has_nuls = mail->has_no_nuls = FALSE;
	cm->stored = cm->kept = 0;
	cm->numbers[0] = cm->numbers[1] = 0;
	cm->header_in = 0;
	cm->header = (struct bs_cache_bytes){ .p = NULL };
	cm->guid = NULL;
	memset(cm->message_id, 0, sizeof(cm->message_id));
	memset(cm->digest, 0, sizeof(cm->digest));
	bs_wipe(cm->data_key, sizeof(cm->data_key));
	bs_wipe(cm->blob_key, sizeof(cm->blob_key));
	cm->foreign = true;
}

/* Sizes, date of arrival and GUID are Dovecot's own records: a blob that holds nothing else was made without the file. */
static bool
knows_a_file(const struct cache_mail *cm)
{
	uint32_t of_records = CACHE_BIT(BS_CACHE_NUMBERS) | CACHE_BIT(BS_CACHE_GUID);

	return ((cm->stored | cm->kept) & ~of_records) != 0 || ((cm->numbers[0] | cm->numbers[1]) & CACHE_HAS_SENT) != 0;
}

/*
 * Is the sealed file the one that the blobs are of? A file with another digest is, where the data key that the account's blob
 * has opens it: then it was sealed anew, by somebody who had that key (basaltctl key reseal). A forged blob may name a file's id and
 * digest; it can't know its key.
 */
static bool
is_known_file(struct basalt_sealed *sm, const struct cache_mail *cm)
{
	const struct bs_msg_prefix *prefix = basalt_sealed_prefix(sm);
	uint32_t have = cm->stored | cm->kept;
	uint8_t digest[BS_HASH_LEN];

	if (memcmp(prefix->message_id, cm->message_id, BS_ID_LEN) != 0)
		return false;
	if ((have & CACHE_BIT(BS_CACHE_DATA_KEY)) != 0)
		return bs_msg_key_fits(prefix, cm->data_key) == BS_OK;
	return (have & CACHE_BIT(BS_CACHE_DIGEST)) == 0 || basalt_sealed_digest(sm, digest) != BS_OK ||
	    memcmp(digest, cm->digest, BS_HASH_LEN) == 0;
}

/* Is it the file that the blobs are of? */
static void
compare_file(struct mail *mail, struct cache_mail *cm)
{
	bool outermost, sealed, was_sealed;
	struct basalt_sealed *sm = basalt_mail_sealed(mail, &outermost);
	uint32_t have = cm->stored | cm->kept;

	if (!knows_a_file(cm))
		return;
	sealed = sm != NULL && basalt_sealed_prefix(sm)->suite != BS_MSG_SUITE_PLAIN;
	was_sealed = (have & CACHE_BIT(BS_CACHE_MESSAGE_ID)) != 0 || cm->stored != 0;
	if (sealed ? was_sealed && is_known_file(sm, cm) : !was_sealed)
		return;
	/* What was not sealed anybody could have changed before: that it is sealed now is what basaltctl convert does. */
	if (was_sealed)
		e_error(mail_event(mail), "basalt: ALARM: the file is not the one that was here when this mail was stored or first read");
	unprime(mail, cm);
}

static int
cache_istream_opened(struct mail *mail, struct istream **stream)
{
	struct cache_mail *cm = CACHE_MAIL(private_of(mail));
	int ret = cm->module_ctx.super.istream_opened(mail, stream);

	if (ret == 0 && cm->looked)
		compare_file(mail, cm);
	return ret;
}

/* Nothing that is under way needs the body as well. */
static bool
header_will_do(struct mail *mail, const struct cache_mail *cm)
{
	const struct index_mail_data *data = data_of(mail);

	return !cm->whole && !cm->ahead && !data->save_bodystructure_header && !data->save_bodystructure_body &&
	    !data->save_message_parts && !data->save_body_snippet && (data->access_part & (READ_BODY | PARSE_BODY)) == 0;
}

static void
drop_header_stream(struct mail *mail)
{
	struct index_mail *imail = INDEX_MAIL(mail);

	if (imail->data.stream == NULL || !imail->data.stream_has_only_header)
		return;
	index_mail_close_streams(imail);
	imail->data.stream_has_only_header = FALSE;
}

static void
install_header_stream(struct mail *mail, const struct cache_mail *cm)
{
	struct index_mail_data *data = data_of(mail);

	data->stream = i_stream_create_from_data(cm->header.p, cm->header.len);
	i_stream_set_name(data->stream, "(sealed index cache)");
	data->stream_has_only_header = TRUE;
	mail->mail_stream_accessed = TRUE;
}

static int
cache_get_stream(struct mail *mail, bool get_body, struct message_size *hdr_size, struct message_size *body_size,
    struct istream **stream_r)
{
	struct cache_mail *cm = CACHE_MAIL(private_of(mail));
	struct index_mail *imail = INDEX_MAIL(mail);
	int ret;

	if (basalt_cache_box(mail->box) == NULL || mail->saving)
		return cm->module_ctx.super.get_stream(mail, get_body, hdr_size, body_size, stream_r);
	if (!get_body && body_size == NULL && imail->data.stream == NULL && header_will_do(mail, cm) &&
	    basalt_cache_look_header(mail, cm))
		install_header_stream(mail, cm);
	if (imail->data.stream != NULL && imail->data.stream_has_only_header) {
		if (!get_body && header_will_do(mail, cm))
			return index_mail_init_stream(imail, hdr_size, body_size, stream_r);
		drop_header_stream(mail);
	}
	/* Its data key, and what its file should be. */
	basalt_cache_look(mail, cm);
	if (((cm->stored | cm->kept) & CACHE_BIT(BS_CACHE_DATA_KEY)) != 0)
		basalt_keymem_put(user_of(mail), cm->message_id, cm->data_key);
	ret = cm->module_ctx.super.get_stream(mail, get_body, hdr_size, body_size, stream_r);
	if (ret == 0 && !cm->ahead)
		cm->read = true;
	return ret;
}

/* --- header fields --- */

static bool
is_wanted(const struct mailbox_header_lookup_ctx *headers, const char *name)
{
	for (unsigned i = 0; i < headers->count; i++) {
		if (i_toupper(headers->name[i][0]) == i_toupper(name[0]) && strcasecmp(headers->name[i], name) == 0)
			return true;
	}
	return false;
}

/* Begins a line with one of the names? What follows the name is the parser's to judge. */
static bool
may_be_wanted(const struct mailbox_header_lookup_ctx *headers, const uint8_t *line, size_t len)
{
	for (unsigned i = 0; i < headers->count; i++) {
		const char *name = headers->name[i];
		if (i_toupper(name[0]) == i_toupper((char)line[0]) && strlen(name) <= len &&
		    strncasecmp(name, (const char *)line, strlen(name)) == 0)
			return true;
	}
	return false;
}

/* Only the lines that matter, with those that continue them: most of a header is Received and signatures. */
static buffer_t *
candidates(const struct bs_cache_bytes *header, const struct mailbox_header_lookup_ctx *headers)
{
	buffer_t *out = t_buffer_create(512);
	const uint8_t *p = header->p, *end = p + header->len, *next;
	bool wanted = false;

	for (; p < end; p = next) {
		next = memchr(p, '\n', (size_t)(end - p));
		next = next == NULL ? end : next + 1;
		if (*p != ' ' && *p != '\t')
			wanted = may_be_wanted(headers, p, (size_t)(next - p));
		if (wanted)
			buffer_append(out, p, (size_t)(next - p));
	}
	return out;
}

/* The fields as Dovecot would have cached them, in the header's order, and an empty line. */
static void
pick_fields(const struct bs_cache_bytes *header, const struct mailbox_header_lookup_ctx *headers, string_t *dest)
{
	buffer_t *lines = candidates(header, headers);
	struct istream *input = i_stream_create_from_data(lines->data, lines->used);
	struct message_header_parser_ctx *parser = message_parse_header_init(input, NULL,
	    MESSAGE_HEADER_PARSER_FLAG_SKIP_INITIAL_LWSP | MESSAGE_HEADER_PARSER_FLAG_DROP_CR);
	struct message_header_line *hdr;
	bool wanted = false;

	while (message_parse_header_next(parser, &hdr) > 0) {
		if (hdr->eoh)
			continue;
		if (!hdr->continued) {
			wanted = is_wanted(headers, hdr->name);
			if (wanted) {
				str_append(dest, hdr->name);
				str_append_data(dest, hdr->middle, hdr->middle_len);
			}
		}
		if (!wanted)
			continue;
		str_append_data(dest, hdr->value, hdr->value_len);
		if (!hdr->no_newline)
			str_append_c(dest, '\n');
	}
	message_parse_header_deinit(&parser);
	i_stream_unref(&input);
	/* A header that ends in the middle of a line gets its end. */
	if (str_len(dest) > 0 && str_data(dest)[str_len(dest) - 1] != '\n')
		str_append_c(dest, '\n');
	str_append_c(dest, '\n');
}

/* As Dovecot does it: what is left of an earlier one may have to be parsed yet. */
static void
end_filter_stream(struct index_mail_data *data)
{
	const unsigned char *bytes;
	size_t len;

	if (data->filter_stream == NULL)
		return;
	while (i_stream_read_more(data->filter_stream, &bytes, &len) > 0)
		i_stream_skip(data->filter_stream, len);
	i_stream_destroy(&data->filter_stream);
}

static int
cache_get_header_stream(struct mail *mail, struct mailbox_header_lookup_ctx *headers, struct istream **stream_r)
{
	struct cache_mail *cm = CACHE_MAIL(private_of(mail));
	struct index_mail_data *data = data_of(mail);
	string_t *dest;

	if (basalt_cache_box(mail->box) == NULL || mail->saving || data->save_bodystructure_header ||
	    (data->filter_stream != NULL && data->header_parser_initialized) || !basalt_cache_look_header(mail, cm))
		return cm->module_ctx.super.get_header_stream(mail, headers, stream_r);
	end_filter_stream(data);
	dest = str_new(private_of(mail)->data_pool, 512);
	T_BEGIN {
		pick_fields(&cm->header, headers, dest);
	} T_END;
	data->filter_stream = i_stream_create_from_data(str_data(dest), str_len(dest));
	*stream_r = data->filter_stream;
	return 0;
}

/* --- what Dovecot asks of a mail --- */

static int
cache_get_parts(struct mail *mail, struct message_part **parts_r)
{
	struct cache_mail *cm = CACHE_MAIL(private_of(mail));
	bool whole = cm->whole;
	int ret;

	if (data_of(mail)->parts == NULL && basalt_cache_box(mail->box) != NULL && !mail->saving) {
		(void)basalt_cache_look_header(mail, cm);
		if (data_of(mail)->parts == NULL)
			drop_header_stream(mail);
	}
	cm->whole = true;
	ret = cm->module_ctx.super.get_parts(mail, parts_r);
	cm->whole = whole;
	return ret;
}

static int
cache_get_date(struct mail *mail, time_t *date_r, int *timezone_r)
{
	struct cache_mail *cm = CACHE_MAIL(private_of(mail));
	enum mail_lookup_abort abort = mail->lookup_abort;
	int ret;

	basalt_cache_look(mail, cm);
	/* The header is at hand: a search that wants no file opened may have it, as it gets the fields. */
	if (data_of(mail)->sent_date.time == (uint32_t)-1 && header_will_do(mail, cm) && data_of(mail)->stream == NULL &&
	    basalt_cache_look_header(mail, cm))
		mail->lookup_abort = MAIL_LOOKUP_ABORT_NEVER;
	ret = cm->module_ctx.super.get_date(mail, date_r, timezone_r);
	mail->lookup_abort = abort;
	return ret;
}

static int
cache_get_received_date(struct mail *mail, time_t *date_r)
{
	struct cache_mail *cm = CACHE_MAIL(private_of(mail));

	basalt_cache_look(mail, cm);
	return cm->module_ctx.super.get_received_date(mail, date_r);
}

static int
cache_get_save_date(struct mail *mail, time_t *date_r)
{
	struct cache_mail *cm = CACHE_MAIL(private_of(mail));

	basalt_cache_look(mail, cm);
	return cm->module_ctx.super.get_save_date(mail, date_r);
}

static int
cache_get_virtual_size(struct mail *mail, uoff_t *size_r)
{
	struct cache_mail *cm = CACHE_MAIL(private_of(mail));

	basalt_cache_look(mail, cm);
	return cm->module_ctx.super.get_virtual_size(mail, size_r);
}

static int
cache_get_physical_size(struct mail *mail, uoff_t *size_r)
{
	struct cache_mail *cm = CACHE_MAIL(private_of(mail));

	basalt_cache_look(mail, cm);
	return cm->module_ctx.super.get_physical_size(mail, size_r);
}

/* BODY is BODYSTRUCTURE without what RFC 3501 calls extension data. */
static bool
body_from_structure(struct mail *mail)
{
	struct index_mail *imail = INDEX_MAIL(mail);
	const char *error;
	string_t *str;

	if (imail->data.body != NULL || imail->data.bodystructure == NULL)
		return imail->data.body != NULL;
	str = str_new(imail->mail.data_pool, 256);
	if (imap_body_parse_from_bodystructure(imail->data.bodystructure, str, &error) < 0)
		return false;
	imail->data.body = str_c(str);
	return true;
}

/* True when a field that needs the body is at hand. */
static bool
body_field_known(struct mail *mail, enum mail_fetch_field field)
{
	const struct index_mail_data *data = data_of(mail);

	switch ((int)field) {
	case MAIL_FETCH_IMAP_BODY:
		return body_from_structure(mail);
	case MAIL_FETCH_IMAP_BODYSTRUCTURE:
		return data->bodystructure != NULL;
	case MAIL_FETCH_BODY_SNIPPET:
		return data->body_snippet != NULL;
	default:
		return true;
	}
}

static int
cache_get_special(struct mail *mail, enum mail_fetch_field field, const char **value_r)
{
	struct cache_mail *cm = CACHE_MAIL(private_of(mail));
	bool whole = cm->whole;
	int ret;

	if (basalt_cache_box(mail->box) == NULL || mail->saving)
		return cm->module_ctx.super.get_special(mail, field, value_r);
	basalt_cache_look(mail, cm);
	if (field == MAIL_FETCH_GUID && cm->guid != NULL) {
		*value_r = cm->guid;
		return 0;
	}
	if (!body_field_known(mail, field)) {
		drop_header_stream(mail);
		cm->whole = true;
	}
	ret = cm->module_ctx.super.get_special(mail, field, value_r);
	cm->whole = whole;
	if (ret == 0 && field == MAIL_FETCH_GUID && **value_r != '\0')
		cm->guid = p_strdup(private_of(mail)->data_pool, *value_r);
	return ret;
}

/* --- reading ahead, and closing --- */

/* Can the blobs answer all that is wanted of this mail? */
static bool
blobs_will_do(struct mail *mail, struct cache_mail *cm)
{
	const struct index_mail_data *data = data_of(mail);
	enum mail_fetch_field wanted = data->wanted_fields;

	basalt_cache_look(mail, cm);
	if ((data->access_part & (READ_BODY | PARSE_BODY)) != 0)
		return false;
	if ((wanted & MAIL_FETCH_IMAP_ENVELOPE) != 0 && data->envelope == NULL && cm->header_in == 0)
		return false;
	if ((wanted & (MAIL_FETCH_IMAP_BODY | MAIL_FETCH_IMAP_BODYSTRUCTURE)) != 0 && data->bodystructure == NULL)
		return false;
	if ((wanted & MAIL_FETCH_BODY_SNIPPET) != 0 && data->body_snippet == NULL)
		return false;
	if ((wanted & MAIL_FETCH_DATE) != 0 && data->sent_date.time == (uint32_t)-1 && cm->header_in == 0)
		return false;
	return (data->access_part == 0 && data->wanted_headers == NULL) || cm->header_in != 0;
}

static bool
cache_prefetch(struct mail *mail)
{
	struct cache_mail *cm = CACHE_MAIL(private_of(mail));
	struct mail_storage *storage = mail->box->storage;
	enum mail_fetch_field nonbody = storage->nonbody_access_fields;
	bool ready;

	if (user_of(mail)->exporting)
		return TRUE;
	if (basalt_cache_box(mail->box) != NULL) {
		if (blobs_will_do(mail, cm))
			return TRUE;
		/* Without them it is as Dovecot thinks: the file will be opened, and for what. */
		storage->nonbody_access_fields = 0;
		index_mail_update_access_parts_pre(mail);
		storage->nonbody_access_fields = nonbody;
	}
	cm->ahead = true;
	ready = cm->module_ctx.super.prefetch(mail);
	cm->ahead = false;
	return ready;
}

static void
cache_mail_close(struct mail *mail)
{
	struct cache_mail *cm = CACHE_MAIL(private_of(mail));

	if (mail->seq != 0 && basalt_cache_box(mail->box) != NULL)
		basalt_cache_learn(mail, cm);
	cm->module_ctx.super.close(mail);
	bs_wipe((char *)cm + sizeof(cm->module_ctx), sizeof(*cm) - sizeof(cm->module_ctx));
}

void
basalt_cache_mail_allocated(struct mail *mail)
{
	struct mail_private *pmail = private_of(mail);
	struct mail_vfuncs *v = pmail->vlast;
	struct cache_mail *cm;

	if (basalt_cache_box(mail->box) == NULL)
		return;
	cm = p_new(pmail->pool, struct cache_mail, 1);
	cm->module_ctx.super = *v;
	pmail->vlast = &cm->module_ctx.super;
	v->close = cache_mail_close;
	v->prefetch = cache_prefetch;
	v->get_parts = cache_get_parts;
	v->get_date = cache_get_date;
	v->get_received_date = cache_get_received_date;
	v->get_save_date = cache_get_save_date;
	v->get_virtual_size = cache_get_virtual_size;
	v->get_physical_size = cache_get_physical_size;
	v->get_header_stream = cache_get_header_stream;
	v->get_stream = cache_get_stream;
	v->get_special = cache_get_special;
	v->istream_opened = cache_istream_opened;
	MODULE_CONTEXT_SET(pmail, cache_mail_module, cm);
}
