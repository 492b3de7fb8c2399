/* rolejail: what each role of keyd may call no more, in the jail that it really has. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/jail.h"
#include "keyd/rolejail.h"

#define UNUSED_ID 64001 /* nobody's */

enum outcome { RUNS, KILLED, REFUSED, FAILS, BROKEN };

static const char *const roles[ROLE_COUNT] = {
	[ROLE_KEYSTORE] = "keystore", [ROLE_KDF] = "kdf", [ROLE_FRONT] = "front", [ROLE_VAULT] = "vault", [ROLE_POLICY] = "policy",
};

/* --- the calls: each works outside of a jail --- */

/* Of a program that is not there: one that is would die of its loader's own calls, as if execve had been stopped. */
static long
call_execve(void)
{
	char *none[] = { NULL };

	return syscall(SYS_execve, "/nonexistent", none, none) == -1 && errno == ENOENT ? 0 : -1;
}

static long
call_execveat(void)
{
	char *none[] = { NULL };

	return syscall(SYS_execveat, AT_FDCWD, "/nonexistent", none, none, 0) == -1 && errno == ENOENT ? 0 : -1;
}

static long
call_openat(void)
{
	return syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY);
}

static long
call_open(void)
{
#ifdef SYS_open
	return syscall(SYS_open, "/dev/null", O_RDONLY);
#else
	return call_openat();
#endif
}

static long
call_socket(void)
{
	return syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
}

static long
call_ptrace(void)
{
	return syscall(SYS_ptrace, PTRACE_TRACEME, 0, NULL, NULL);
}

static long
call_process_vm_readv(void)
{
	char from[1] = "", to[1];
	struct iovec remote = { from, 1 }, local = { to, 1 };

	return syscall(SYS_process_vm_readv, getpid(), &local, 1, &remote, 1, 0);
}

static long
call_clone(void)
{
	long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	return pid;
}

static long
call_kill(void)
{
	return syscall(SYS_kill, getpid(), 0);
}

static long
call_memfd_create(void)
{
	return syscall(SYS_memfd_create, "m", 0);
}

static long
call_prctl(void)
{
	return syscall(SYS_prctl, 3 /* PR_GET_DUMPABLE */, 0, 0, 0, 0);
}

/* A message to where nobody is, or from where nothing is. */
static long
call_sendmsg(void)
{
	struct msghdr msg = { .msg_iovlen = 0 };

	return syscall(SYS_sendmsg, -1, &msg, 0) == -1 && errno == EBADF ? 0 : -1;
}

static long
call_recvmsg(void)
{
	struct msghdr msg = { .msg_iovlen = 0 };

	return syscall(SYS_recvmsg, -1, &msg, 0) == -1 && errno == EBADF ? 0 : -1;
}

#define DATABASE_MAY (1u << ROLE_KEYSTORE | 1u << ROLE_POLICY)
#define FRONT_MAY (1u << ROLE_FRONT)
#define VAULT_MAY (1u << ROLE_VAULT)

static const struct {
	const char *name;
	long (*run)(void);
	unsigned may; /* roles that need it, 1 << role */
} calls[] = {
	{ "execve", call_execve, 0 },
	{ "execveat", call_execveat, 0 },
	{ "openat", call_openat, DATABASE_MAY },
	{ "open", call_open, DATABASE_MAY },
	{ "socket", call_socket, DATABASE_MAY },
	{ "ptrace", call_ptrace, 0 },
	{ "process_vm_readv", call_process_vm_readv, 0 },
	{ "clone", call_clone, 0 },
	{ "kill", call_kill, 0 },
	{ "memfd_create", call_memfd_create, 0 },
	{ "prctl", call_prctl, 0 },
	{ "sendmsg", call_sendmsg, DATABASE_MAY | FRONT_MAY }, /* a front passes its clients to an heir */
	{ "recvmsg", call_recvmsg, DATABASE_MAY | FRONT_MAY | VAULT_MAY },
};
#define N_CALLS (sizeof(calls) / sizeof(calls[0]))

/* --- a child that makes one of them --- */

/* role ROLE_COUNT: outside of any jail. */
static void
child(unsigned role, bool syslog_is_used, pid_t parent, long (*call)(void))
{
	const bool root = getuid() == 0;
	const struct rolejail jail = {
		.ids = { root ? UNUSED_ID : (uid_t)-1, root ? UNUSED_ID : (gid_t)-1 },
		.role = (enum keyd_role)role,
		.files_max = 32,
		.parent = parent,
		.syslog = syslog_is_used,
	};

	if (role != ROLE_COUNT && rolejail_enter(&jail) != BS_OK)
		_exit(BROKEN);
	_exit(call() >= 0 ? RUNS : errno == EACCES ? REFUSED : FAILS);
}

static enum outcome
outcome_of(unsigned role, bool syslog_is_used, long (*call)(void))
{
	pid_t parent = getpid(), pid = fork();
	int status = -1;

	if (pid == 0)
		child(role, syslog_is_used, parent, call);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		return KILLED;
	assert_true(WIFEXITED(status));
	return (enum outcome)WEXITSTATUS(status);
}

static void
expect(unsigned role, bool syslog_is_used, size_t i, enum outcome wanted)
{
	enum outcome got = outcome_of(role, syslog_is_used, calls[i].run);

	if (got != wanted)
		fail_msg("%s: %s: outcome %u, not %u", role == ROLE_COUNT ? "outside" : roles[role], calls[i].name, got, wanted);
}

static void
outside_of_the_jail_all_of_them_work(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_CALLS; i++)
		expect(ROLE_COUNT, false, i, RUNS);
}

/* One test a role: *state is its number. */
static void
in_the_jail_they_kill(void **state)
{
	unsigned role = (unsigned)(uintptr_t)*state;

	for (size_t i = 0; i < N_CALLS && !bs_jail_sanitized(); i++)
		expect(role, false, i, (calls[i].may & 1u << role) != 0 ? RUNS : KILLED);
}

/* The one call that may fail without death, so that syslog(3) may lose its daemon; still there is no socket. */
static void
with_syslog_a_socket_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_CALLS && !bs_jail_sanitized(); i++) {
		for (unsigned role = ROLE_KDF; role <= ROLE_VAULT; role++)
			expect(role, true, i, (calls[i].may & 1u << role) != 0 ? RUNS : calls[i].run == call_socket ? REFUSED : KILLED);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outside_of_the_jail_all_of_them_work),
		{ "the keystore", in_the_jail_they_kill, NULL, NULL, (void *)ROLE_KEYSTORE },
		{ "who reads the policy", in_the_jail_they_kill, NULL, NULL, (void *)ROLE_POLICY },
		{ "a kdf worker", in_the_jail_they_kill, NULL, NULL, (void *)ROLE_KDF },
		{ "a front", in_the_jail_they_kill, NULL, NULL, (void *)ROLE_FRONT },
		{ "the vault", in_the_jail_they_kill, NULL, NULL, (void *)ROLE_VAULT },
		cmocka_unit_test(with_syslog_a_socket_is_refused),
	};

	return cmocka_run_group_tests_name("rolejail", tests, NULL, NULL);
}
