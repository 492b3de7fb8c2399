#include "compat.h"

#include <message-part-serialize.h>

#include "cache_priv.h"

static pool_t
mail_pool(struct mail *mail)
{
	struct index_mail *imail = INDEX_MAIL(mail);

	return imail->mail.data_pool;
}

/* --- what Dovecot is told --- */

static const char *
item_text(struct index_mail *imail, const struct bs_cache_bytes *item)
{
	return p_strndup(imail->mail.data_pool, item->p, item->len);
}

static uint8_t
prime_numbers(struct mail *mail, const struct bs_cache_bytes *item)
{
	struct index_mail_data *data = data_of(mail);
	struct bs_cache_numbers n;
	uint8_t has = 0;

	if (bs_cache_numbers_read(item, &n) != BS_OK)
		return 0;
	if (n.physical_len != BS_CACHE_UNKNOWN && n.virtual_len != BS_CACHE_UNKNOWN) {
		has |= CACHE_HAS_SIZES;
		data->physical_size = n.physical_len;
		data->virtual_size = n.virtual_len;
	}
	if (n.received != BS_CACHE_UNKNOWN) {
		has |= CACHE_HAS_RECEIVED;
		data->received_date = (time_t)n.received;
	}
	if (n.saved != BS_CACHE_UNKNOWN) {
		has |= CACHE_HAS_SAVED;
		data->save_date = (time_t)n.saved;
	}
	if (n.sent != UINT32_MAX) {
		has |= CACHE_HAS_SENT;
		data->sent_date.time = n.sent;
		data->sent_date.timezone = n.sent_zone;
	}
	if (n.nuls != BS_CACHE_NULS_UNKNOWN) {
		mail->has_nuls = n.nuls == BS_CACHE_NULS_SOME;
		mail->has_no_nuls = n.nuls == BS_CACHE_NULS_NONE;
	}
	return has;
}

/* What stands in the listing's part goes where Dovecot looks before it looks into its own cache. */
static void
prime_list(struct mail *mail, struct cache_mail *cm, const struct bs_cache_items *items, enum bs_cache_kind kind)
{
	struct index_mail *imail = INDEX_MAIL(mail);
	struct index_mail_data *data = &imail->data;
	const struct bs_cache_bytes *item = items->item;

	if (item[BS_CACHE_NUMBERS].p != NULL)
		cm->numbers[kind - 1] = prime_numbers(mail, &item[BS_CACHE_NUMBERS]);
	if (item[BS_CACHE_ENVELOPE].p != NULL && data->envelope == NULL)
		data->envelope = item_text(imail, &item[BS_CACHE_ENVELOPE]);
	if (item[BS_CACHE_STRUCTURE].p != NULL && data->bodystructure == NULL)
		data->bodystructure = item_text(imail, &item[BS_CACHE_STRUCTURE]);
	if (item[BS_CACHE_SNIPPET].p != NULL && data->body_snippet == NULL)
		data->body_snippet = item_text(imail, &item[BS_CACHE_SNIPPET]);
	if (item[BS_CACHE_GUID].p != NULL && cm->guid == NULL)
		cm->guid = item_text(imail, &item[BS_CACHE_GUID]);
	if (item[BS_CACHE_MESSAGE_ID].p != NULL)
		memcpy(cm->message_id, item[BS_CACHE_MESSAGE_ID].p, BS_ID_LEN);
	if (item[BS_CACHE_DIGEST].p != NULL)
		memcpy(cm->digest, item[BS_CACHE_DIGEST].p, BS_HASH_LEN);
	if (item[BS_CACHE_DATA_KEY].p != NULL)
		memcpy(cm->data_key, item[BS_CACHE_DATA_KEY].p, BS_KEY_LEN);
	if (item[BS_CACHE_BLOB_KEY].p != NULL)
		memcpy(cm->blob_key, item[BS_CACHE_BLOB_KEY].p, BS_KEY_LEN);
}

static uint32_t
bits_of(const struct bs_cache_items *items)
{
	uint32_t bits = 0;

	for (unsigned i = 1; i < BS_CACHE_ITEMS; i++)
		bits |= items->item[i].p != NULL ? CACHE_BIT(i) : 0;
	return bits;
}

static bool
open_list(struct mail *mail, struct cache_mail *cm, const struct bs_cache_blob *blob, const uint8_t key[BS_KEY_LEN],
    const struct bs_cache_place *place)
{
	struct bs_cache_items items = { 0 };
	size_t size = blob->part[BS_CACHE_LIST].len;
	uint32_t *bits = blob->kind == BS_CACHE_MESSAGE ? &cm->stored : &cm->kept;
	uint8_t *plain;

	if (size == 0)
		return false;
	plain = t_malloc_no0(size);
	if (bs_cache_open(blob, BS_CACHE_LIST, key, place, plain, &items) != BS_OK)
		return false;
	if (blob->kind == BS_CACHE_MESSAGE) {
		/* Anybody can make one: keys, and whose they are, only the account's blob says. */
		items.item[BS_CACHE_MESSAGE_ID] = items.item[BS_CACHE_DATA_KEY] = (struct bs_cache_bytes){ .p = NULL };
		items.item[BS_CACHE_BLOB_KEY] = (struct bs_cache_bytes){ .p = NULL };
	}
	prime_list(mail, cm, &items, blob->kind);
	*bits = bits_of(&items);
	bs_wipe(plain, size);
	if (blob->part[BS_CACHE_HEADER].p != NULL)
		cm->header_in = blob->kind;
	return true;
}

static bool
parse_found(const struct cache_found *found, enum bs_cache_kind kind, struct bs_cache_blob *blob_r)
{
	return found->bytes[kind].len > 0 && bs_cache_parse(found->bytes[kind].p, found->bytes[kind].len, blob_r) == BS_OK &&
	    blob_r->kind == kind;
}

/* The first opening of what was made when the mail was stored: its key is kept under ours, so that it is the last. */
static void
open_stored_first(struct mail *mail, struct cache_mail *cm, const struct bs_cache_blob *blob, const uint8_t subkey[BS_KEY_LEN],
    const struct bs_cache_place *place)
{
	struct bs_cache_items items = { 0 };
	struct bs_msg_prefix prefix;

	if (bs_msg_prefix_parse(blob->prefix.p, blob->prefix.len, &prefix) != BS_OK ||
	    memcmp(prefix.account_id, place->account_id, BS_ID_LEN) != 0 ||
	    !basalt_cache_data_key(mail, &prefix, cm->data_key) ||
	    bs_cache_message_key(&prefix, cm->data_key, cm->blob_key) != BS_OK || !open_list(mail, cm, blob, cm->blob_key, place))
		return;
	memcpy(cm->message_id, prefix.message_id, BS_ID_LEN);
	items.item[BS_CACHE_MESSAGE_ID] = (struct bs_cache_bytes){ cm->message_id, BS_ID_LEN };
	items.item[BS_CACHE_DATA_KEY] = (struct bs_cache_bytes){ cm->data_key, BS_KEY_LEN };
	items.item[BS_CACHE_BLOB_KEY] = (struct bs_cache_bytes){ cm->blob_key, BS_KEY_LEN };
	cm->kept = bits_of(&items); /* known from now on, written down or not */
	if (!data_of(mail)->no_caching)
		(void)basalt_cache_add(mail->transaction, mail->seq, BS_CACHE_ACCOUNT, subkey, place, NULL, &items);
}

static void
look(struct mail *mail, struct cache_mail *cm)
{
	struct basalt_user *bu = user_of(mail);
	struct bs_cache_blob blob;
	struct bs_cache_place place;
	struct cache_found found;
	uint8_t subkey[BS_KEY_LEN];

	if (!basalt_cache_find(mail->transaction, mail->seq, &found) ||
	    !basalt_cache_place(mail->box, mail_index_get_header(mail->transaction->view)->uid_validity, mail->uid, &place) ||
	    !basalt_cache_subkey(bu, subkey))
		return;
	if (parse_found(&found, BS_CACHE_ACCOUNT, &blob))
		(void)open_list(mail, cm, &blob, subkey, &place);
	if ((cm->kept & CACHE_BIT(BS_CACHE_BLOB_KEY)) != 0) {
		if (parse_found(&found, BS_CACHE_MESSAGE, &blob))
			(void)open_list(mail, cm, &blob, cm->blob_key, &place);
	} else if (cm->kept == 0 && parse_found(&found, BS_CACHE_MESSAGE, &blob)) {
		open_stored_first(mail, cm, &blob, subkey, &place);
	}
	bs_wipe(subkey, sizeof(subkey));
}

void
basalt_cache_look(struct mail *mail, struct cache_mail *cm)
{
	if (cm->looked || mail->saving || mail->uid == 0 || mail->seq == 0 || basalt_cache_box(mail->box) == NULL)
		return;
	cm->looked = true;
	T_BEGIN {
		look(mail, cm);
	} T_END;
}

/* --- header and MIME parts --- */

static void
prime_parts(struct mail *mail, const struct bs_cache_bytes *item)
{
	struct index_mail *imail = INDEX_MAIL(mail);
	const char *error;

	if (item->p != NULL && imail->data.parts == NULL && imail->data.parser_ctx == NULL)
		imail->data.parts = message_part_deserialize(imail->mail.data_pool, item->p, item->len, &error);
}

static void
take_header(struct mail *mail, struct cache_mail *cm, const struct bs_cache_bytes *item)
{
	size_t len;
	uint8_t *text;

	if (item->p == NULL || bs_cache_header_len(item, &len) != BS_OK)
		return;
	text = p_malloc(mail_pool(mail), len);
	if (bs_cache_header_unpack(item, text, len) == BS_OK)
		cm->header = (struct bs_cache_bytes){ text, len };
}

static void
open_header(struct mail *mail, struct cache_mail *cm)
{
	struct bs_cache_items items = { 0 };
	struct bs_cache_blob blob;
	struct bs_cache_place place;
	struct cache_found found;
	uint8_t key[BS_KEY_LEN], *plain;

	if (cm->header_in == BS_CACHE_MESSAGE)
		memcpy(key, cm->blob_key, BS_KEY_LEN);
	else if (!basalt_cache_subkey(user_of(mail), key))
		return;
	if (basalt_cache_find(mail->transaction, mail->seq, &found) && parse_found(&found, cm->header_in, &blob) &&
	    basalt_cache_place(mail->box, mail_index_get_header(mail->transaction->view)->uid_validity, mail->uid, &place)) {
		plain = t_malloc_no0(blob.part[BS_CACHE_HEADER].len + 1);
		if (bs_cache_open(&blob, BS_CACHE_HEADER, key, &place, plain, &items) == BS_OK) {
			take_header(mail, cm, &items.item[BS_CACHE_HEADER_TEXT]);
			prime_parts(mail, &items.item[BS_CACHE_MIME_PARTS]);
			*(cm->header_in == BS_CACHE_MESSAGE ? &cm->stored : &cm->kept) |= bits_of(&items);
		}
	}
	bs_wipe(key, sizeof(key));
}

bool
basalt_cache_look_header(struct mail *mail, struct cache_mail *cm)
{
	basalt_cache_look(mail, cm);
	if (cm->header_in != 0 && !cm->header_opened) {
		cm->header_opened = true;
		T_BEGIN {
			open_header(mail, cm);
		} T_END;
	}
	return cm->header.p != NULL;
}

bool
basalt_cache_has_header(struct mail *mail)
{
	struct cache_mail *cm = basalt_cache_mail(mail);

	return cm != NULL && basalt_cache_box(mail->box) != NULL && !mail->saving && basalt_cache_look_header(mail, cm);
}
