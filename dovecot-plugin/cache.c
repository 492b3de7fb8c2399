#include "compat.h"

#include <mail-cache-private.h>

#include "cache_priv.h"
#include "session.h"

static MODULE_CONTEXT_DEFINE_INIT(cache_storage_module, &mail_storage_module_register);
#define CACHE_BOX(obj) MODULE_CONTEXT(obj, cache_storage_module)

static const char *const field_names[] = { NULL, "basalt.message", "basalt.account" };

struct cache_box *
basalt_cache_box_any(struct mailbox *box)
{
	return CACHE_BOX(box);
}

struct cache_box *
basalt_cache_box(struct mailbox *box)
{
	struct cache_box *cbox = CACHE_BOX(box);

	return cbox != NULL && cbox->sealed ? cbox : NULL;
}

/* --- finding and adding --- */

static bool
box_guid(struct mailbox *box, struct cache_box *cbox)
{
	struct mailbox_metadata metadata;

	if (cbox->guid_state == GUID_UNKNOWN) {
		mail_storage_last_error_push(box->storage);
		cbox->guid_state = GUID_NONE;
		if (mailbox_get_metadata(box, MAILBOX_METADATA_GUID, &metadata) == 0 && !guid_128_is_empty(metadata.guid)) {
			cbox->guid_state = GUID_KNOWN;
			memcpy(cbox->guid, metadata.guid, sizeof(cbox->guid));
		}
		mail_storage_last_error_pop(box->storage);
	}
	return cbox->guid_state == GUID_KNOWN;
}

bool
basalt_cache_place(struct mailbox *box, uint32_t uid_validity, uint32_t uid, struct bs_cache_place *place_r)
{
	struct cache_box *cbox = basalt_cache_box(box);

	if (cbox == NULL || uid == 0 || uid_validity == 0 || cbox->owner->record.name[0] == '\0' || !box_guid(box, cbox))
		return false;
	memcpy(place_r->account_id, cbox->owner->record.account_id, BS_ID_LEN);
	memcpy(place_r->mailbox_guid, cbox->guid, sizeof(place_r->mailbox_guid));
	place_r->uid_validity = uid_validity;
	place_r->uid = uid;
	place_r->epoch = BS_CACHE_EPOCH;
	return true;
}

bool
basalt_cache_find(struct mailbox_transaction_context *t, uint32_t seq, struct cache_found *found_r)
{
	struct cache_box *cbox = basalt_cache_box(t->box);
	struct mail_cache_lookup_iterate_ctx iter;
	struct mail_cache_iterate_field field;
	bool any = false;

	i_zero(found_r);
	mail_cache_lookup_iter_init(t->cache_view, seq, &iter);
	while (mail_cache_lookup_iter_next(&iter, &field) > 0) {
		for (unsigned kind = BS_CACHE_MESSAGE; kind <= BS_CACHE_ACCOUNT; kind++) {
			struct bs_cache_bytes *b = &found_r->bytes[kind];

			/* The newest comes first, but for what this transaction added, which comes last. */
			if (field.field_idx != cbox->field[kind] || field.size == 0 || (b->len > 0 && !iter.inmemory_field_idx))
				continue;
			b->p = memcpy(t_malloc_no0(field.size), field.data, field.size);
			b->len = field.size;
			any = true;
		}
	}
	return any;
}

bool
basalt_cache_add(struct mailbox_transaction_context *t, uint32_t seq, enum bs_cache_kind kind,
    const uint8_t key[BS_KEY_LEN], const struct bs_cache_place *place, const struct bs_msg_prefix *prefix,
    const struct bs_cache_items *items)
{
	struct cache_box *cbox = basalt_cache_box(t->box);
	struct bs_cache_items fewer = *items;
	size_t size = bs_cache_sealed_len(prefix, &fewer), len;
	uint8_t *blob;

	if (size > BS_CACHE_BLOB_MAX) {
		fewer.item[BS_CACHE_HEADER_TEXT] = (struct bs_cache_bytes){ .p = NULL };
		size = bs_cache_sealed_len(prefix, &fewer);
	}
	if (size > BS_CACHE_BLOB_MAX)
		return false;
	blob = t_malloc_no0(size);
	if (bs_cache_seal(kind, key, place, prefix, &fewer, blob, size, &len) != BS_OK)
		return false;
	mail_cache_add(t->cache_trans, seq, cbox->field[kind], blob, len);
	return true;
}

/* --- mailboxes --- */

/*
 * Fields of Dovecot's own are what the account's mailbox had before the account was sealed. A purge takes out what nobody
 * wants; from then on they are refused, whatever the settings say.
 */
static void
forbid_fields(struct mailbox *box, const struct cache_box *cbox)
{
	struct mail_cache *cache = box->cache;
	bool foreign = false;

	(void)mail_cache_open_and_verify(cache);
	for (unsigned i = 0; i < cache->fields_count; i++) {
		struct mail_cache_field_private *field = &cache->fields[i];
		bool in_file = cache->field_file_map[i] != (uint32_t)-1;

		if (i == cbox->field[BS_CACHE_MESSAGE] || i == cbox->field[BS_CACHE_ACCOUNT])
			continue;
		foreign |= in_file && field->field.decision != MAIL_CACHE_DECISION_NO;
		field->field.decision = MAIL_CACHE_DECISION_NO | MAIL_CACHE_DECISION_FORCED;
	}
	if (foreign && !MAIL_CACHE_IS_UNUSABLE(cache))
		(void)mail_cache_purge(cache, (uint32_t)-1, "basalt: only sealed fields");
}

static void
register_fields(struct mailbox *box, struct cache_box *cbox)
{
	for (unsigned kind = BS_CACHE_MESSAGE; kind <= BS_CACHE_ACCOUNT; kind++) {
		struct mail_cache_field field = {
			.name = field_names[kind],
			.type = MAIL_CACHE_FIELD_VARIABLE_SIZE,
			.decision = MAIL_CACHE_DECISION_YES | MAIL_CACHE_DECISION_FORCED,
		};

		mail_cache_register_fields(box->cache, &field, 1);
		cbox->field[kind] = field.idx;
	}
}

/* A visitor of somebody's folder has none of its keys, and must not leave in its cache what it has just stored there. */
static void
disable_of_another(struct mailbox *box)
{
	struct basalt_user *owner = basalt_box_owner(box);

	if (owner != NULL && basalt_box_is_binary(box) && basalt_session_kind(owner) != BASALT_ACCOUNT_PLAIN)
		box->mail_cache_disabled = TRUE;
}

void
basalt_cache_mailbox_opened(struct mailbox *box)
{
	struct cache_box *cbox = CACHE_BOX(box);

	if (box->cache == NULL)
		return;
	if (cbox == NULL) {
		disable_of_another(box);
		return;
	}
	/* Unless the account is known to be a plain one, nothing readable is cached. */
	switch (basalt_session_kind(cbox->owner)) {
	case BASALT_ACCOUNT_PLAIN:
		return;
	case BASALT_ACCOUNT_UNKNOWN:
		box->mail_cache_disabled = TRUE;
		return;
	case BASALT_ACCOUNT_SEALED:
		break;
	}
	box->mail_cache_disabled = TRUE;
	box->storage->nonbody_access_fields |= MAIL_FETCH_MESSAGE_PARTS | MAIL_FETCH_IMAP_BODY | MAIL_FETCH_IMAP_BODYSTRUCTURE |
	    MAIL_FETCH_IMAP_ENVELOPE | MAIL_FETCH_DATE | MAIL_FETCH_BODY_SNIPPET;
	register_fields(box, cbox);
	forbid_fields(box, cbox);
	cbox->sealed = true;
}

static void
cache_mailbox_close(struct mailbox *box)
{
	struct cache_box *cbox = CACHE_BOX(box);

	cbox->sealed = false;
	cbox->guid_state = GUID_UNKNOWN;
	cbox->module_ctx.super.close(box);
}

void
basalt_cache_mailbox_allocated(struct mailbox *box)
{
	struct basalt_user *owner = basalt_box_owner(box);
	struct mailbox_vfuncs *v = box->vlast;
	struct cache_box *cbox;

	/* A mailbox of somebody else: this session's keys are not its. */
	if (owner == NULL || owner != basalt_user_get(box->storage->user) || !basalt_box_is_binary(box))
		return;
	cbox = p_new(box->pool, struct cache_box, 1);
	cbox->owner = owner;
	cbox->module_ctx.super = *v;
	box->vlast = &cbox->module_ctx.super;
	v->close = cache_mailbox_close;
	basalt_cache_save_allocated(v);
	MODULE_CONTEXT_SET(box, cache_storage_module, cbox);
}
