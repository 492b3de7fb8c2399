#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "jail.h"
#include "log.h"
#include "sock.h"

#define READY_MS 30000
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 10000
#define STEADY_MS 60000 /* who lived so long starts again with the shortest back-off */
#define TICK_MS 500
#define EXIT_FAILED 1

struct supervisor {
	const struct supervisor_job *job;
	sigset_t signals;
	atomic_uint *beat; /* shared with the worker */
	pid_t worker;      /* 0: there is none */
	int status;        /* of the one that was */
	int ready_fd;
	bool stop;
	int64_t watchdog_ms; /* 0: nobody waits for it */
	int64_t told_ms;
	unsigned told_beat;
};

/* --- the service manager --- */

static void
notify(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = path == NULL ? 0 : strlen(path);
	int fd;

	if (len == 0 || len >= sizeof(addr.sun_path))
		return;
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = '\0'; /* an abstract name */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&addr,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	(void)close(fd);
}

static int64_t
watchdog_ms(void)
{
	const char *text = getenv("WATCHDOG_USEC");

	return text == NULL ? 0 : (int64_t)(strtoull(text, NULL, 10) / 1000);
}

/* Only while the worker's first thread goes on. */
static void
feed_watchdog(struct supervisor *sup)
{
	unsigned beat = atomic_load(sup->beat);

	if (sup->watchdog_ms == 0 || beat == sup->told_beat || bs_now_ms() - sup->told_ms < sup->watchdog_ms / 4)
		return;
	sup->told_beat = beat;
	sup->told_ms = bs_now_ms();
	notify("WATCHDOG=1\n");
}

/* --- the worker --- */

static int
start_worker(struct supervisor *sup)
{
	pid_t parent = getpid();
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
		return -1;
	sup->worker = fork();
	if (sup->worker == 0) {
		(void)close(fds[0]);
		bs_log_name("basalt-milter/worker");
		if (bs_jail_die_with(parent) != BS_OK)
			_exit(EXIT_FAILED);
		_exit(sup->job->run(sup->job->arg, fds[1], sup->beat));
	}
	(void)close(fds[1]);
	sup->ready_fd = fds[0];
	if (sup->worker > 0)
		return 0;
	sup->worker = 0;
	(void)close(fds[0]);
	return -1;
}

/* Waits for a signal, at most so long. */
static void
wait_signal(struct supervisor *sup, int64_t ms)
{
	const struct timespec limit = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	int sig = sigtimedwait(&sup->signals, NULL, &limit);

	if (sig == SIGTERM || sig == SIGINT || sig == SIGHUP)
		sup->stop = true;
}

/* True while it lives. */
static bool
is_alive(struct supervisor *sup)
{
	if (sup->worker != 0 && waitpid(sup->worker, &sup->status, WNOHANG) == sup->worker)
		sup->worker = 0;
	return sup->worker != 0;
}

/* True once it serves, or did: it may have died since. */
static bool
wait_ready(struct supervisor *sup)
{
	int64_t deadline = bs_now_ms() + READY_MS;
	char byte;

	for (;;) {
		bool alive = is_alive(sup);

		if (read(sup->ready_fd, &byte, 1) == 1)
			return true;
		if (!alive || sup->stop)
			return false;
		if (bs_now_ms() > deadline)
			(void)kill(sup->worker, SIGKILL);
		wait_signal(sup, 10);
	}
}

static void
watch(struct supervisor *sup)
{
	while (is_alive(sup) && !sup->stop) {
		feed_watchdog(sup);
		wait_signal(sup, TICK_MS);
	}
}

static void
end_worker(struct supervisor *sup)
{
	int64_t deadline = bs_now_ms() + sup->job->end_ms;

	if (sup->worker != 0)
		(void)kill(sup->worker, SIGTERM);
	while (is_alive(sup)) {
		feed_watchdog(sup);
		if (bs_now_ms() > deadline)
			(void)kill(sup->worker, SIGKILL);
		wait_signal(sup, 50);
	}
}

static int
exit_status(const struct supervisor *sup)
{
	return WIFEXITED(sup->status) ? WEXITSTATUS(sup->status) : EXIT_FAILED;
}

static void
log_death(int status)
{
	if (WIFSIGNALED(status))
		bs_log(BS_LOG_ERROR, "the worker was killed by signal %d (%s)%s", WTERMSIG(status), strsignal(WTERMSIG(status)),
		    WTERMSIG(status) == SIGSYS ? ": a system call outside its list" : "");
	else
		bs_log(BS_LOG_ERROR, "the worker ended by itself with status %d", WEXITSTATUS(status));
}

static void
wait_backoff(struct supervisor *sup, int64_t ms)
{
	int64_t until = bs_now_ms() + ms, left;

	bs_log(BS_LOG_INFO, "the worker starts again in %lld ms", (long long)ms);
	while (!sup->stop && (left = until - bs_now_ms()) > 0)
		wait_signal(sup, left);
}

/* One worker from its start to its end. True: it served. */
static bool
run_one(struct supervisor *sup, bool first)
{
	bool ready;

	if (start_worker(sup) != 0) {
		bs_log(BS_LOG_ERROR, "starting the worker: %s", strerror(errno));
		return false;
	}
	ready = wait_ready(sup);
	(void)close(sup->ready_fd);
	if (ready && first)
		notify("READY=1\n");
	watch(sup);
	if (sup->stop) {
		notify("STOPPING=1\n");
		end_worker(sup);
	}
	return ready;
}

/* Worker after worker, until we are told to stop. */
static int
keep_running(struct supervisor *sup)
{
	int64_t backoff = BACKOFF_MIN_MS;
	bool served = false;

	for (;;) {
		int64_t started = bs_now_ms();

		sup->status = 0;
		served = run_one(sup, !served) || served;
		if (sup->stop || !served)
			break;
		log_death(sup->status);
		sup->job->crashed(sup->job->arg);
		backoff = bs_now_ms() - started > STEADY_MS ? BACKOFF_MIN_MS : backoff;
		wait_backoff(sup, backoff);
		backoff = backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff * 2;
		if (sup->stop)
			return 0;
	}
	return exit_status(sup);
}

/* Only so that SIGCHLD is not ignored: it is always blocked, and taken by sigtimedwait(). */
static void
on_signal(int sig)
{
	(void)sig;
}

int
supervisor_run(const struct supervisor_job *job)
{
	struct supervisor sup = { .job = job, .ready_fd = -1, .watchdog_ms = watchdog_ms() };
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };

	(void)sigemptyset(&sup.signals);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)sigaddset(&sup.signals, signals[i]);
	(void)signal(SIGCHLD, on_signal);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigprocmask(SIG_BLOCK, &sup.signals, NULL);
	sup.beat = mmap(NULL, sizeof(*sup.beat), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sup.beat == MAP_FAILED) {
		bs_log(BS_LOG_FATAL, "no memory to share with the worker");
		return EXIT_FAILED;
	}
	return keep_running(&sup);
}
