#include "compat.h"

#include <mail-index-private.h>
#include <mail-storage-private.h>

#include <unistd.h>

#include "plugin.h"
#include "thread.h"

/* index-thread.c's name for its transaction, and for its file. */
#define THREAD_REASON "mail_thread_init"
#define THREAD_SUFFIX ".thread"

struct thread_mailbox {
	union mailbox_module_context module_ctx;
	char *hidden_dir; /* index->dir while it is hidden */
	bool hides;  /* a THREAD's searches are under way */
	unsigned int searches;
};

static MODULE_CONTEXT_DEFINE_INIT(thread_storage_module, &mail_storage_module_register);
#define THREAD_MAILBOX(obj) MODULE_CONTEXT_REQUIRE(obj, thread_storage_module)

/*
 * mail_thread_init() searches the wanted mails, inside of that the mails that it does not know yet, and syncs its file
 * before and after the inner search. An index without a folder is one in memory: then it neither reads nor writes the
 * file. So the folder is hidden for those moments, in which nothing else is done with the index, and there while mails
 * are searched.
 */
static void
hide(struct mailbox *box, struct thread_mailbox *tbox)
{
	if (tbox->hidden_dir == NULL) {
		tbox->hidden_dir = box->index->dir;
		box->index->dir = NULL;
	}
}

static void
show(struct mailbox *box, struct thread_mailbox *tbox)
{
	if (tbox->hidden_dir != NULL) {
		box->index->dir = tbox->hidden_dir;
		tbox->hidden_dir = NULL;
	}
}

static bool
is_thread(const struct mailbox_transaction_context *t)
{
	return t->reason != NULL && strcmp(t->reason, THREAD_REASON) == 0;
}

static struct mail_search_context *
thread_search_init(struct mailbox_transaction_context *t, struct mail_search_args *args,
    const enum mail_sort_type *sort_program, enum mail_fetch_field wanted_fields,
    struct mailbox_header_lookup_ctx *wanted_headers)
{
	struct thread_mailbox *tbox = THREAD_MAILBOX(t->box);
	struct mail_search_context *ctx;

	show(t->box, tbox);
	if (!is_thread(t))
		return tbox->module_ctx.super.search_init(t, args, sort_program, wanted_fields, wanted_headers);
	if (tbox->searches == 0)
		tbox->hides = basalt_is_sealed(basalt_box_owner(t->box));
	ctx = tbox->module_ctx.super.search_init(t, args, sort_program, wanted_fields, wanted_headers);
	if (tbox->searches++ == 0 && tbox->hides)
		hide(t->box, tbox);
	return ctx;
}

static bool
thread_search_next(struct mail_search_context *ctx, struct mail **mail_r, bool *tryagain_r)
{
	struct thread_mailbox *tbox = THREAD_MAILBOX(ctx->transaction->box);

	show(ctx->transaction->box, tbox);
	return tbox->module_ctx.super.search_next_nonblock(ctx, mail_r, tryagain_r);
}

static int
thread_search_deinit(struct mail_search_context *ctx)
{
	struct mailbox *box = ctx->transaction->box;
	struct thread_mailbox *tbox = THREAD_MAILBOX(box);
	bool thread = is_thread(ctx->transaction);
	int ret;

	show(box, tbox);
	ret = tbox->module_ctx.super.search_deinit(ctx);
	if (thread && --tbox->searches > 0 && tbox->hides)
		hide(box, tbox);
	return ret;
}

void
basalt_thread_mailbox_allocated(struct mailbox *box)
{
	struct mailbox_vfuncs *v = box->vlast;
	struct thread_mailbox *tbox;

	/* Of every storage: virtual mailboxes have such an index, too. */
	if (basalt_user_get(box->storage->user) == NULL)
		return;
	tbox = p_new(box->pool, struct thread_mailbox, 1);
	tbox->module_ctx.super = *v;
	box->vlast = &tbox->module_ctx.super;
	v->search_init = thread_search_init;
	v->search_next_nonblock = thread_search_next;
	v->search_deinit = thread_search_deinit;
	MODULE_CONTEXT_SET(box, thread_storage_module, tbox);
}

void
basalt_thread_mailbox_opened(struct mailbox *box)
{
	struct basalt_user *owner = basalt_box_owner(box);
	const char *path;

	/* A delivery leaves the file of before to whoever looks into the mailbox next. */
	if (owner == NULL || box->index == NULL || MAIL_INDEX_IS_IN_MEMORY(box->index) ||
	    strcmp(box->storage->user->service, "lmtp") == 0)
		return;
	path = t_strconcat(box->index->filepath, THREAD_SUFFIX, NULL);
	if (access(path, F_OK) == 0 && basalt_is_sealed(owner))
		i_unlink_if_exists(path);
}
