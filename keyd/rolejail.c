#include "rolejail.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include "jail.h"

static const char *const calls_front[] = {
	"accept4", "epoll_ctl", "epoll_wait", "epoll_pwait", "getsockopt", "setsockopt", "shutdown",
	"sendmsg", "recvmsg", /* clients go to an heir as descriptors */
	NULL,
};

/* An heir's end of a socketpair comes as a descriptor. */
static const char *const calls_vault[] = { "recvmsg", NULL };

/* SQLite's files, MariaDB's sockets and the resolver. No execve, no clone, no ptrace. */
static const char *const calls_database[] = {
	"open", "openat", "stat", "lstat", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getcwd",
	"pread64", "pwrite64", "fsync", "fdatasync", "ftruncate", "fallocate", "unlink", "unlinkat", "fchmod", "fchown",
	"getuid", "geteuid", "getgid", "getegid", "getdents64", "fstatfs", "statfs", "uname", "sysinfo", "flock",
	"socket", "connect", "bind", "getsockname", "getpeername", "getsockopt", "setsockopt", "sendmsg", "sendmmsg",
	"recvfrom", "recvmsg", "shutdown", "ioctl", "select", "pselect6", "prlimit64", "epoll_create1", "epoll_ctl",
	"epoll_wait", NULL,
};

/* Refused, but no reason to die: syslog(3) tries to connect again when the daemon it talked to is gone. */
static const char *const calls_refused[] = { "socket", "connect", NULL };

static const char *const *const calls_role[ROLE_COUNT] = {
	[ROLE_KEYSTORE] = calls_database, [ROLE_POLICY] = calls_database, [ROLE_FRONT] = calls_front,
	[ROLE_VAULT] = calls_vault,
};

bool
rolejail_lock_memory(void)
{
	if (bs_jail_sanitized() || bs_jail_raise_limit(RLIMIT_MEMLOCK, RLIM_INFINITY) != RLIM_INFINITY)
		return false;
	return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}

static enum bs_err
filter_calls(enum keyd_role role, bool syslog)
{
	const char *const *const allowed[] = { bs_jail_calls_base, calls_role[role], NULL };

	return bs_jail_calls(allowed, calls_role[role] != calls_database && syslog ? calls_refused : NULL);
}

enum bs_err
rolejail_enter(const struct rolejail *jail)
{
	bool drop = jail->ids.uid != (uid_t)-1;
	enum bs_err err = bs_jail_limit(RLIMIT_NOFILE, jail->files_max);

	if (err == BS_OK && drop)
		err = bs_jail_ids(jail->ids.uid, jail->ids.gid);
	if (err == BS_OK)
		err = bs_jail_privileges();
	if (err == BS_OK)
		err = bs_jail_die_with(jail->parent);
	/* No role ever forks. */
	if (err == BS_OK && drop && !bs_jail_sanitized())
		err = bs_jail_limit(RLIMIT_NPROC, 0);
	return err == BS_OK ? filter_calls(jail->role, jail->syslog) : err;
}
