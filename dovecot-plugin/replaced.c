#include "compat.h"

#include <array.h>
#include <dbox-save.h>
#include <mail-storage-private.h>
#include <mdbox-file.h>
#include <mdbox-storage.h>
#include <ostream.h>

#include <sys/stat.h>

#include "replaced.h"

struct replaced_mailbox {
	union mailbox_module_context module_ctx;
};

/* A file that is appended to. */
struct appended {
	char *path;
	dev_t dev;
	ino_t ino;
};

struct replaced_transaction {
	union mailbox_transaction_module_context module_ctx;
	ARRAY(struct appended) files;
};

static MODULE_CONTEXT_DEFINE_INIT(replaced_module, &mail_storage_module_register);
#define REPLACED_MAILBOX(obj) MODULE_CONTEXT_REQUIRE(obj, replaced_module)
static MODULE_CONTEXT_DEFINE_INIT(replaced_trans_module, &mail_storage_module_register);
#define REPLACED_TRANS(obj) MODULE_CONTEXT(obj, replaced_trans_module)

/* --- what is appended to --- */

static struct replaced_transaction *
transaction_of(struct mailbox_transaction_context *t)
{
	struct replaced_transaction *rt = REPLACED_TRANS(t);

	if (rt == NULL) {
		rt = i_new(struct replaced_transaction, 1);
		i_array_init(&rt->files, 4);
		MODULE_CONTEXT_SET(t, replaced_trans_module, rt);
	}
	return rt;
}

static void
forget(struct mailbox_transaction_context *t)
{
	struct replaced_transaction *rt = REPLACED_TRANS(t);
	struct appended *file;

	if (rt == NULL)
		return;
	array_foreach_modifiable(&rt->files, file)
		i_free(file->path);
	array_free(&rt->files);
	i_free(rt);
	MODULE_CONTEXT_UNSET(t, replaced_trans_module);
}

/* A new file gets its number at the end, under the map's lock: until then nobody else knows it. */
static bool
file_number(const char *path, uint32_t *number_r)
{
	const char *name = strrchr(path, '/');

	return name != NULL && basalt_begins(name + 1, MDBOX_MAIL_FILE_PREFIX) &&
	    str_to_uint32(name + 1 + strlen(MDBOX_MAIL_FILE_PREFIX), number_r) == 0;
}

static int
remember(struct mailbox_transaction_context *t, struct ostream *output)
{
	struct replaced_transaction *rt = transaction_of(t);
	const char *path = o_stream_get_name(output);
	const struct appended *file;
	struct appended *added;
	struct stat st;
	uint32_t number;

	if (!file_number(path, &number))
		return 0;
	array_foreach(&rt->files, file) {
		if (strcmp(file->path, path) == 0)
			return 0;
	}
	if (fstat(o_stream_get_fd(output), &st) < 0) {
		mail_storage_set_critical(t->box->storage, "basalt: fstat(%s) failed: %m", path);
		return -1;
	}
	added = array_append_space(&rt->files);
	added->path = i_strdup(path);
	added->dev = st.st_dev;
	added->ino = st.st_ino;
	return 0;
}

/* --- is it still there --- */

/* The path of a file that is not any more what its name leads to, of the data stack; NULL: all are. */
static const char *
find_replaced(struct mailbox_transaction_context *t)
{
	struct replaced_transaction *rt = REPLACED_TRANS(t);
	const struct appended *file;
	struct stat st;

	if (rt == NULL)
		return NULL;
	array_foreach(&rt->files, file) {
		if (stat(file->path, &st) < 0 || st.st_dev != file->dev || st.st_ino != file->ino)
			return t_strdup(file->path);
	}
	return NULL;
}

/* The process has the old file open still, and would append to it the next time, too. */
static void
let_go(struct mail_storage *storage, const char *path)
{
	struct mdbox_storage *mstorage = MDBOX_STORAGE(storage);
	struct dbox_file *file;
	uint32_t number;

	if (!file_number(path, &number))
		return;
	file = mdbox_file_init(mstorage, number);
	dbox_file_close(file);
	dbox_file_unref(&file);
}

static int
refuse(struct mail_save_context *ctx, const char *path)
{
	struct mailbox *box = ctx->transaction->box;
	struct replaced_mailbox *rbox = REPLACED_MAILBOX(box);

	forget(ctx->transaction);
	rbox->module_ctx.super.transaction_save_rollback(ctx);
	let_go(box->storage, path);
	e_error(box->event, "basalt: mail not stored: %s was replaced meanwhile: mdbox has rebuilt its storage", path);
	mail_storage_set_error(box->storage, MAIL_ERROR_TEMP, "Mail can't be stored while its storage is repaired, try again later");
	return -1;
}

/* --- saving --- */

static int
replaced_save_begin(struct mail_save_context *ctx, struct istream *input)
{
	struct replaced_mailbox *rbox = REPLACED_MAILBOX(ctx->transaction->box);
	struct dbox_save_context *dctx = DBOX_SAVECTX(ctx);

	if (rbox->module_ctx.super.save_begin(ctx, input) < 0)
		return -1;
	return remember(ctx->transaction, dctx->dbox_output);
}

static int
commit_pre(struct mail_save_context *ctx)
{
	struct mailbox_transaction_context *t = ctx->transaction;
	struct replaced_mailbox *rbox = REPLACED_MAILBOX(t->box);
	const char *path = find_replaced(t);

	/* Mostly it is seen here, where the map knows nothing of the mail yet. */
	if (path != NULL)
		return refuse(ctx, path);
	if (rbox->module_ctx.super.transaction_save_commit_pre(ctx) < 0) {
		forget(t);
		return -1;
	}
	path = find_replaced(t);
	if (path != NULL)
		return refuse(ctx, path);
	forget(t);
	return 0;
}

static int
replaced_save_commit_pre(struct mail_save_context *ctx)
{
	int ret;

	T_BEGIN {
		ret = commit_pre(ctx);
	} T_END;
	return ret;
}

static void
replaced_save_rollback(struct mail_save_context *ctx)
{
	struct replaced_mailbox *rbox = REPLACED_MAILBOX(ctx->transaction->box);

	forget(ctx->transaction);
	rbox->module_ctx.super.transaction_save_rollback(ctx);
}

void
basalt_replaced_mailbox_allocated(struct mailbox *box)
{
	struct mailbox_vfuncs *v = box->vlast;
	struct replaced_mailbox *rbox;

	if (strcmp(box->storage->name, MDBOX_STORAGE_NAME) != 0)
		return;
	rbox = p_new(box->pool, struct replaced_mailbox, 1);
	rbox->module_ctx.super = *v;
	box->vlast = &rbox->module_ctx.super;
	v->save_begin = replaced_save_begin;
	v->transaction_save_commit_pre = replaced_save_commit_pre;
	v->transaction_save_rollback = replaced_save_rollback;
	MODULE_CONTEXT_SET(box, replaced_module, rbox);
}
