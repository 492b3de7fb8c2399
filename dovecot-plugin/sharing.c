#include "compat.h"

#include <acl-api-private.h>
#include <acl-plugin.h>
#include <mail-namespace.h>

#include <dlfcn.h>

#include "plugin.h"
#include "session.h"
#include "sharing.h"

#define WAY_OUT "Folders of an encrypted account can't be shared; a shared mailbox with members can (basaltctl key add-member)"
#define GRANT_REFUSED "no right was given: " WAY_OUT

struct sharing_mailbox {
	union mailbox_module_context module_ctx;
};

/* Of a list with an acl backend, whose functions are its own copy. */
struct sharing_list {
	union mailbox_list_module_context module_ctx;
	int (*update)(struct acl_object *aclobj, const struct acl_rights_update *update);
};

static MODULE_CONTEXT_DEFINE_INIT(sharing_storage_module, &mail_storage_module_register);
#define SHARING_MAILBOX(obj) MODULE_CONTEXT_REQUIRE(obj, sharing_storage_module)

static MODULE_CONTEXT_DEFINE_INIT(sharing_list_module, &mailbox_list_module_register);
#define SHARING_LIST(obj) MODULE_CONTEXT(obj, sharing_list_module)

/* Without a record nobody gets anything to read either: that is no reason to tell of sharing. */
static bool
is_known_to_be_sealed(struct basalt_user *owner)
{
	const struct bs_record *rec;
	const char *reason;

	return owner != NULL && basalt_session_record(owner, &rec, &reason) == BS_OK &&
	    (rec->flags & BS_RECORD_FLAG_SEALED) != 0;
}

/* --- the visitor --- */

static int
sharing_open(struct mailbox *box)
{
	struct sharing_mailbox *sbox = SHARING_MAILBOX(box);

	/* To store mail there needs no key. */
	if ((box->flags & MAILBOX_FLAG_SAVEONLY) == 0 && is_known_to_be_sealed(basalt_box_owner(box))) {
		mail_storage_set_error(box->storage, MAIL_ERROR_PERM, WAY_OUT);
		return -1;
	}
	return sbox->module_ctx.super.open(box);
}

static void
watch_visitor(struct mailbox *box)
{
	struct mailbox_vfuncs *v = box->vlast;
	struct sharing_mailbox *sbox = p_new(box->pool, struct sharing_mailbox, 1);

	sbox->module_ctx.super = *v;
	box->vlast = &sbox->module_ctx.super;
	v->open = sharing_open;
	MODULE_CONTEXT_SET(box, sharing_storage_module, sbox);
}

/* --- the owner --- */

static bool
is_owner(const struct acl_rights *to, const struct mail_user *owner)
{
	return to->id_type == ACL_ID_OWNER || (to->id_type == ACL_ID_USER && strcmp(to->identifier, owner->username) == 0);
}

static bool
gives_somebody_else(const struct acl_rights_update *update, const struct mail_user *owner)
{
	const char *const *rights = update->rights.rights;

	return !is_owner(&update->rights, owner) && rights != NULL && *rights != NULL &&
	    (update->modify_mode == ACL_MODIFY_MODE_ADD || update->modify_mode == ACL_MODIFY_MODE_REPLACE);
}

/* An IMAP client gets no more than "internal error" from the acl plugin: the reason goes before it, as a line of its own. */
static void
tell_client(struct mail_namespace *ns)
{
	struct mail_storage *storage = mail_namespace_get_default_storage(ns);

	if (storage->callbacks.notify_no != NULL)
		storage->callbacks.notify_no(NULL, WAY_OUT, storage->callback_context);
}

static int
sharing_update(struct acl_object *aclobj, const struct acl_rights_update *update)
{
	struct mailbox_list *list = aclobj->backend->list;
	struct sharing_list *slist = SHARING_LIST(list);
	struct mail_user *user = list->ns->user;

	if (list->ns->owner != NULL && gives_somebody_else(update, list->ns->owner) && !user->dsyncing &&
	    is_known_to_be_sealed(basalt_user_get(list->ns->owner))) {
		e_error(user->event, "basalt: " GRANT_REFUSED);
		tell_client(list->ns);
		return -1;
	}
	return slist->update(aclobj, update);
}

/* NULL: the acl plugin is not loaded, or has no say about this list. */
static struct acl_backend *
acl_backend_of(struct mailbox_list *list)
{
	typeof(acl_mailbox_list_module) *module = dlsym(RTLD_DEFAULT, "acl_mailbox_list_module");
	struct acl_mailbox_list *alist = module == NULL ? NULL : MODULE_CONTEXT(list, (*module));

	return alist == NULL ? NULL : alist->rights.backend;
}

static void
watch_owner(struct mailbox_list *list)
{
	struct acl_backend *backend = acl_backend_of(list);
	struct sharing_list *slist;

	if (backend == NULL || SHARING_LIST(list) != NULL)
		return;
	slist = p_new(list->pool, struct sharing_list, 1);
	slist->update = backend->v.object_update;
	backend->v.object_update = sharing_update;
	MODULE_CONTEXT_SET(list, sharing_list_module, slist);
}

void
basalt_sharing_mailbox_allocated(struct mailbox *box)
{
	struct mail_namespace *ns = mailbox_get_namespace(box);

	if (basalt_user_get(box->storage->user) == NULL)
		return;
	watch_owner(box->list);
	if (ns->type == MAIL_NAMESPACE_TYPE_SHARED && ns->owner != box->storage->user)
		watch_visitor(box);
}
