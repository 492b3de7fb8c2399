/* jail: what a child has given up is gone. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail.h"

/* Runs f in a child; its wait status. */
static int
in_child(int (*f)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(f());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static enum bs_err
only_base(void)
{
	static const char *const refused[] = { "socket", NULL };
	const char *const *const allowed[] = { bs_jail_calls_base, NULL };
	enum bs_err err = bs_jail_privileges();

	return err == BS_OK ? bs_jail_calls(allowed, refused) : err;
}

static int
refused_call(void)
{
	if (only_base() != BS_OK)
		return 1;
	return socket(AF_UNIX, SOCK_STREAM, 0) == -1 && errno == EACCES ? 0 : 2;
}

static int
forbidden_call(void)
{
	if (only_base() != BS_OK)
		return 1;
	return chdir("/") == 0 ? 0 : 2;
}

static void
calls_outside_of_the_list_kill(void **state)
{
	int status;

	(void)state;
	if (bs_jail_sanitized())
		return;
	assert_int_equal(in_child(refused_call), 0);
	status = in_child(forbidden_call);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static int
other_ids(void)
{
	if (bs_jail_ids(64001, 64002) != BS_OK || bs_jail_privileges() != BS_OK)
		return 1;
	if (getuid() != 64001 || getegid() != 64002 || getgroups(0, NULL) != 0 || setuid(0) == 0)
		return 2;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 3;
}

static int
one_more_group(void)
{
	gid_t groups[2];

	if (bs_jail_ids_and(64001, 64002, 64003) != BS_OK)
		return 1;
	return getgroups(2, groups) == 1 && groups[0] == 64003 ? 0 : 2;
}

static void
ids_are_dropped_for_ever(void **state)
{
	(void)state;
	if (getuid() == 0) {
		assert_int_equal(in_child(other_ids), 0);
		assert_int_equal(in_child(one_more_group), 0);
	} else {
		assert_int_equal(bs_jail_ids(64001, 64002), BS_ERR_PERM);
	}
}

static int
limits(void)
{
	struct rlimit lim;

	if (bs_jail_limit(RLIMIT_NOFILE, 32) != BS_OK || getrlimit(RLIMIT_NOFILE, &lim) != 0)
		return 1;
	if (lim.rlim_cur != 32 || lim.rlim_max != 32)
		return 2;
	return bs_jail_raise_limit(RLIMIT_NOFILE, 16) == 32 ? 0 : 3;
}

static void
limits_are_set(void **state)
{
	(void)state;
	assert_int_equal(in_child(limits), 0);
}

static int
orphan(void)
{
	return bs_jail_die_with(1 + getppid()) == BS_OK ? 2 : 3;
}

static void
an_orphan_ends(void **state)
{
	int status = in_child(orphan);

	(void)state;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_outside_of_the_list_kill),
		cmocka_unit_test(ids_are_dropped_for_ever),
		cmocka_unit_test(limits_are_set),
		cmocka_unit_test(an_orphan_ends),
	};

	return cmocka_run_group_tests_name("jail", tests, NULL, NULL);
}
