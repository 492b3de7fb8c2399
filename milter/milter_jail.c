#include "milter_jail.h"

#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

#include "jail.h"
#include "log.h"

#define FILES 3000 /* clients of socketmap, databases, the resolver's sockets, with room to spare */
#define MEMORY ((uint64_t)1024 * 1024 * 1024) /* caches, the resolver, files of SQLite */
#define SESSION_MEMORY ((uint64_t)2 * 1024 * 1024) /* a stack, a session's facts, a packet */

/* Threads come and go; SQLite's files, MariaDB's and the resolver's sockets, syslog. No execve, no ptrace, no mount. */
static const char *const calls[] = {
	"clone", "clone3", "set_robust_list", "rseq", "sigaltstack", "set_tid_address", "sched_setaffinity",
	"accept4", "accept", "bind", "listen", "connect", "socket", "socketpair", "getsockname", "getpeername", "getsockopt", "setsockopt",
	"sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg", "shutdown", "ioctl", "select", "pselect6", "pipe2", "pipe", "eventfd2",
	"epoll_create1", "epoll_create", "epoll_ctl", "epoll_wait", "epoll_pwait", "dup", "dup2", "dup3",
	"open", "openat", "stat", "lstat", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getcwd",
	"pread64", "pwrite64", "fsync", "fdatasync", "ftruncate", "fallocate", "unlink", "unlinkat", "rename", "renameat",
	"renameat2", "mkdir", "mkdirat", "rmdir", "fchmod", "fchown", "getdents64", "fstatfs", "statfs", "flock", "umask",
	"getuid", "geteuid", "getgid", "getegid", "getppid", "uname", "sysinfo", "prlimit64", "getrlimit", "getrusage", "times",
	"clock_getres", "rt_sigtimedwait", "rt_sigpending", "rt_sigsuspend", "kill", "prctl", "msync", "mincore",
	"sched_getparam", "sched_getscheduler", "membarrier", NULL,
};

enum bs_err
milter_jail_start(uid_t uid, gid_t gid, gid_t more, unsigned sessions_max)
{
	uint64_t files = (uint64_t)sessions_max + FILES;
	enum bs_err err = BS_OK;

	if (bs_jail_raise_limit(RLIMIT_NOFILE, files) < files)
		bs_log(BS_LOG_WARNING, "fewer than %llu descriptors: not all sessions of milter.sessions_max will be served",
		    (unsigned long long)files);
	if (uid == (uid_t)-1)
		err = getuid() == 0 ? BS_ERR_PERM : BS_OK;
	else if (getuid() == 0)
		err = bs_jail_ids_and(uid, gid, more);
	else
		err = getuid() == uid ? BS_OK : BS_ERR_PERM;
	return err == BS_OK ? bs_jail_privileges() : err;
}

enum bs_err
milter_jail_worker(unsigned sessions_max)
{
	static const char *const *const allowed[] = { bs_jail_calls_base, calls, NULL };
	enum bs_err err = BS_OK;

	if (!bs_jail_sanitized())
		err = bs_jail_limit(RLIMIT_DATA, MEMORY + sessions_max * SESSION_MEMORY);
	return err == BS_OK ? bs_jail_calls(allowed, NULL) : err;
}
