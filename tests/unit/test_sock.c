/* sock: deadlines that hold, and whose socket file is replaced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/sock.h"

#define OWNER ((uid_t)-1), ((gid_t)-1)

static char dir[] = "/tmp/basalt-test-sock-XXXXXX";
static char path[64];

static int
setup(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlink(path);
	return rmdir(dir);
}

static int
clean(void **state)
{
	(void)state;
	(void)unlink(path);
	return 0;
}

static int64_t
in_ms(int64_t ms)
{
	return bs_now_ms() + ms;
}

static void
assert_flags(int fd)
{
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
}

static void
test_talk(void **state)
{
	int listener = -1, client = -1, server;
	struct stat st;
	char text[6] = "";
	pid_t pid = 0;
	uid_t uid = 4711;
	gid_t gid = 4711;

	(void)state;
	assert_int_equal(bs_sock_listen(path, 0620, OWNER, &listener), BS_OK);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0620);
	assert_int_equal(bs_sock_connect(path, in_ms(1000), &client), BS_OK);
	server = accept(listener, NULL, NULL);
	assert_true(server >= 0);
	assert_flags(listener);
	assert_flags(client);
	assert_int_equal(bs_sock_write(client, "hello", 5, in_ms(1000)), BS_OK);
	assert_int_equal(bs_sock_read(server, text, 5, in_ms(1000)), BS_OK);
	assert_string_equal(text, "hello");
	assert_int_equal(bs_sock_peer(server, &pid, &uid, &gid), BS_OK);
	assert_int_equal(pid, getpid());
	assert_int_equal(uid, getuid());
	assert_int_equal(gid, getgid());
	(void)close(client);
	assert_int_equal(bs_sock_read(server, text, 1, in_ms(1000)), BS_ERR_IO);
	assert_int_equal(bs_sock_write(server, "x", 1, in_ms(1000)), BS_ERR_IO); /* and no SIGPIPE */
	(void)close(server);
	(void)close(listener);
}

static void
test_nobody_there(void **state)
{
	int fd = 77, listener;

	(void)state;
	assert_int_equal(bs_sock_connect(path, in_ms(100), &fd), BS_ERR_UNAVAIL);
	assert_int_equal(bs_sock_listen(path, 0600, OWNER, &listener), BS_OK);
	(void)close(listener);
	assert_int_equal(bs_sock_connect(path, in_ms(100), &fd), BS_ERR_UNAVAIL); /* the file is left over */
	assert_int_equal(fd, 77);
}

static void
test_paths(void **state)
{
	char long_path[300];
	int fd;

	(void)state;
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[0] = '/';
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(bs_sock_connect(long_path, in_ms(100), &fd), BS_ERR_LIMIT);
	assert_int_equal(bs_sock_listen(long_path, 0600, OWNER, &fd), BS_ERR_LIMIT);
	assert_int_equal(bs_sock_connect("", in_ms(100), &fd), BS_ERR_ARG);
	assert_int_equal(bs_sock_listen("/nonexistent/s", 0600, OWNER, &fd), BS_ERR_IO);
}

static void
test_replaces_the_dead_only(void **state)
{
	int first, second, client, file;
	struct stat before, after;

	(void)state;
	assert_int_equal(bs_sock_listen(path, 0600, OWNER, &first), BS_OK);
	assert_int_equal(bs_sock_listen(path, 0600, OWNER, &second), BS_ERR_EXISTS);
	assert_int_equal(bs_sock_connect(path, in_ms(100), &client), BS_OK); /* the first was not harmed */
	(void)close(client);
	(void)close(first);
	assert_int_equal(bs_sock_listen(path, 0600, OWNER, &second), BS_OK);
	(void)close(second);
	assert_int_equal(unlink(path), 0);

	file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(file >= 0);
	assert_int_equal(write(file, "mail", 4), 4);
	(void)close(file);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(bs_sock_listen(path, 0600, OWNER, &second), BS_ERR_EXISTS);
	assert_int_equal(stat(path, &after), 0);
	assert_true(before.st_ino == after.st_ino && after.st_size == 4);
	assert_int_equal(bs_sock_connect(path, in_ms(100), &client), BS_ERR_UNAVAIL);
	assert_int_equal(unlink(path), 0);

	assert_int_equal(symlink("/nonexistent", path), 0);
	assert_int_equal(bs_sock_listen(path, 0600, OWNER, &second), BS_ERR_EXISTS);
	assert_int_equal(lstat(path, &after), 0);
}

/* A listener with the smallest backlog, filled up; the fds of who fills it. */
static size_t
fill_backlog(int *listener, int *fds, size_t max)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t n = 0;

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	*listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(*listener, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(*listener, 0), 0);
	for (; n < max; n++) {
		fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (connect(fds[n], (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
			assert_int_equal(errno, EAGAIN);
			(void)close(fds[n]);
			return n;
		}
	}
	fail_msg("the backlog never fills");
	return 0;
}

static void
test_full_backlog(void **state)
{
	int listener, fds[16], fd, other;
	size_t n = fill_backlog(&listener, fds, 16);
	int64_t start = bs_now_ms();

	(void)state;
	assert_int_equal(bs_sock_connect(path, in_ms(150), &fd), BS_ERR_TIMEOUT);
	assert_in_range(bs_now_ms() - start, 149, 2000);
	assert_int_equal(bs_sock_listen(path, 0600, OWNER, &other), BS_ERR_EXISTS); /* busy is not dead */
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	(void)close(fd);
	assert_int_equal(bs_sock_connect(path, in_ms(1000), &fd), BS_OK); /* there is a place again */
	(void)close(fd);
	while (n > 0)
		(void)close(fds[--n]);
	(void)close(listener);
}

static void
test_deadlines(void **state)
{
	static uint8_t big[1024 * 1024];
	int pair[2];
	int64_t start = bs_now_ms();
	uint8_t byte;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(bs_sock_read(pair[0], &byte, 1, in_ms(100)), BS_ERR_TIMEOUT);
	assert_in_range(bs_now_ms() - start, 99, 2000);
	start = bs_now_ms();
	assert_int_equal(bs_sock_write(pair[0], big, sizeof(big), in_ms(100)), BS_ERR_TIMEOUT);
	assert_in_range(bs_now_ms() - start, 99, 2000);
	/* A deadline that has passed: what is there at once is taken, nothing is waited for. */
	start = bs_now_ms();
	assert_int_equal(bs_sock_read(pair[1], &byte, 1, start - 1000), BS_OK);
	assert_int_equal(bs_sock_write(pair[1], "x", 1, start - 1000), BS_OK);
	assert_int_equal(bs_sock_read(pair[0], big, 2, start - 1000), BS_ERR_TIMEOUT);
	assert_in_range(bs_now_ms() - start, 0, 1000);
	(void)close(pair[0]);
	(void)close(pair[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_talk, clean),
		cmocka_unit_test_setup(test_nobody_there, clean),
		cmocka_unit_test_setup(test_paths, clean),
		cmocka_unit_test_setup(test_replaces_the_dead_only, clean),
		cmocka_unit_test_setup(test_full_backlog, clean),
		cmocka_unit_test_setup(test_deadlines, clean),
	};

	return cmocka_run_group_tests_name("sock", tests, setup, teardown);
}
