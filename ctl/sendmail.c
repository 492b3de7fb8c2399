#include "sendmail.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl.h"
#include "sock.h"

#define ARGS_MAX 32
#define WAIT_MS 30000

/* The words of ctl.notify and the address, which is no option, whatever it begins with. command is cut up; false: too many. */
static bool
split(char *command, const char *address, const char *argv[ARGS_MAX + 3])
{
	size_t n = 0;
	char *rest = NULL;

	for (char *word = strtok_r(command, " \t", &rest); word != NULL; word = strtok_r(NULL, " \t", &rest)) {
		if (n == ARGS_MAX)
			return false;
		argv[n++] = word;
	}
	argv[n] = "--";
	argv[n + 1] = address;
	argv[n + 2] = NULL;
	return n > 0;
}

/* The child's half; does not return. */
static void
run_program(const char *const *argv, int in)
{
	static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", lang[] = "LANG=C";
	static char *const env[] = { path, lang, NULL };

	(void)signal(SIGPIPE, SIG_DFL);
	if (dup2(in, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		_exit(126);
	(void)execve(argv[0], (char *const *)(uintptr_t)argv, env); /* NOLINT(performance-no-int-to-ptr): execve's type */
	_exit(127);
}

/* Its exit status; -1: it did not end in time, or by a signal. */
static int
wait_for(pid_t pid)
{
	int64_t deadline_ms = bs_now_ms() + WAIT_MS;
	int status = 0;
	pid_t got;

	while ((got = waitpid(pid, &status, WNOHANG)) == 0 && bs_now_ms() < deadline_ms)
		(void)poll(NULL, 0, 10);
	if (got == 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, &status, 0);
		return -1;
	}
	return got == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *
run(const char *const *argv, const char *text, size_t len)
{
	int fds[2], status;
	bool written;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return strerror(errno);
	pid = fork();
	if (pid == 0)
		run_program(argv, fds[0]);
	(void)close(fds[0]);
	if (pid < 0) {
		(void)close(fds[1]);
		return strerror(errno);
	}
	(void)signal(SIGPIPE, SIG_IGN);
	written = ctl_write_all(fds[1], text, len); /* a pipe holds it whole */
	(void)close(fds[1]);
	status = wait_for(pid);
	return status == 127 ? "the program of ctl.notify can't be run" : status != 0 ? "the program of ctl.notify failed"
	    : !written ? "the program of ctl.notify did not read it" : NULL;
}

const char *
ctl_sendmail(const struct ctl *ctl, const char *address, const char *text, size_t len)
{
	const char *argv[ARGS_MAX + 3], *why = "out of memory";
	char *command = strdup(ctl->settings.notify);

	if (command != NULL)
		why = split(command, address, argv) ? run(argv, text, len) : "ctl.notify has too many words";
	free(command);
	return why;
}
