#include "jail.h"

#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "log.h"

#define FILES 4096 /* clients of socketmap and milter, with room to spare */

static void
limit(int what, const char *name, rlim_t value)
{
	struct rlimit rl = { .rlim_cur = value, .rlim_max = value };

	if (setrlimit((__rlimit_resource_t)what, &rl) != 0)
		bs_log(BS_LOG_WARNING, "limit %s cannot be set", name);
}

void
jail_limits(void)
{
	struct rlimit files;

	limit(RLIMIT_CORE, "core", 0);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < FILES && (files.rlim_max >= FILES || getuid() == 0))
		limit(RLIMIT_NOFILE, "nofile", FILES);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		bs_log(BS_LOG_WARNING, "no_new_privs cannot be set");
}

enum bs_err
jail_become(uid_t uid, gid_t gid, gid_t more)
{
	if (uid == (uid_t)-1)
		return getuid() == 0 ? BS_ERR_PERM : BS_OK;
	if (getuid() != 0)
		return getuid() == uid ? BS_OK : BS_ERR_PERM;
	if (setgroups(more == (gid_t)-1 ? 0 : 1, &more) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
		return BS_ERR_PERM;
	if (setuid(0) == 0)
		return BS_ERR_PERM;
	return prctl(PR_SET_DUMPABLE, 0) == 0 ? BS_OK : BS_ERR_PERM;
}
