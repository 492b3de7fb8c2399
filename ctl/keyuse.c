#include "keyuse.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "background.h"
#include "msgfmt.h"
#include "sealed.h"
#include "sweep.h"
#include "walk.h"

/* --- one mail --- */

/* Sealed to a key of the account: counts it. */
static bool
count_own(struct keyuse *use, const struct bs_msg_prefix *prefix)
{
	bool found = false;

	if (prefix->suite == BS_MSG_SUITE_PLAIN || memcmp(prefix->account_id, use->record->account_id, BS_ID_LEN) != 0)
		return false;
	for (size_t i = 0; i < use->count; i++) {
		bool same = memcmp(prefix->key_id, use->keys[i].id, BS_ID_LEN) == 0;

		use->needed[i] += same;
		found |= same;
	}
	use->own += found;
	return found;
}

/* ctl_mail_fn. A flipped bit makes another key's or another account's mail of one that needs ours. */
static enum bs_err
look_at_mail(void *ctx, const struct ctl_mail *mail)
{
	struct keyuse *use = ctx;
	uint8_t bytes[BS_MSG_PREFIX_MAX];
	struct bs_msg_prefix prefix;
	struct ctl_look look;
	size_t got = 0;
	enum bs_err err = ctl_pread(use->fd, mail->off, bytes, mail->len < sizeof(bytes) ? (size_t)mail->len : sizeof(bytes), &got);

	if (err != BS_OK)
		return err;
	use->messages++;
	if (bs_msg_is_sealed(bytes, got)) {
		err = bs_msg_prefix_parse(bytes, got, &prefix);
		if (err != BS_OK || count_own(use, &prefix))
			return err;
	}
	err = ctl_sealed_look(use->fd, mail, &look);
	return err == BS_OK && look.damage != NULL ? BS_ERR_FORMAT : err;
}

/* --- the walk --- */

static void
complain(struct keyuse *use, const char *path, const char *text)
{
	use->unknown++;
	ctl_progress_complain(&use->progress, path, text);
}

static bool
on_file(void *ctx, size_t root, const char *path, const char *name)
{
	struct keyuse *use = ctx;
	enum bs_err err = BS_OK;

	(void)root;
	if (sweep_is_mail(path, name))
		err = ctl_mailfile_look(path, &use->fd, look_at_mail, use);
	if (err == BS_ERR_NOENT)
		complain(use, path, "was renamed or removed meanwhile");
	else if (err != BS_OK)
		complain(use, path, bs_err_text(err));
	if (ctl_progress_begin(&use->progress))
		fprintf(stderr, "%lld messages", (long long)use->messages);
	return !ctl_background_stopped();
}

static void
on_gone(void *ctx, const char *path, const char *name)
{
	if (sweep_is_mail(path, name))
		complain(ctx, path, "was renamed or removed meanwhile");
}

bool
keyuse_lies_below(const char *path, const char *folder)
{
	char real[PATH_MAX], above[PATH_MAX];
	size_t len;

	if (realpath(path, real) == NULL || realpath(folder, above) == NULL)
		return false;
	len = strlen(above);
	return strncmp(real, above, len) == 0 && (real[len] == '/' || real[len] == '\0');
}

/* Of a link: mail may lie where it leads, or will lead once that is mounted. */
static void
on_other(void *ctx, const char *path, const char *name)
{
	struct keyuse *use = ctx;
	struct stat st;

	if (lstat(path, &st) == 0 && !S_ISLNK(st.st_mode))
		return;
	if (stat(path, &st) < 0) {
		complain(use, path, "a symbolic link that leads nowhere");
		return;
	}
	if (!S_ISDIR(st.st_mode) && !sweep_is_mail(path, name))
		return;
	for (size_t i = 0; i < use->n; i++)
		if (keyuse_lies_below(path, use->folders[i]))
			return;
	complain(use, path, "a symbolic link out of the folders that are looked at: name the folder that it leads to, too");
}

static void
on_failed(void *ctx, const char *path, int error)
{
	complain(ctx, path, strerror(error));
}

int
keyuse_look(struct keyuse *use, char *const *folders, size_t n)
{
	const struct ctl_walk_ops ops = { .ctx = use, .file = on_file, .gone = on_gone, .other = on_other, .failed = on_failed };
	enum bs_err err;

	use->folders = folders;
	use->n = n;
	err = ctl_walk(folders, n, 0, NULL, &ops);
	ctl_progress_clear(&use->progress);
	if (ctl_background_stopped()) {
		fprintf(stderr, "basaltctl: ended by a signal\n");
		return CTL_TEMPFAIL;
	}
	return err == BS_OK ? CTL_OK : ctl_fail(err, "walking the tree: %s", bs_err_text(err));
}
