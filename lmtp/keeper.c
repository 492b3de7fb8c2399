#include "keeper.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proxy.h"
#include "sock.h"

#define PAUSE_MIN_MS 100
#define PAUSE_MAX_MS 30000
#define GOOD_LIFE_MS 60000 /* who lived so long was not killed by how we start it */
#define END_MORE_MS 2000   /* beyond drain_ms */

static void
watched(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGTERM);
	(void)sigaddset(set, SIGINT);
	(void)sigaddset(set, SIGHUP);
	(void)sigaddset(set, SIGCHLD);
}

/* The next of the watched signals; 0: none within ms. ms < 0: for ever. */
static int
next_signal(int64_t ms)
{
	const struct timespec wait = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	sigset_t set;
	int sig;

	watched(&set);
	sig = ms < 0 ? sigwaitinfo(&set, NULL) : sigtimedwait(&set, NULL, &wait);
	return sig < 0 ? 0 : sig;
}

static pid_t
start(const struct proxyconf *conf, int listen_fd, int control_fd)
{
	pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	_exit(proxy_run(conf, listen_fd, control_fd, parent));
}

/* Waits for the worker or for an end that is asked for; true: the worker has ended, and status says how. An end that was asked for of
 * the whole process group may find the worker gone already. */
static bool
watch(pid_t pid, int *status)
{
	for (;;) {
		int sig = next_signal(-1);

		if (sig != 0 && sig != SIGCHLD)
			return false;
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
	}
}

static void
end_worker(const struct proxyconf *conf, pid_t pid)
{
	int64_t deadline_ms = bs_now_ms() + conf->drain_ms + END_MORE_MS;
	int status;

	(void)kill(pid, SIGTERM);
	while (bs_now_ms() < deadline_ms) {
		(void)next_signal(100);
		if (waitpid(pid, &status, WNOHANG) == pid)
			return;
	}
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, &status, 0);
}

static void
report_end(int status, int64_t pause_ms)
{
	if (WIFSIGNALED(status))
		bs_log(BS_LOG_ERROR, "the worker was killed by signal %d%s; another one starts in %lld ms", WTERMSIG(status),
		    WTERMSIG(status) == SIGSYS ? " (a system call that it may not use)" : "", (long long)pause_ms);
	else
		bs_log(BS_LOG_ERROR, "the worker ended with status %d; another one starts in %lld ms", WEXITSTATUS(status),
		    (long long)pause_ms);
}

/* False: told to end meanwhile. */
static bool
pause_for(int64_t ms)
{
	int64_t deadline_ms = bs_now_ms() + ms;

	for (int64_t left = ms; left > 0; left = deadline_ms - bs_now_ms()) {
		int sig = next_signal(left);

		if (sig != 0 && sig != SIGCHLD)
			return false;
	}
	return true;
}

int
keeper_run(const struct proxyconf *conf, int listen_fd, int control_fd)
{
	int64_t pause_ms = PAUSE_MIN_MS;
	sigset_t set;

	watched(&set);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	for (;;) {
		int64_t began_ms = bs_now_ms();
		pid_t pid = start(conf, listen_fd, control_fd);
		int status = 0;

		if (pid < 0)
			return EXIT_TEMPORARY;
		if (!watch(pid, &status)) {
			end_worker(conf, pid);
			return EXIT_SUCCESS;
		}
		if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CONFIG)
			return EXIT_CONFIG;
		if (bs_now_ms() - began_ms > GOOD_LIFE_MS)
			pause_ms = PAUSE_MIN_MS;
		report_end(status, pause_ms);
		if (!pause_for(pause_ms))
			return EXIT_SUCCESS;
		pause_ms = pause_ms * 2 < PAUSE_MAX_MS ? pause_ms * 2 : PAUSE_MAX_MS;
	}
}
