/* err, log: every error has its text; a line stays one line whatever a stranger puts into it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/log.h"

static char path[] = "/tmp/basalt-test-log-XXXXXX";

static void
test_every_error_has_a_text(void **state)
{
	(void)state;
	for (int i = 0; i < BS_ERR_COUNT; i++) {
		assert_string_not_equal(bs_err_text((enum bs_err)i), "unknown error");
		for (int k = 0; k < i; k++)
			assert_string_not_equal(bs_err_text((enum bs_err)i), bs_err_text((enum bs_err)k));
	}
	assert_string_equal(bs_err_text((enum bs_err)-1), "unknown error");
	assert_string_equal(bs_err_text(BS_ERR_COUNT), "unknown error");
}

/* By name: a new error must be put on one of the sides. */
static void
test_transient(void **state)
{
	static const enum bs_err transient[] = { BS_ERR_NOMEM, BS_ERR_IO, BS_ERR_TIMEOUT, BS_ERR_BUSY, BS_ERR_UNAVAIL,
		BS_ERR_CONFLICT };
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(transient) / sizeof(transient[0]); i++)
		assert_true(bs_err_is_transient(transient[i]));
	for (int i = 0; i < BS_ERR_COUNT; i++)
		n += bs_err_is_transient((enum bs_err)i);
	assert_int_equal(n, sizeof(transient) / sizeof(transient[0]));
	assert_false(bs_err_is_transient(BS_OK));
}

static const char *
read_log(void)
{
	static char text[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	assert_true(n >= 0);
	text[n] = '\0';
	(void)close(fd);
	assert_int_equal(truncate(path, 0), 0);
	return text;
}

static void
test_line(void **state)
{
	const char *text;

	(void)state;
	bs_log(BS_LOG_INFO, "listening on %s", "/run/x");
	bs_log(BS_LOG_DEBUG, "dropped");
	text = read_log();
	assert_non_null(strstr(text, "Z tester["));
	assert_non_null(strstr(text, "]: info: listening on /run/x\n"));
	assert_null(strstr(text, "dropped"));
	bs_log_level(BS_LOG_ERROR);
	bs_log_name("tester/vault");
	bs_log(BS_LOG_WARNING, "dropped");
	bs_log(BS_LOG_ALARM, "kept");
	text = read_log();
	assert_null(strstr(text, "dropped"));
	assert_non_null(strstr(text, "tester/vault["));
	assert_non_null(strstr(text, "alarm: kept"));
	bs_log_level(BS_LOG_INFO);
	bs_log_name("tester");
}

static void
test_forged_line(void **state)
{
	const char *text, *end;

	(void)state;
	bs_log(BS_LOG_INFO, "from <%s>", "a\n2026-01-01T00:00:00.000Z tester[1]: alarm: \x1b[31mforged\r\x7f\xc3\xa4");
	text = read_log();
	end = strchr(text, '\n');
	assert_non_null(end);
	assert_string_equal(end, "\n");
	assert_non_null(strstr(text, "a\\x0a2026"));
	assert_non_null(strstr(text, "\\x1b[31mforged\\x0d\\x7f\xc3\xa4>"));
}

static void
test_very_long_line(void **state)
{
	static char huge[100000];
	const char *text;

	(void)state;
	memset(huge, '\n', sizeof(huge) - 1);
	bs_log(BS_LOG_INFO, "%s", huge);
	text = read_log();
	assert_in_range(strlen(text), 8192, 16384);
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void
test_fatal_ends_with_1(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		bs_fatal("no %s", "way");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	assert_non_null(strstr(read_log(), "fatal: no way\n"));
}

static void
test_target_that_is_none(void **state)
{
	(void)state;
	assert_int_equal(bs_log_open("tester", "/nonexistent/log"), BS_ERR_IO);
	bs_log(BS_LOG_INFO, "still in the old file");
	assert_non_null(strstr(read_log(), "still in the old file"));
}

static int
setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	if (fd < 0)
		return -1;
	(void)close(fd);
	return bs_log_open("tester", path) == BS_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	return unlink(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_error_has_a_text),
		cmocka_unit_test(test_transient),
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_forged_line),
		cmocka_unit_test(test_very_long_line),
		cmocka_unit_test(test_fatal_ends_with_1),
		cmocka_unit_test(test_target_that_is_none),
	};

	return cmocka_run_group_tests_name("err_log", tests, setup, teardown);
}
