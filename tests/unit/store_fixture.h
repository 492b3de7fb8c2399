/*
 * store_fixture: a folder with two empty databases on either engine, for the tests that run the same against both.
 * MariaDB is a private server, started and ended by tests/tools/mariadb. Include it in one test program each.
 *
 *     cmocka_run_group_tests_name("sqlite", tests, fixture_sqlite, fixture_end);
 *     cmocka_run_group_tests_name("mariadb", tests, fixture_mariadb, fixture_end);
 */
#ifndef STORE_FIXTURE_H
#define STORE_FIXTURE_H

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "sock.h"
#include "sql.h"

#define FIXTURE_TIMEOUT_MS 1000
/* MariaDB's deadlines are seconds, and a call may wait for a connection and for an answer. */
#define FIXTURE_DEADLINE_MS 2600

struct fixture {
	bool mariadb;
	char folder[64];
	char tool[PATH_MAX];
	pid_t server;
	char keys_url[256], keys_password[256];
	char policy_url[256], policy_password[256];
};

static struct fixture fx;

/* The script lies beside this program's build folder: BUILD/tests/test_x -> tests/tools/mariadb. */
static void
fixture_find_tool(void)
{
	char exe[PATH_MAX] = "";
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	for (int i = 0; i < 3 && n > 0; i++)
		*strrchr(exe, '/') = '\0';
	assert_true(snprintf(fx.tool, sizeof(fx.tool), "%s/tests/tools/mariadb", exe) < (int)sizeof(fx.tool));
}

static void
fixture_take(const char *line)
{
	static const struct {
		const char *name;
		char *out;
	} vars[] = {
		{ "KEYS_URL=", fx.keys_url },
		{ "KEYS_PASSWORD_FILE=", fx.keys_password },
		{ "POLICY_URL=", fx.policy_url },
		{ "POLICY_PASSWORD_FILE=", fx.policy_password },
	};

	if (strncmp(line, "MARIADB_PID=", 12) == 0)
		fx.server = (pid_t)strtol(line + 12, NULL, 10);
	for (size_t i = 0; i < sizeof(vars) / sizeof(vars[0]); i++)
		if (strncmp(line, vars[i].name, strlen(vars[i].name)) == 0)
			snprintf(vars[i].out, sizeof(fx.keys_url), "%.*s", (int)strcspn(line + strlen(vars[i].name), "\n"),
			    line + strlen(vars[i].name));
}

static void
fixture_server_start(void)
{
	char command[PATH_MAX + 128], line[512];
	FILE *fp;

	snprintf(command, sizeof(command), "%s start %s", fx.tool, fx.folder);
	fp = popen(command, "r");
	assert_non_null(fp);
	while (fgets(line, sizeof(line), fp) != NULL)
		fixture_take(line);
	assert_int_equal(pclose(fp), 0);
}

/* As a power cut: the server is not this process's child, so wait until its pid is gone. */
__attribute__((unused)) static void
fixture_server_kill(void)
{
	assert_true(kill(fx.server, SIGKILL) == 0 || errno == ESRCH); /* a test may have been quicker */
	for (int i = 0; i < 500 && kill(fx.server, 0) == 0; i++)
		usleep(10000);
}

/* A hung server. kill() comes back before all of its threads have stopped: one might still answer. */
static inline void
fixture_freeze(void)
{
	assert_int_equal(kill(fx.server, SIGSTOP), 0);
	(void)usleep(200000);
}

static int
fixture_folder(void)
{
	memset(&fx, 0, sizeof(fx));
	snprintf(fx.folder, sizeof(fx.folder), "/tmp/basalt-unit-XXXXXX");
	return mkdtemp(fx.folder) == NULL ? -1 : 0;
}

__attribute__((unused)) static int
fixture_sqlite(void **state)
{
	(void)state;
	if (fixture_folder() < 0)
		return -1;
	snprintf(fx.keys_url, sizeof(fx.keys_url), "sqlite:%s/keys.db", fx.folder);
	snprintf(fx.policy_url, sizeof(fx.policy_url), "sqlite:%s/policy.db", fx.folder);
	return 0;
}

__attribute__((unused)) static int
fixture_mariadb(void **state)
{
	(void)state;
	if (fixture_folder() < 0)
		return -1;
	fx.mariadb = true;
	fixture_find_tool();
	fixture_server_start();
	return 0;
}

static int
fixture_end(void **state)
{
	char command[PATH_MAX + 256];

	(void)state;
	if (fx.mariadb) {
		snprintf(command, sizeof(command), "%s stop %s", fx.tool, fx.folder);
		if (system(command) != 0)
			return -1;
	}
	snprintf(command, sizeof(command), "rm -rf %s", fx.folder);
	return system(command);
}

#endif
