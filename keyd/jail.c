#include "jail.h"

#include <errno.h>
#include <grp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* What every role needs: its descriptors, memory, the clock, random bytes, an end. */
static const char *const calls_base[] = {
	"read", "write", "readv", "writev", "close", "poll", "ppoll", "brk", "mmap", "munmap", "mremap", "madvise", "mprotect",
	"mlock", "munlock", "futex", "clock_gettime", "gettimeofday", "time", "clock_nanosleep", "nanosleep", "getrandom",
	"rt_sigreturn", "rt_sigprocmask", "rt_sigaction", "restart_syscall", "getpid", "gettid", "tgkill", "exit",
	"exit_group", "sched_yield", "sched_getaffinity", "fcntl", "sendto", "lseek", "fstat", "newfstatat", NULL,
};

static const char *const calls_front[] = {
	"accept4", "epoll_ctl", "epoll_wait", "epoll_pwait", "getsockopt", "setsockopt", "shutdown", NULL,
};

/* SQLite's files, MariaDB's sockets and the resolver. No execve, no clone, no ptrace. */
static const char *const calls_keystore[] = {
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
	[ROLE_KEYSTORE] = calls_keystore, [ROLE_FRONT] = calls_front,
};

static bool
add_rules(scmp_filter_ctx ctx, uint32_t action, const char *const *names)
{
	for (; names != NULL && *names != NULL; names++) {
		int nr = seccomp_syscall_resolve_name(*names);

		/* Some do not exist on every architecture: nothing to allow then. */
		if (nr == __NR_SCMP_ERROR || nr < 0)
			continue;
		if (seccomp_rule_add(ctx, action, nr, 0) != 0)
			return false;
	}
	return true;
}

static enum bs_err
filter_calls(enum keyd_role role)
{
	scmp_filter_ctx ctx;
	bool ok;

	if (SANITIZED)
		return BS_OK;
	ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (ctx == NULL)
		return BS_ERR_NOMEM;
	ok = add_rules(ctx, SCMP_ACT_ALLOW, calls_base) && add_rules(ctx, SCMP_ACT_ALLOW, calls_role[role])
	    && (role == ROLE_KEYSTORE || add_rules(ctx, SCMP_ACT_ERRNO(EACCES), calls_refused)) && seccomp_load(ctx) == 0;
	seccomp_release(ctx);
	return ok ? BS_OK : BS_ERR_IO;
}

bool
jail_lock_memory(void)
{
	if (SANITIZED || jail_raise_limit(RLIMIT_MEMLOCK, RLIM_INFINITY) != RLIM_INFINITY)
		return false;
	return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}

uint64_t
jail_raise_limit(int resource, uint64_t want)
{
	struct rlimit lim;

	if (getrlimit((__rlimit_resource_t)resource, &lim) != 0)
		return 0;
	if (lim.rlim_cur >= want)
		return lim.rlim_cur;
	if (lim.rlim_max < want) {
		struct rlimit all = { .rlim_cur = want, .rlim_max = want };

		if (setrlimit((__rlimit_resource_t)resource, &all) == 0)
			return want;
		want = lim.rlim_max;
	}
	lim.rlim_cur = want;
	return setrlimit((__rlimit_resource_t)resource, &lim) == 0 ? want : 0;
}

static bool
drop_ids(const struct keyd_ids *ids)
{
	if (ids->uid == (uid_t)-1)
		return true;
	if (setgroups(0, NULL) != 0 || setresgid(ids->gid, ids->gid, ids->gid) != 0
	    || setresuid(ids->uid, ids->uid, ids->uid) != 0)
		return false;
	return setuid(0) != 0; /* there must be no way back */
}

static bool
set_limit(int resource, rlim_t n)
{
	struct rlimit lim = { .rlim_cur = n, .rlim_max = n };

	return setrlimit((__rlimit_resource_t)resource, &lim) == 0;
}

enum bs_err
jail_enter(const struct jail *jail)
{
	if (!set_limit(RLIMIT_NOFILE, jail->files_max))
		return BS_ERR_IO;
	if (!drop_ids(&jail->ids))
		return BS_ERR_PERM;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return BS_ERR_IO;
	if (!SANITIZED && (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || !set_limit(RLIMIT_CORE, 0)))
		return BS_ERR_IO;
	/* After the ids: changing them clears it. The parent may have died before: then its child has another one. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
		return BS_ERR_IO;
	if (getppid() != jail->parent)
		_exit(1);
	/* No role ever forks. */
	if (!SANITIZED && jail->ids.uid != (uid_t)-1 && !set_limit(RLIMIT_NPROC, 0))
		return BS_ERR_IO;
	return filter_calls(jail->role);
}
