#include "compat.h"

#include <hex-binary.h>
#include <buffer.h>
#include <istream.h>
#include <mail-namespace.h>
#include <mail-storage-hooks.h>
#include <mail-storage-private.h>
#include <module-dir.h>
#include <str.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ahead.h"
#include "builtfor.h"
#include "bye.h"
#include "cache.h"
#include "crypto.h"
#include "deliver.h"
#include "exchange.h"
#include "expunge.h"
#include "frame.h"
#include "hibernate.h"
#include "keymem.h"
#include "packer.h"
#include "plugin.h"
#include "rawsync.h"
#include "read.h"
#include "records.h"
#include "replaced.h"
#include "room.h"
#include "save.h"
#include "session.h"
#include "sharing.h"
#include "substitute.h"
#include "surroundings.h"
#include "thread.h"

#define EXPORT __attribute__((visibility("default")))

void basalt_plugin_init(struct module *module);
void basalt_plugin_deinit(void);
EXPORT extern const char *basalt_plugin_version;

const char *basalt_plugin_version = DOVECOT_ABI_VERSION;

static MODULE_CONTEXT_DEFINE_INIT(basalt_user_module, &mail_user_module_register);

struct basalt_user *
basalt_user_get(struct mail_user *user)
{
	return MODULE_CONTEXT(user, basalt_user_module);
}

struct basalt_user *
basalt_box_owner(struct mailbox *box)
{
	struct mail_namespace *ns = mailbox_get_namespace(box);

	return ns->owner == NULL ? NULL : basalt_user_get(ns->owner);
}

bool
basalt_box_is_binary(struct mailbox *box)
{
	enum mail_storage_class_flags flags = box->storage->class_flags;

	return (flags & MAIL_STORAGE_CLASS_FLAG_BINARY_DATA) != 0 && (flags & MAIL_STORAGE_CLASS_FLAG_OPEN_STREAMS) == 0;
}

bool
basalt_is_sealed(struct basalt_user *bu)
{
	const struct bs_record *rec;
	const char *reason;

	return bu != NULL && (basalt_session_record(bu, &rec, &reason) != BS_OK || (rec->flags & BS_RECORD_FLAG_SEALED) != 0);
}

/* --- settings --- */

static int
read_site_key_file(const char *path, uint8_t pub[BS_SIGN_PUB_LEN], const char **error_r)
{
	char text[BS_SIGN_PUB_LEN * 2];
	buffer_t *bytes = t_buffer_create(BS_SIGN_PUB_LEN);
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd == -1) {
		*error_r = t_strdup_printf("basalt_site_key: can't open %s: %m", path);
		return -1;
	}
	n = read(fd, text, sizeof(text));
	i_close_fd(&fd);
	if (n != (ssize_t)sizeof(text) || hex_to_binary(t_strndup(text, sizeof(text)), bytes) < 0) {
		*error_r = t_strdup_printf("basalt_site_key: %s does not hold %d hex digits", path, BS_SIGN_PUB_LEN * 2);
		return -1;
	}
	memcpy(pub, bytes->data, BS_SIGN_PUB_LEN);
	return 0;
}

static bool
same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	    a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* lmtp makes a mail user for each delivery: read once, and again when the file is another one. */
static int
read_site_key(const char *path, uint8_t pub[BS_SIGN_PUB_LEN], const char **error_r)
{
	static char *known_path;
	static struct stat known;
	static uint8_t known_pub[BS_SIGN_PUB_LEN];
	struct stat now;

	if (stat(path, &now) < 0) {
		*error_r = t_strdup_printf("basalt_site_key: can't open %s: %m", path);
		return -1;
	}
	if (known_path == NULL || strcmp(known_path, path) != 0 || !same_file(&known, &now)) {
		i_free_and_null(known_path);
		if (read_site_key_file(path, known_pub, error_r) < 0)
			return -1;
		known_path = i_strdup(path);
		known = now;
	}
	memcpy(pub, known_pub, BS_SIGN_PUB_LEN);
	return 0;
}

static const char *
setting(struct mail_user *user, const char *name, const char **error_r)
{
	const char *value = mail_user_plugin_getenv(user, name);

	if (value != NULL && *value != '\0')
		return value;
	*error_r = t_strdup_printf("plugin { %s } is not set", name);
	return NULL;
}

/* The setting basalt_locked, or the userdb field of that name: "yes", or the text that the client is shown. */
static const char *
locked_text(struct mail_user *user)
{
	const char *value = mail_user_plugin_getenv(user, "basalt_locked");

	if (value == NULL || *value == '\0' || strcmp(value, "no") == 0)
		return NULL;
	return strcmp(value, "yes") == 0 ? "Mailbox is locked: its messages can't be decrypted in this session" : value;
}

/* The setting basalt_without_keys: "wait", or "plain" while a site enrols its users. */
static int
read_without_keys(struct basalt_user *bu, const char **error_r)
{
	const char *value = mail_user_plugin_getenv(bu->user, "basalt_without_keys");

	bu->clear_before_keys = value != NULL && strcmp(value, "plain") == 0;
	if (value == NULL || *value == '\0' || bu->clear_before_keys || strcmp(value, "wait") == 0)
		return 0;
	*error_r = t_strdup_printf("basalt_without_keys = %s: has to be wait or plain", value);
	return -1;
}

static int
user_settings(struct basalt_user *bu, const char **error_r)
{
	const char *site_key;

	bu->locked = locked_text(bu->user);
	bu->run_dir = setting(bu->user, "basalt_keyd", error_r);
	site_key = bu->run_dir == NULL ? NULL : setting(bu->user, "basalt_site_key", error_r);
	if (site_key == NULL || read_site_key(site_key, bu->site_pub, error_r) < 0 || read_without_keys(bu, error_r) < 0)
		return -1;
	return basalt_surroundings_check(bu->user, error_r);
}

/* --- users --- */

static void
basalt_user_deinit(struct mail_user *user)
{
	struct basalt_user *bu = basalt_user_get(user);

	basalt_hibernate_end(bu);
	basalt_session_end(bu);
	basalt_room_forget(bu);
	basalt_cache_user_deinit(bu);
	bu->module_ctx.super.deinit(user);
}

/* The user that Dovecot makes to hold mail on its way in. */
static bool
is_raw_user(const struct mail_user *user)
{
	return user->autocreated && strcmp(user->username, "raw mail user") == 0;
}

/* A session that wakes has a client to be told; a login has one that is answered. */
static void
start_session(struct basalt_user *bu)
{
	const char *error = "?";
	enum bs_err err = basalt_session_start(bu, &error);

	if (err == BS_OK)
		return;
	if (bu->user->session_restored)
		basalt_bye_not_resumed(bu, err);
	else
		bu->user->error = p_strdup(bu->user->pool, error);
}

static void
basalt_user_created(struct mail_user *user)
{
	struct mail_user_vfuncs *v = user->vlast;
	struct basalt_user *bu;
	const char *error = "?";

	basalt_not_dumpable();
	basalt_deliver_hook();
	if (is_raw_user(user)) {
		/* Its setting is the one by which lmtp spools what comes in, whatever the recipients' say. */
		if (basalt_check_temp_dir(user, &error) < 0)
			user->error = p_strdup_printf(user->pool, "basalt: %s", error);
		return;
	}
	bu = p_new(user->pool, struct basalt_user, 1);
	bu->user = user;
	bu->account = str_lcase(p_strdup(user->pool, user->username));
	bu->module_ctx.super = *v;
	user->vlast = &bu->module_ctx.super;
	v->deinit = basalt_user_deinit;
	MODULE_CONTEXT_SET(user, basalt_user_module, bu);

	if (user_settings(bu, &error) < 0)
		user->error = p_strdup_printf(user->pool, "basalt: %s", error);
	else if (bu->locked == NULL && !user->autocreated)
		start_session(bu);
}

/* --- the plugin --- */

static struct mail_storage_hooks hooks = {
	.mail_user_created = basalt_user_created,
	.mailbox_allocated = basalt_ahead_mailbox_allocated,
	.mail_allocated = basalt_mail_allocated,
};

/* What hooks in first is asked first: the index cache before the file. Dovecot wants one hook for each set of functions. */
static struct mail_storage_hooks early_hooks = {
	.mailbox_allocated = basalt_cache_mailbox_allocated,
	.mailbox_opened = basalt_cache_mailbox_opened,
	.mail_allocated = basalt_cache_mail_allocated,
};

static struct module early_module = {
	.path = (char *)"lib10_basalt_cache.so",
};

/* Of one mail's layers the first is outermost: it sees what the others answer. */
static struct mail_storage_hooks first_hooks = {
	.mail_allocated = basalt_substitute_mail_allocated,
};

static struct module first_module = {
	.path = (char *)"lib10_basalt.so",
};

/* One hook may add one layer of functions to a mailbox: Dovecot looks after each call which it has replaced. */
static struct mail_storage_hooks thread_hooks = {
	.mailbox_allocated = basalt_thread_mailbox_allocated,
	.mailbox_opened = basalt_thread_mailbox_opened,
};

static struct mail_storage_hooks sharing_hooks = {
	.mailbox_allocated = basalt_sharing_mailbox_allocated,
};

static struct mail_storage_hooks expunge_hooks = {
	.mail_allocated = basalt_expunge_mail_allocated,
};

/* Sealing is what happens to the bytes last, after zlib and whatever else: a late name in the order of plugins. */
static struct mail_storage_hooks late_hooks = {
	.mailbox_allocated = basalt_mailbox_allocated,
};

static struct module late_module = {
	.path = (char *)"lib95_basalt_plugin.so",
};

/* Between that and the storage: what dsync carries unopened. */
static struct mail_storage_hooks dsync_hooks = {
	.mailbox_allocated = basalt_rawsync_mailbox_allocated,
	.mail_allocated = basalt_rawsync_mail_allocated,
};

static struct module dsync_module = {
	.path = (char *)"lib96_basalt_plugin.so",
};

/* Next to Dovecot's own functions. */
static struct mail_storage_hooks last_hooks = {
	.mailbox_allocated = basalt_replaced_mailbox_allocated,
	.mail_allocated = basalt_frame_mail_allocated,
};

static struct module last_module = {
	.path = (char *)"lib97_basalt_plugin.so",
};

EXPORT void
basalt_plugin_init(struct module *module)
{
	const char *error = "?";

	/* Dovecot turns core files on again where this variable asks for it; ours would hold keys. */
	(void)unsetenv("PR_SET_DUMPABLE");
	basalt_no_cores();
	if (!basalt_built_for_this(&error))
		i_fatal("basalt: %s", error);
	if (bs_crypto_init_lazy() != BS_OK)
		i_fatal("basalt: the cryptographic libraries do not work on this machine");
	mail_storage_hooks_add_forced(&first_module, &first_hooks);
	mail_storage_hooks_add_forced(&early_module, &early_hooks);
	if (basalt_check_spool(&error) < 0)
		i_fatal("basalt: %s", error);
	mail_storage_hooks_add(module, &hooks);
	mail_storage_hooks_add(module, &thread_hooks);
	mail_storage_hooks_add(module, &sharing_hooks);
	mail_storage_hooks_add(module, &expunge_hooks);
	mail_storage_hooks_add_forced(&late_module, &late_hooks);
	mail_storage_hooks_add_forced(&dsync_module, &dsync_hooks);
	mail_storage_hooks_add_forced(&last_module, &last_hooks);
	basalt_hibernate_init();
}

EXPORT void
basalt_plugin_deinit(void)
{
	basalt_hibernate_deinit();
	mail_storage_hooks_remove(&last_hooks);
	mail_storage_hooks_remove(&dsync_hooks);
	mail_storage_hooks_remove(&late_hooks);
	mail_storage_hooks_remove(&expunge_hooks);
	mail_storage_hooks_remove(&sharing_hooks);
	mail_storage_hooks_remove(&thread_hooks);
	mail_storage_hooks_remove(&hooks);
	mail_storage_hooks_remove(&early_hooks);
	mail_storage_hooks_remove(&first_hooks);
	basalt_records_deinit();
	basalt_exchange_deinit();
	basalt_keymem_deinit();
	basalt_packer_deinit();
}
