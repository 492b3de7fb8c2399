#include "compat.h"

#include <hex-binary.h>
#include <mail-deliver.h>
#include <mail-duplicate.h>
#include <mail-user.h>
#include <str.h>

#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto.h"
#include "deliver.h"
#include "plugin.h"

/* libdovecot-lda is there in lmtp and dovecot-lda alone. */
extern deliver_mail_func_t *mail_deliver_hook_set(deliver_mail_func_t *new_hook) __attribute__((weak));

#define DUPES_NAME "lda-dupes"

static deliver_mail_func_t *next_deliver;

/* mail_temp_dir may belong to all: what stands there already has to be ours. */
static bool
make_private(const char *dir)
{
	struct stat st;

	if (mkdir(dir, 0700) == 0)
		return true;
	return errno == EEXIST && lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
	    (st.st_mode & 077) == 0;
}

static const char *
account_dir(const char *private_dir, const char *account)
{
	uint8_t hash[BS_HASH_LEN];

	bs_sha256(account, strlen(account), hash);
	return t_strconcat(private_dir, "/", binary_to_hex(hash, 16), NULL);
}

/* The database is made in what is the user's home at this moment. */
static void
dupes_move(struct mail_deliver_context *ctx, const char *dir)
{
	struct mail_user *user = ctx->rcpt_user;
	const char *home, *old;
	bool looked_up;

	mail_duplicate_db_deinit(&ctx->dup_db);
	/* From when the account was not sealed. */
	if (mail_user_get_home(user, &old) > 0)
		i_unlink_if_exists(t_strconcat(old, "/.dovecot." DUPES_NAME, NULL));
	looked_up = user->home_looked_up;
	home = user->_home;
	user->_home = dir;
	user->home_looked_up = TRUE;
	ctx->dup_db = mail_duplicate_db_init(user, DUPES_NAME);
	user->_home = home;
	user->home_looked_up = looked_up;
}

/* Every <...@...> loses what is inside. */
static const char *
without_addresses(struct basalt_user *bu ATTR_UNUSED, enum log_type type ATTR_UNUSED, const char *message)
{
	string_t *out = t_str_new(256);
	const char *open, *close;

	while ((open = strchr(message, '<')) != NULL && (close = strchr(open, '>')) != NULL) {
		str_append_data(out, message, (size_t)(open - message));
		if (memchr(open, '@', (size_t)(close - open)) != NULL)
			str_append(out, "<...>");
		else
			str_append_data(out, open, (size_t)(close - open) + 1);
		message = close + 1;
	}
	str_append(out, message);
	return str_c(out);
}

static int
basalt_deliver(struct mail_deliver_context *ctx, struct mail_storage **storage_r)
{
	struct basalt_user *bu = basalt_user_get(ctx->rcpt_user);
	const char *private_dir, *dir;
	int ret;

	if (bu == NULL || !basalt_is_sealed(bu))
		return next_deliver(ctx, storage_r);
	private_dir = t_strdup_printf("%s/basalt-%lu", bu->user->set->mail_temp_dir, (unsigned long)geteuid());
	dir = account_dir(private_dir, bu->account);
	if (!make_private(private_dir) || !make_private(dir)) {
		e_error(ctx->event, "basalt: can't make or use %s: %m", dir);
		ctx->tempfail_error = "Temporary internal error";
		return -1;
	}
	dupes_move(ctx, dir);
	event_set_log_message_callback(ctx->event, without_addresses, bu);
	ret = next_deliver(ctx, storage_r);
	/* Most deliveries leave nothing to remember: not a folder for each account then. */
	(void)rmdir(dir);
	return ret;
}

void
basalt_deliver_hook(void)
{
	if (mail_deliver_hook_set == NULL || next_deliver != NULL)
		return;
	/* Now, not when the plugin starts: to come before Sieve, which is called first when it asks last. */
	next_deliver = mail_deliver_hook_set(basalt_deliver);
	if (next_deliver == NULL)
		(void)mail_deliver_hook_set(NULL);
}
