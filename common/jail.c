#include "jail.h"

#include <errno.h>
#include <grp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

const char *const bs_jail_calls_base[] = {
	"read", "write", "readv", "writev", "close", "poll", "ppoll", "brk", "mmap", "munmap", "mremap", "madvise", "mprotect",
	"mlock", "munlock", "futex", "clock_gettime", "gettimeofday", "time", "clock_nanosleep", "nanosleep", "getrandom",
	"rt_sigreturn", "rt_sigprocmask", "rt_sigaction", "restart_syscall", "getpid", "gettid", "tgkill", "exit",
	"exit_group", "sched_yield", "sched_getaffinity", "fcntl", "sendto", "lseek", "fstat", "newfstatat", NULL,
};

bool
bs_jail_sanitized(void)
{
	return SANITIZED;
}

enum bs_err
bs_jail_limit(int resource, uint64_t n)
{
	struct rlimit lim = { .rlim_cur = n, .rlim_max = n };

	if (SANITIZED && resource == RLIMIT_CORE)
		return BS_OK;
	return setrlimit((__rlimit_resource_t)resource, &lim) == 0 ? BS_OK : BS_ERR_IO;
}

uint64_t
bs_jail_raise_limit(int resource, uint64_t want)
{
	struct rlimit lim;

	if (getrlimit((__rlimit_resource_t)resource, &lim) != 0)
		return 0;
	if (lim.rlim_cur >= want)
		return lim.rlim_cur;
	if (lim.rlim_max < want) {
		if (bs_jail_limit(resource, want) == BS_OK)
			return want;
		want = lim.rlim_max;
	}
	lim.rlim_cur = want;
	return setrlimit((__rlimit_resource_t)resource, &lim) == 0 ? want : 0;
}

enum bs_err
bs_jail_ids(uid_t uid, gid_t gid)
{
	return bs_jail_ids_and(uid, gid, (gid_t)-1);
}

enum bs_err
bs_jail_ids_and(uid_t uid, gid_t gid, gid_t more)
{
	if (setgroups(more == (gid_t)-1 ? 0 : 1, &more) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
		return BS_ERR_PERM;
	return setuid(0) != 0 ? BS_OK : BS_ERR_PERM; /* there must be no way back */
}

enum bs_err
bs_jail_privileges(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return BS_ERR_IO;
	if (!SANITIZED && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return BS_ERR_IO;
	return bs_jail_limit(RLIMIT_CORE, 0);
}

enum bs_err
bs_jail_die_with(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
		return BS_ERR_IO;
	/* It may have died before: then its child has another one. */
	if (getppid() != parent)
		_exit(1);
	return BS_OK;
}

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

enum bs_err
bs_jail_calls(const char *const *const *allowed, const char *const *refused)
{
	scmp_filter_ctx ctx;
	bool ok = true;

	if (SANITIZED)
		return BS_OK;
	ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (ctx == NULL)
		return BS_ERR_NOMEM;
	for (; ok && *allowed != NULL; allowed++)
		ok = add_rules(ctx, SCMP_ACT_ALLOW, *allowed);
	ok = ok && add_rules(ctx, SCMP_ACT_ERRNO(EACCES), refused) && seccomp_load(ctx) == 0;
	seccomp_release(ctx);
	return ok ? BS_OK : BS_ERR_IO;
}
