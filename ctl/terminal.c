#include "terminal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

bool
terminal_quiet(struct terminal *t, int tty)
{
	static const int numbers[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGTSTP };
	struct termios quiet;
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		(void)sigaddset(&set, numbers[i]);
	t->tty = tty;
	if (tcgetattr(tty, &t->before) < 0 || (t->signals = signalfd(-1, &set, SFD_CLOEXEC)) < 0)
		return false;
	quiet = t->before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	(void)sigprocmask(SIG_BLOCK, &set, &t->mask);
	if (tcsetattr(tty, TCSAFLUSH, &quiet) == 0)
		return true;
	(void)terminal_restore(t);
	return false;
}

bool
terminal_wait(const struct terminal *t)
{
	struct pollfd fds[] = { { .fd = t->signals, .events = POLLIN }, { .fd = t->tty, .events = POLLIN } };

	while (poll(fds, 2, -1) < 0)
		if (errno != EINTR)
			return false;
	return fds[0].revents == 0;
}

bool
terminal_restore(struct terminal *t)
{
	bool stopped;
	sigset_t waits;

	(void)tcsetattr(t->tty, TCSAFLUSH, &t->before);
	(void)dprintf(t->tty, "\n");
	(void)sigpending(&waits);
	stopped = sigismember(&waits, SIGTSTP) == 1;
	(void)close(t->signals);
	(void)sigprocmask(SIG_SETMASK, &t->mask, NULL);
	return stopped;
}
