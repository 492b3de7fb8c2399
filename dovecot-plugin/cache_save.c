#include "compat.h"

#include <ioloop.h>

#include <mail-cache-private.h>
#include <mail-index-transaction-private.h>

#include "cache_priv.h"
#include "iostream.h"
#include "keymem.h"

/* A mail of a transaction that is not committed: its UID comes at the end. */
struct pending {
	uint32_t seq;
	enum bs_cache_kind kind;
	struct bs_cache_items items; /* in the transaction's pool */
	uint8_t *prefix;             /* BS_CACHE_MESSAGE */
	size_t prefix_len;
};

struct cache_transaction {
	union mailbox_transaction_module_context module_ctx;
	pool_t pool;
	ARRAY(struct pending) pending;
};

static MODULE_CONTEXT_DEFINE_INIT(cache_trans_module, &mail_storage_module_register);
#define CACHE_TRANS(obj) MODULE_CONTEXT(obj, cache_trans_module)

/* --- what is pending --- */

static struct cache_transaction *
transaction_of(struct mailbox_transaction_context *t)
{
	struct cache_transaction *ct = CACHE_TRANS(t);

	if (ct == NULL) {
		pool_t pool = pool_alloconly_create(MEMPOOL_GROWING"basalt cache", 8192);
		ct = p_new(pool, struct cache_transaction, 1);
		ct->pool = pool;
		p_array_init(&ct->pending, pool, 8);
		MODULE_CONTEXT_SET(t, cache_trans_module, ct);
	}
	return ct;
}

static void
remember(struct mail_save_context *ctx, enum bs_cache_kind kind, const struct bs_cache_items *items,
    const struct bs_msg_prefix *prefix)
{
	struct cache_transaction *ct = transaction_of(ctx->transaction);
	struct pending *p = array_append_space(&ct->pending);

	p->seq = ctx->dest_mail->seq;
	p->kind = kind;
	for (unsigned i = 1; i < BS_CACHE_ITEMS; i++) {
		const struct bs_cache_bytes *item = &items->item[i];
		if (item->p != NULL)
			p->items.item[i] = (struct bs_cache_bytes){ p_memdup(ct->pool, item->p, item->len), item->len };
	}
	if (prefix != NULL) {
		p->prefix = p_memdup(ct->pool, prefix->bytes, prefix->len);
		p->prefix_len = prefix->len;
	}
}

/* --- at the end of the transaction --- */

static void
add_stored(struct mailbox_transaction_context *t, const struct pending *p, const struct bs_cache_place *place)
{
	struct basalt_user *bu = basalt_user_get(t->box->storage->user);
	uint8_t data_key[BS_KEY_LEN], key[BS_KEY_LEN];
	struct bs_msg_prefix prefix;

	/* The id is one that this process drew: the key that stands under it is the mail's. */
	if (bs_msg_prefix_parse(p->prefix, p->prefix_len, &prefix) == BS_OK &&
	    basalt_keymem_get(bu, prefix.message_id, data_key) && bs_cache_message_key(&prefix, data_key, key) == BS_OK)
		(void)basalt_cache_add(t, p->seq, BS_CACHE_MESSAGE, key, place, &prefix, &p->items);
	bs_wipe(data_key, sizeof(data_key));
	bs_wipe(key, sizeof(key));
}

static void
add_copied(struct mailbox_transaction_context *t, const struct pending *p, const struct bs_cache_place *place)
{
	struct basalt_user *bu = basalt_user_get(t->box->storage->user);
	struct bs_cache_items items = p->items;
	uint8_t subkey[BS_KEY_LEN], data_key[BS_KEY_LEN];

	if (items.item[BS_CACHE_MESSAGE_ID].p != NULL &&
	    basalt_keymem_get(bu, items.item[BS_CACHE_MESSAGE_ID].p, data_key))
		items.item[BS_CACHE_DATA_KEY] = (struct bs_cache_bytes){ data_key, BS_KEY_LEN };
	if (basalt_cache_subkey(bu, subkey))
		(void)basalt_cache_add(t, p->seq, BS_CACHE_ACCOUNT, subkey, place, NULL, &items);
	bs_wipe(data_key, sizeof(data_key));
	bs_wipe(subkey, sizeof(subkey));
}

static void
add_pending(struct mailbox_transaction_context *t, const struct cache_transaction *ct)
{
	const struct pending *p;
	struct bs_cache_place place;
	uint32_t uid;

	array_foreach(&ct->pending, p) {
		/* maildir drops what it would append when another process has its uidlist: the next sync finds the file. */
		if (p->seq < t->itrans->first_new_seq || p->seq > t->itrans->last_new_seq)
			continue;
		mail_index_lookup_uid(t->view, p->seq, &uid);
		if (!basalt_cache_place(t->box, t->changes->uid_validity, uid, &place))
			continue;
		T_BEGIN {
			if (p->kind == BS_CACHE_MESSAGE)
				add_stored(t, p, &place);
			else
				add_copied(t, p, &place);
		} T_END;
	}
}

static int
cache_save_commit_pre(struct mail_save_context *ctx)
{
	struct mailbox_transaction_context *t = ctx->transaction;
	struct cache_box *cbox = basalt_cache_box_any(t->box);
	struct cache_transaction *ct = CACHE_TRANS(t);
	int ret = cbox->module_ctx.super.transaction_save_commit_pre(ctx);

	/* UIDs are given now. */
	if (ret == 0 && ct != NULL)
		add_pending(t, ct);
	return ret;
}

static int
cache_transaction_commit(struct mailbox_transaction_context *t, struct mail_transaction_commit_changes *changes_r)
{
	struct cache_box *cbox = basalt_cache_box_any(t->box);
	struct cache_transaction *ct = CACHE_TRANS(t);
	int ret = cbox->module_ctx.super.transaction_commit(t, changes_r);

	if (ct != NULL)
		pool_unref(&ct->pool);
	return ret;
}

static void
cache_transaction_rollback(struct mailbox_transaction_context *t)
{
	struct cache_box *cbox = basalt_cache_box_any(t->box);
	struct cache_transaction *ct = CACHE_TRANS(t);

	cbox->module_ctx.super.transaction_rollback(t);
	if (ct != NULL)
		pool_unref(&ct->pool);
}

/* --- saving --- */

static void
unwatch(struct cache_box *cbox)
{
	if (cbox->watch != NULL)
		buffer_free(&cbox->watch->header);
	i_free(cbox->watch);
}

/* What LMTP logs of a mail it asks for when it is stored: caught as it passes, or the mail is opened again for it. */
static void
want_logged(struct mail_save_context *ctx)
{
	static const char *const names[] = { "From", "Message-ID", "Subject", NULL };
	struct mailbox_header_lookup_ctx *headers = mailbox_header_lookup_init(ctx->transaction->box, names);

	mail_add_temp_wanted_fields(ctx->dest_mail, 0, headers);
	mailbox_header_lookup_unref(&headers);
}

static int
cache_save_begin(struct mail_save_context *ctx, struct istream *input)
{
	struct mailbox *box = ctx->transaction->box;
	struct cache_box *cbox = basalt_cache_box_any(box);
	struct bs_cache_place place;

	unwatch(cbox);
	if (cbox->sealed)
		want_logged(ctx);
	if (cbox->module_ctx.super.save_begin(ctx, input) < 0)
		return -1;
	/* The mailbox's GUID is found out now: at the end its files are locked. */
	if (!cbox->sealed || !basalt_cache_place(box, 1, 1, &place))
		return 0;
	cbox->watch = i_new(struct basalt_watch, 1);
	cbox->watch->header = buffer_create_dynamic(default_pool, 4096);
	if (basalt_ostream_watch(ctx->data.output, cbox->watch))
		data_of(ctx->dest_mail)->save_envelope = TRUE; /* Dovecot parses the header anyway */
	else
		unwatch(cbox);
	return 0;
}

static void
take_saved(struct mail_save_context *ctx, const struct basalt_watch *watch)
{
	struct index_mail_data *data = data_of(ctx->dest_mail);
	struct bs_cache_bytes header = { .p = NULL };
	struct bs_cache_items items = { 0 };
	struct bs_msg_prefix prefix;
	time_t date;
	int zone;

	if (!watch->ended || bs_msg_prefix_parse(watch->prefix, watch->prefix_len, &prefix) != BS_OK)
		return;
	if (!data->hdr_size_set || data->hdr_size.physical_size > watch->header->used)
		return;
	header = (struct bs_cache_bytes){ watch->header->data, (size_t)data->hdr_size.physical_size };
	(void)mail_get_date(ctx->dest_mail, &date, &zone);
	/* Dovecot's own idea of it differs by the time that saving takes. */
	data->save_date = (time_t)-1;
	if (!basalt_cache_collect(ctx->dest_mail, &header, &items))
		return;
	items.item[BS_CACHE_DIGEST] = (struct bs_cache_bytes){ watch->tail, BS_HASH_LEN };
	remember(ctx, BS_CACHE_MESSAGE, &items, &prefix);
}

static int
cache_save_finish(struct mail_save_context *ctx)
{
	struct cache_box *cbox = basalt_cache_box_any(ctx->transaction->box);
	int ret = cbox->module_ctx.super.save_finish(ctx);

	if (ret == 0 && cbox->watch != NULL) {
		T_BEGIN {
			take_saved(ctx, cbox->watch);
		} T_END;
	}
	unwatch(cbox);
	return ret;
}

static void
cache_save_cancel(struct mail_save_context *ctx)
{
	struct cache_box *cbox = basalt_cache_box_any(ctx->transaction->box);

	cbox->module_ctx.super.save_cancel(ctx);
	unwatch(cbox);
}

/* --- copying --- */

/* Dovecot copies what is cached: blobs, which would not open there. What that says of our fields is not for the file. */
static void
fields_wanted(struct mailbox *box, const struct cache_box *cbox, bool wanted)
{
	for (unsigned kind = BS_CACHE_MESSAGE; kind <= BS_CACHE_ACCOUNT; kind++)
		box->cache->fields[cbox->field[kind]].field.decision = MAIL_CACHE_DECISION_FORCED |
		    (wanted ? MAIL_CACHE_DECISION_YES : MAIL_CACHE_DECISION_NO);
}

/* What the source's blobs say goes into one of the copy's own. */
static void
take_copied(struct mail_save_context *ctx, struct mail *src)
{
	struct cache_mail *cm = basalt_cache_mail(src);
	struct bs_cache_items items = { 0 };
	uint32_t have = cm->stored | cm->kept;
	uint8_t numbers[BS_CACHE_NUMBERS_LEN];
	struct bs_cache_numbers n;

	if (have == 0)
		return;
	if (!basalt_cache_collect(src, &cm->header, &items))
		return;
	/* RFC 8514, section 5: a copy's date of saving is its own. */
	if (items.item[BS_CACHE_NUMBERS].p != NULL && bs_cache_numbers_read(&items.item[BS_CACHE_NUMBERS], &n) == BS_OK) {
		n.saved = (uint64_t)ioloop_time;
		bs_cache_numbers_write(&n, numbers);
		items.item[BS_CACHE_NUMBERS] = (struct bs_cache_bytes){ numbers, sizeof(numbers) };
	}
	if ((have & CACHE_BIT(BS_CACHE_DIGEST)) != 0)
		items.item[BS_CACHE_DIGEST] = (struct bs_cache_bytes){ cm->digest, BS_HASH_LEN };
	if ((have & CACHE_BIT(BS_CACHE_MESSAGE_ID)) != 0)
		items.item[BS_CACHE_MESSAGE_ID] = (struct bs_cache_bytes){ cm->message_id, BS_ID_LEN };
	if ((have & CACHE_BIT(BS_CACHE_DATA_KEY)) != 0)
		basalt_keymem_put(basalt_user_get(src->box->storage->user), cm->message_id, cm->data_key);
	remember(ctx, BS_CACHE_ACCOUNT, &items, NULL);
}

static int
cache_copy(struct mail_save_context *ctx, struct mail *src)
{
	struct mailbox_transaction_context *t = ctx->transaction;
	struct cache_box *cbox = basalt_cache_box_any(t->box);
	struct cache_mail *cm = basalt_cache_mail(src);
	struct bs_cache_place place;
	bool to_write;
	int ret;

	if (!cbox->sealed)
		return cbox->module_ctx.super.copy(ctx, src);
	if (cm != NULL && basalt_cache_place(t->box, 1, 1, &place))
		(void)basalt_cache_look_header(src, cm);
	to_write = t->box->cache->field_header_write_pending;
	fields_wanted(t->box, cbox, false);
	ret = cbox->module_ctx.super.copy(ctx, src);
	fields_wanted(t->box, cbox, true);
	t->box->cache->field_header_write_pending = to_write;
	/* Copied by saving it anew: that has left its own. */
	if (ret == 0 && cm != NULL && !ctx->copying_via_save) {
		T_BEGIN {
			take_copied(ctx, src);
		} T_END;
	}
	return ret;
}

void
basalt_cache_save_allocated(struct mailbox_vfuncs *v)
{
	v->save_begin = cache_save_begin;
	v->save_finish = cache_save_finish;
	v->save_cancel = cache_save_cancel;
	v->copy = cache_copy;
	v->transaction_save_commit_pre = cache_save_commit_pre;
	v->transaction_commit = cache_transaction_commit;
	v->transaction_rollback = cache_transaction_rollback;
}
