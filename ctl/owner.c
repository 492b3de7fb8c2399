#include "owner.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "jail.h"

static int
look(char *const *folders, size_t n, struct stat *out)
{
	for (size_t i = 0; i < n; i++) {
		struct stat st;

		/* A link leads to another user's, perhaps, and that is who we would become. */
		if (lstat(folders[i], &st) < 0)
			return ctl_fail(BS_ERR_ARG, "%s: %s", folders[i], strerror(errno));
		if (S_ISLNK(st.st_mode))
			return ctl_fail(BS_ERR_ARG, "%s is a symbolic link: name the folder itself", folders[i]);
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
