#include "owner.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "jail.h"

/* Root's own link, in a folder where nobody else could have put it. */
static bool
is_roots(int dir, const struct stat *link)
{
	struct stat st;

	return link->st_uid == 0 && fstat(dir, &st) == 0 && st.st_uid == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* One step: a link that a mail user made leads to another user's tree, perhaps. -1: errno, ELOOP for such a link. */
static int
step(int dir, const char *name, bool last)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	if (S_ISLNK(st.st_mode) && !last && is_roots(dir, &st))
		return openat(dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (S_ISLNK(st.st_mode)) {
		errno = ELOOP;
		return -1;
	}
	return openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

static int
open_folder(const char *path)
{
	char *copy = strdup(path), *rest = NULL, *name = copy == NULL ? NULL : strtok_r(copy, "/", &rest), *next;
	int fd = copy == NULL ? -1 : open(path[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	for (; fd >= 0 && name != NULL; name = next) {
		int below, error;

		next = strtok_r(NULL, "/", &rest);
		below = step(fd, name, next == NULL);
		error = errno;
		(void)close(fd);
		errno = error;
		fd = below;
	}
	free(copy);
	return fd;
}

static int
look_at(const char *folder, struct stat *out)
{
	int fd = open_folder(folder);
	bool ok = fd >= 0 && fstat(fd, out) == 0;
	int error = errno;

	if (fd >= 0)
		(void)close(fd);
	if (ok)
		return CTL_OK;
	return error == ELOOP ? ctl_fail(BS_ERR_ARG, "%s is a symbolic link, or lies behind one that is not root's: name the folder itself", folder)
	                      : ctl_fail(BS_ERR_ARG, "%s: %s", folder, strerror(error));
}

static int
look(char *const *folders, size_t n, struct stat *out)
{
	for (size_t i = 0; i < n; i++) {
		struct stat st;
		int rc = look_at(folders[i], &st);

		if (rc != CTL_OK)
			return rc;
		if (st.st_uid == 0 || st.st_gid == 0)
			return ctl_fail(BS_ERR_ARG, "%s is root's, or of root's group: mail lies in folders of the user that Dovecot reads it as, and the "
			    "work is done as that user", folders[i]);
		if (i > 0 && (st.st_uid != out->st_uid || st.st_gid != out->st_gid))
			return ctl_fail(BS_ERR_ARG, "%s has another owner or group than %s: one at a time", folders[i], folders[0]);
		*out = st;
	}
	return CTL_OK;
}

int
ctl_become_owner(char *const *folders, size_t n)
{
	struct stat st = { 0 };
	enum bs_err err;
	int rc;

	if (geteuid() != 0)
		return CTL_OK;
	rc = look(folders, n, &st);
	if (rc != CTL_OK)
		return rc;
	err = bs_jail_ids(st.st_uid, st.st_gid);
	/* That user must not read our memory, where keys are. */
	if (err == BS_OK)
		err = bs_jail_privileges();
	return err == BS_OK ? CTL_OK : ctl_fail(err, "becoming the owner of %s: %s", folders[0], strerror(errno));
}

int
ctl_owner_look(char *const *folders, size_t n, struct ctl_owner *out)
{
	struct stat st = { 0 };
	int rc = geteuid() == 0 ? look(folders, n, &st) : CTL_OK;

	*out = (struct ctl_owner){ .uid = st.st_uid, .gid = st.st_gid, .switched = geteuid() == 0 };
	return rc;
}

bool
ctl_owner_act(const struct ctl_owner *owner)
{
	return !owner->switched || (setgroups(1, &owner->gid) == 0 && setegid(owner->gid) == 0 && seteuid(owner->uid) == 0);
}

bool
ctl_owner_rest(const struct ctl_owner *owner)
{
	return !owner->switched || (seteuid(0) == 0 && setegid(0) == 0);
}
