#include "sendmail.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl.h"
#include "program.h"
#include "sock.h"

#define WAIT_MS 30000

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
	pid = program_start(argv, fds[0], STDERR_FILENO);
	(void)close(fds[0]);
	if (pid < 0) {
		(void)close(fds[1]);
		return strerror(errno);
	}
	(void)signal(SIGPIPE, SIG_IGN);
	written = ctl_write_all(fds[1], text, len); /* a pipe holds it whole */
	(void)close(fds[1]);
	status = wait_for(pid);
	return status == PROGRAM_NOT_RUN ? "the program of ctl.notify can't be run" : status != 0 ? "the program of ctl.notify failed"
	    : !written ? "the program of ctl.notify did not read it" : NULL;
}

const char *
ctl_sendmail(const struct ctl *ctl, const char *address, const char *text, size_t len)
{
	const char *argv[PROGRAM_WORDS_MAX + 3], *why = "out of memory";
	char *command = strdup(ctl->settings.notify);
	size_t n = command == NULL ? 0 : program_words(command, argv);

	/* No option, whatever it begins with. */
	argv[n] = "--";
	argv[n + 1] = address;
	argv[n + 2] = NULL;
	if (command != NULL)
		why = n > 0 ? run(argv, text, len) : "ctl.notify has too many words";
	free(command);
	return why;
}
