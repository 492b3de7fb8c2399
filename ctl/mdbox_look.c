#include "mdbox_look.h"

#include <string.h>
#include <sys/stat.h>

#include "background.h"
#include "sweep.h"
#include "walk.h"

static bool
begins(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

static bool
is_lock(const char *name)
{
	size_t len = strlen(name), end = strlen(".lock");

	return len > end && strcmp(name + len - end, ".lock") == 0;
}

/* Of an mdbox, and made anew by Dovecot or carried over. */
static bool
is_dovecots(const char *name)
{
	return is_lock(name) || sweep_is_dbox(name, "m.") || begins(name, ".dovecot") || begins(name, ".temp.") || begins(name, "dovecot.index") || begins(name, "dovecot.map.index") || begins(name, "dovecot.list.index") ||
	    begins(name, "dovecot.mailbox.log") || begins(name, "dovecot-uidvalidity") || begins(name, "subscriptions") || begins(name, "temp.") ||
	    strcmp(name, "dovecot-acl-list") == 0;
}

static void
foreign(struct mdbox_look *look, const char *path, const char *what)
{
	if (!look->strict || look->foreign_what != NULL)
		return;
	look->foreign_what = what;
	(void)snprintf(look->foreign, sizeof(look->foreign), "%s", path);
}

static bool
on_file(void *ctx, size_t root, const char *path, const char *name)
{
	struct mdbox_look *look = ctx;
	struct stat st;

	(void)root;
	if (!is_dovecots(name))
		foreign(look, path, "is no file of an mdbox, and would not be carried over: move it elsewhere first");
	if (sweep_is_dbox(name, "m.") && lstat(path, &st) == 0 && st.st_mtime >= look->since) {
		look->bytes += (uint64_t)st.st_size;
		mailtally_add(&look->tally, path);
	}
	return !ctl_background_stopped();
}

static void
on_other(void *ctx, const char *path, const char *name)
{
	(void)name;
	foreign(ctx, path, "leads elsewhere (ALT= makes such a link): mail that lies in several places has to be carried over by hand");
}

static void
on_failed(void *ctx, const char *path, int error)
{
	struct mdbox_look *look = ctx;

	(void)path;
	(void)error;
	look->tally.unknown++;
}

enum bs_err
mdbox_look(struct mdbox_look *look, char *folder)
{
	struct ctl_walk_ops ops = { .ctx = look, .file = on_file, .other = on_other, .failed = on_failed };

	return ctl_walk(&folder, 1, 0, NULL, &ops);
}
