#include "compat.h"

#include <mail-storage-private.h>

#include "ahead.h"
#include "plugin.h"

struct ahead_mailbox {
	union mailbox_module_context module_ctx;
};

static MODULE_CONTEXT_DEFINE_INIT(ahead_storage_module, &mail_storage_module_register);
#define AHEAD_MAILBOX(obj) MODULE_CONTEXT_REQUIRE(obj, ahead_storage_module)

/* A mail that nothing but its index cache is wanted of is not opened ahead. */
static struct mail_search_context *
ahead_search_init(struct mailbox_transaction_context *t, struct mail_search_args *args,
    const enum mail_sort_type *sort_program, enum mail_fetch_field wanted_fields,
    struct mailbox_header_lookup_ctx *wanted_headers)
{
	struct ahead_mailbox *abox = AHEAD_MAILBOX(t->box);
	struct mail_search_context *ctx =
	    abox->module_ctx.super.search_init(t, args, sort_program, wanted_fields, wanted_headers);

	/* What mail_prefetch_count sets; more of it is the admin's choice. */
	if (ctx->max_mails < BASALT_AHEAD_MAX)
		ctx->max_mails = BASALT_AHEAD_MAX;
	return ctx;
}

void
basalt_ahead_mailbox_allocated(struct mailbox *box)
{
	struct mailbox_vfuncs *v = box->vlast;
	struct ahead_mailbox *abox;

	if (basalt_user_get(box->storage->user) == NULL || !basalt_box_is_binary(box))
		return;
	abox = p_new(box->pool, struct ahead_mailbox, 1);
	abox->module_ctx.super = *v;
	box->vlast = &abox->module_ctx.super;
	v->search_init = ahead_search_init;
	MODULE_CONTEXT_SET(box, ahead_storage_module, abox);
}
