#include "compat.h"

#include <imap-bodystructure.h>
#include <message-part.h>
#include <message-part-serialize.h>
#include <str.h>

#include "cache_priv.h"
#include "compress.h"
#include "session.h"
#include "read.h"
#include "substitute.h"

#define LINE_MAX_KEPT 8000 /* below MAIL_READ_FULL_BLOCK_SIZE */

static struct bs_cache_bytes
text_item(const char *text)
{
	return (struct bs_cache_bytes){ (const uint8_t *)text, text == NULL ? 0 : strlen(text) };
}

static bool
parts_have_nuls(const struct message_part *part)
{
	for (; part != NULL; part = part->next) {
		if ((part->flags & MESSAGE_PART_FLAG_HAS_NULS) != 0 || parts_have_nuls(part->children))
			return true;
	}
	return false;
}

uint8_t
basalt_cache_numbers(struct mail *mail, struct bs_cache_numbers *n)
{
	const struct index_mail_data *data = data_of(mail);
	uint8_t has = 0;

	*n = (struct bs_cache_numbers){
		.physical_len = BS_CACHE_UNKNOWN, .virtual_len = BS_CACHE_UNKNOWN,
		.received = BS_CACHE_UNKNOWN, .saved = BS_CACHE_UNKNOWN, .sent = UINT32_MAX,
	};
	if (data->physical_size != UOFF_T_MAX && data->virtual_size != UOFF_T_MAX) {
		has |= CACHE_HAS_SIZES;
		n->physical_len = data->physical_size;
		n->virtual_len = data->virtual_size;
	}
	if (data->received_date != (time_t)-1) {
		has |= CACHE_HAS_RECEIVED;
		n->received = (uint64_t)data->received_date;
	}
	if (data->save_date != (time_t)-1) {
		has |= CACHE_HAS_SAVED;
		n->saved = (uint64_t)data->save_date;
	}
	if (data->sent_date.time != (uint32_t)-1) {
		has |= CACHE_HAS_SENT;
		n->sent = data->sent_date.time;
		n->sent_zone = data->sent_date.timezone;
	}
	if (data->parts != NULL)
		n->nuls = parts_have_nuls(data->parts) ? BS_CACHE_NULS_SOME : BS_CACHE_NULS_NONE;
	return has;
}

static const char *
structure_of(struct mail *mail)
{
	const struct index_mail_data *data = data_of(mail);
	const char *error;
	string_t *str;

	if (data->bodystructure != NULL || !data->parsed_bodystructure || data->parts == NULL)
		return data->bodystructure;
	str = t_str_new(512);
	return imap_bodystructure_write(data->parts, str, TRUE, &error) < 0 ? NULL : str_c(str);
}

static struct bs_cache_bytes
pack_header(const struct bs_cache_bytes *header)
{
	static uint8_t *work; /* the compressor's: it holds nothing between two calls */
	size_t size = BS_CACHE_HEADER_BOUND(header->len);
	uint8_t *out;

	if (work == NULL) {
		if (bs_compress_init() != BS_OK)
			return (struct bs_cache_bytes){ .p = NULL };
		work = i_malloc(BS_COMPRESS_WORK_LEN);
	}
	out = t_malloc_no0(size);
	size = bs_cache_header_pack(work, header->p, header->len, out, size);
	return (struct bs_cache_bytes){ size > 0 ? out : NULL, size };
}

/* Dovecot takes a line that is longer than its buffer in pieces, and answers differently then: such a mail it gets from the file. */
static bool
has_long_line(const struct bs_cache_bytes *header)
{
	const uint8_t *p = header->p, *end = p + header->len, *lf;

	for (; end - p >= LINE_MAX_KEPT; p = lf + 1) {
		lf = memchr(p, '\n', LINE_MAX_KEPT);
		if (lf == NULL)
			return true;
	}
	return false;
}

bool
basalt_cache_collect(struct mail *mail, const struct bs_cache_bytes *header, struct bs_cache_items *items)
{
	const struct index_mail_data *data = data_of(mail);
	struct bs_cache_bytes *item = items->item;
	struct bs_cache_numbers n;
	uint8_t *numbers = t_malloc_no0(BS_CACHE_NUMBERS_LEN);
	buffer_t *parts;

	if (has_long_line(header))
		return false;
	if (basalt_cache_numbers(mail, &n) != 0) {
		bs_cache_numbers_write(&n, numbers);
		item[BS_CACHE_NUMBERS] = (struct bs_cache_bytes){ numbers, BS_CACHE_NUMBERS_LEN };
	}
	item[BS_CACHE_ENVELOPE] = text_item(data->envelope);
	item[BS_CACHE_STRUCTURE] = text_item(structure_of(mail));
	item[BS_CACHE_SNIPPET] = text_item(data->body_snippet);
	if (header->len > 0 && header->len <= BS_CACHE_HEADER_MAX)
		item[BS_CACHE_HEADER_TEXT] = pack_header(header);
	if (data->parts != NULL) {
		parts = t_buffer_create(256);
		message_part_serialize(data->parts, parts);
		item[BS_CACHE_MIME_PARTS] = (struct bs_cache_bytes){ parts->data, parts->used };
	}
	return true;
}

/* --- a mail that was read --- */

static struct bs_cache_bytes
header_of_file(struct basalt_sealed *sm)
{
	uint64_t len = basalt_sealed_sizes(sm)->header_len, at = 0;
	struct bs_cache_bytes header = { .p = NULL };
	const uint8_t *data;
	uint8_t *text;
	size_t n;

	if (len == 0 || len > BS_CACHE_HEADER_MAX)
		return header;
	text = t_malloc_no0((size_t)len);
	for (; at < len; at += n) {
		if (basalt_sealed_read(sm, at, &data, &n) != BS_OK || n == 0)
			return header;
		n = I_MIN(n, (size_t)(len - at));
		memcpy(text + at, data, n);
	}
	return (struct bs_cache_bytes){ text, (size_t)len };
}

/* What the sealed file itself says, when it was read. */
struct of_file {
	struct bs_cache_bytes header;
	bool sealed; /* the others count */
	uint8_t message_id[BS_ID_LEN], digest[BS_HASH_LEN], data_key[BS_KEY_LEN];
};

static void
collect_file(struct mail *mail, const struct cache_mail *cm, struct of_file *file)
{
	bool outermost = false;
	struct basalt_sealed *sm = cm->read ? basalt_mail_sealed(mail, &outermost) : NULL;
	const struct bs_msg_prefix *prefix;

	if (sm == NULL || basalt_sealed_open(sm) != BS_OK)
		return;
	/* Else another plugin (zlib) made another mail of it: the header is not what clients see. */
	if (outermost && cm->header_in == 0)
		file->header = header_of_file(sm);
	prefix = basalt_sealed_prefix(sm);
	file->sealed = prefix->suite != BS_MSG_SUITE_PLAIN && basalt_sealed_digest(sm, file->digest) == BS_OK &&
	    basalt_session_has_key(basalt_sealed_user(sm), prefix, file->data_key);
	memcpy(file->message_id, prefix->message_id, BS_ID_LEN);
}

static void
fixed_item(struct bs_cache_items *items, enum bs_cache_item number, bool known, const uint8_t *bytes, size_t len)
{
	items->item[number] = (struct bs_cache_bytes){ known ? bytes : NULL, known ? len : 0 };
}

/* All that the account blob is to hold: what is known, but for what stands in the message blob. */
static bool
collect(struct mail *mail, const struct cache_mail *cm, const struct of_file *file, struct bs_cache_items *items)
{
	uint32_t have = cm->stored | cm->kept;
	bool ours = (have & CACHE_BIT(BS_CACHE_MESSAGE_ID)) != 0;

	if (!basalt_cache_collect(mail, cm->header_in == BS_CACHE_ACCOUNT ? &cm->header : &file->header, items))
		return false;
	items->item[BS_CACHE_GUID] = text_item(cm->guid);
	fixed_item(items, BS_CACHE_MESSAGE_ID, ours || file->sealed, ours ? cm->message_id : file->message_id, BS_ID_LEN);
	fixed_item(items, BS_CACHE_DIGEST, file->sealed || (have & CACHE_BIT(BS_CACHE_DIGEST)) != 0,
	    file->sealed ? file->digest : cm->digest, BS_HASH_LEN);
	fixed_item(items, BS_CACHE_DATA_KEY, file->sealed || (have & CACHE_BIT(BS_CACHE_DATA_KEY)) != 0,
	    file->sealed ? file->data_key : cm->data_key, BS_KEY_LEN);
	fixed_item(items, BS_CACHE_BLOB_KEY, cm->stored != 0, cm->blob_key, BS_KEY_LEN);
	for (unsigned i = 1; i < BS_CACHE_ITEMS; i++) {
		if ((cm->stored & CACHE_BIT(i)) != 0 && i != BS_CACHE_NUMBERS)
			items->item[i] = (struct bs_cache_bytes){ .p = NULL };
	}
	/* In the message blob, which need not have been opened so far. */
	if (cm->header_in == BS_CACHE_MESSAGE)
		items->item[BS_CACHE_HEADER_TEXT] = (struct bs_cache_bytes){ .p = NULL };
	return true;
}

static bool
is_news(struct mail *mail, const struct cache_mail *cm, const struct bs_cache_items *items)
{
	uint32_t have = cm->stored | cm->kept, now = 0;
	struct bs_cache_numbers n;

	for (unsigned i = 1; i < BS_CACHE_ITEMS; i++)
		now |= items->item[i].p != NULL ? CACHE_BIT(i) : 0;
	if (bs_cache_sealed_len(NULL, items) > BS_CACHE_BLOB_MAX)
		now &= ~CACHE_BIT(BS_CACHE_HEADER_TEXT);
	return (now & ~have) != 0 || (basalt_cache_numbers(mail, &n) & ~(cm->numbers[0] | cm->numbers[1])) != 0;
}

static void
learn(struct mail *mail, struct cache_mail *cm)
{
	struct of_file file = { 0 };
	struct bs_cache_items items = { 0 };
	struct bs_cache_place place;
	uint8_t subkey[BS_KEY_LEN];
	time_t date;

	basalt_cache_look(mail, cm);
	/* The file is open: now it costs little to know when it came. */
	if (cm->read)
		(void)mail_get_received_date(mail, &date);
	if (cm->read || data_of(mail)->parts != NULL || cm->header_in == BS_CACHE_ACCOUNT)
		(void)basalt_cache_look_header(mail, cm);
	collect_file(mail, cm, &file);
	if (collect(mail, cm, &file, &items) && is_news(mail, cm, &items) &&
	    basalt_cache_place(mail->box, mail_index_get_header(mail->transaction->view)->uid_validity, mail->uid, &place) &&
	    basalt_cache_subkey(user_of(mail), subkey)) {
		(void)basalt_cache_add(mail->transaction, mail->seq, BS_CACHE_ACCOUNT, subkey, &place, NULL, &items);
		bs_wipe(subkey, sizeof(subkey));
	}
	bs_wipe(&file, sizeof(file));
}

/* Whether it may be worth while: of most mails nothing was asked that their blobs did not know. */
static bool
may_be_news(struct mail *mail, const struct cache_mail *cm)
{
	const struct index_mail_data *data = data_of(mail);
	uint32_t have = cm->stored | cm->kept;
	struct bs_cache_numbers n;

	if (cm->read)
		return true;
	return (data->envelope != NULL && (have & CACHE_BIT(BS_CACHE_ENVELOPE)) == 0) ||
	    (data->bodystructure != NULL && (have & CACHE_BIT(BS_CACHE_STRUCTURE)) == 0) ||
	    (data->body_snippet != NULL && (have & CACHE_BIT(BS_CACHE_SNIPPET)) == 0) ||
	    (cm->guid != NULL && (have & CACHE_BIT(BS_CACHE_GUID)) == 0) ||
	    (basalt_cache_numbers(mail, &n) & ~(cm->numbers[0] | cm->numbers[1])) != 0;
}

void
basalt_cache_learn(struct mail *mail, struct cache_mail *cm)
{
	const struct index_mail_data *data = data_of(mail);

	if (mail->saving || mail->uid == 0 || mail->expunged || data->no_caching || basalt_substitute_in_use(mail) ||
	    user_of(mail)->session == NULL || user_of(mail)->exporting || !may_be_news(mail, cm))
		return;
	mail_storage_last_error_push(mail->box->storage);
	T_BEGIN {
		learn(mail, cm);
	} T_END;
	mail_storage_last_error_pop(mail->box->storage);
}
