/*
 * milter_act: supervisor, guard and an engine around an application that does what a header tells it: for tests of what
 * happens when a check crashes, sleeps or makes a forbidden system call. It accepts everything.
 *
 *     milter_act ENGINE ADDRESS [SESSIONS_MAX [DRAIN_MS]]     ENGINE: native, libmilter
 *
 *     X-Act: segv | abort | exit | kill | stack | thread      as soon as the header is seen
 *     X-Act: execve | ptrace | mount | packet | reboot        a system call that the jail must not let through
 *     X-Act: sleep MS | add TEXT | change TEXT | hold         at the end of the message
 *     RCPT TO:<segv@...>, <sleep-MS@...>                      at RCPT
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "milter/flight.h"
#include "milter/guard.h"
#include "milter/milter_jail.h"
#include "milter/supervisor.h"
#include "milter/transport.h"

struct acting {
	const struct transport *transport;
	struct transport_settings settings;
	struct transport_engine *engine;
	struct flight *flight;
	struct counters counters;
	struct guard guard;
	int ready_fd;
};

struct scene {
	char act[100];
};

static void
sleep_ms(long ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	(void)nanosleep(&ts, NULL);
}

static void
segv(void)
{
	volatile char *volatile nowhere = NULL;

	*nowhere = 1;
}

static int
fill_stack(volatile char *above)
{
	volatile char here[4096];

	here[0] = above[0];
	return here[0] == 77 ? 0 : fill_stack(here) + here[1];
}

static void *
crash_thread(void *arg)
{
	segv();
	return arg;
}

static void
crash(const char *act)
{
	static char path[] = "/bin/true", *const argv[] = { path, NULL };
	char start = 1;
	pthread_t thread;

	if (strcmp(act, "segv") == 0)
		segv();
	else if (strcmp(act, "abort") == 0)
		abort();
	else if (strcmp(act, "exit") == 0)
		_exit(0);
	else if (strcmp(act, "kill") == 0)
		(void)kill(getpid(), SIGKILL);
	else if (strcmp(act, "stack") == 0)
		(void)fill_stack(&start);
	else if (strcmp(act, "thread") == 0 && pthread_create(&thread, NULL, crash_thread, NULL) == 0)
		(void)pthread_join(thread, NULL);
	else if (strcmp(act, "execve") == 0)
		(void)execve(argv[0], argv, argv + 1);
	else if (strcmp(act, "ptrace") == 0)
		(void)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
	else if (strcmp(act, "mount") == 0)
		(void)mount("x", "/tmp", "tmpfs", 0, NULL);
	else if (strcmp(act, "packet") == 0)
		(void)socket(AF_PACKET, SOCK_RAW, 0);
	else if (strcmp(act, "reboot") == 0)
		(void)reboot(RB_DISABLE_CAD);
}

static void *
on_open(void *app)
{
	(void)app;
	return calloc(1, sizeof(struct scene));
}

static void
on_name(void *session, const char *name, const char *addr, struct transport_answer *answer)
{
	(void)session, (void)name, (void)addr, (void)answer;
}

static void
on_helo(void *session, const char *name, struct transport_answer *answer)
{
	(void)session, (void)name, (void)answer;
}

static void
on_mail(void *session, struct transport_session *line, const char *address, char *const *args,
    struct transport_answer *answer)
{
	struct scene *scene = session;

	(void)line, (void)address, (void)args, (void)answer;
	scene->act[0] = '\0';
}

static void
on_rcpt(void *session, struct transport_session *line, const char *address, const struct transport_refusal *refused,
    struct transport_answer *answer)
{
	(void)session, (void)line, (void)refused, (void)answer;
	if (strncmp(address, "<segv@", 6) == 0)
		segv();
	if (strncmp(address, "<sleep-", 7) == 0)
		sleep_ms(strtol(address + 7, NULL, 10));
}

static void
on_header(void *session, const char *name, const char *value, struct transport_answer *answer)
{
	struct scene *scene = session;

	(void)answer;
	if (strcmp(name, "X-Act") != 0)
		return;
	(void)snprintf(scene->act, sizeof(scene->act), "%s", value + strspn(value, " "));
	crash(scene->act);
}

static void
on_body(void *session, const uint8_t *data, size_t len, struct transport_answer *answer)
{
	(void)session, (void)data, (void)len, (void)answer;
}

static void
on_end(void *session, struct transport_session *line, struct transport_answer *answer)
{
	const struct scene *scene = session;
	enum bs_err err = BS_OK;

	if (strncmp(scene->act, "sleep ", 6) == 0)
		sleep_ms(strtol(scene->act + 6, NULL, 10));
	else if (strncmp(scene->act, "add", 3) == 0)
		err = transport_insert_header(line, 0, "X-Added", scene->act + 3);
	else if (strncmp(scene->act, "change", 6) == 0)
		err = transport_change_header(line, "Subject", 1, scene->act + 6);
	else if (strcmp(scene->act, "hold") == 0)
		err = transport_quarantine(line, "told to");
	if (err != BS_OK)
		*answer = (struct transport_answer){ TRANSPORT_REPLY, { "451", "4.3.0", "No" } };
}

static void
on_abort(void *session)
{
	(void)session;
}

static const struct transport_events events = {
	.want = TRANSPORT_CONNECT | TRANSPORT_MAIL | TRANSPORT_RCPT | TRANSPORT_HEADER | TRANSPORT_BODY | TRANSPORT_END,
	.answers = TRANSPORT_RCPT | TRANSPORT_END,
	.macros = { .rcpt = "i {rcpt_mailer} {rcpt_host} {rcpt_addr}", .end = "i" },
	.open = on_open, .connect = on_name, .helo = on_helo, .mail = on_mail, .rcpt = on_rcpt, .header = on_header,
	.body = on_body, .end = on_end, .abort = on_abort, .close = free,
};

static void *
transport_thread(void *arg)
{
	struct acting *a = arg;

	_exit(a->transport->run(a->engine, &a->guard.events, &a->guard) == BS_OK ? 0 : 1);
}

static int
work(void *arg, int ready_fd, atomic_uint *beat)
{
	struct acting *a = arg;
	pthread_t thread;
	sigset_t set;
	int sig;

	(void)beat;
	if (milter_jail_worker(a->settings.sessions_max) != BS_OK)
		return 1;
	flight_catch_crashes();
	guard_init(&a->guard, &events, a, a->flight, &a->counters);
	if (write(ready_fd, "", 1) != 1 || pthread_create(&thread, NULL, transport_thread, a) != 0)
		return 1;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigwait(&set, &sig);
	a->transport->stop(a->engine);
	if (a->transport->drains)
		(void)pthread_join(thread, NULL);
	return 0;
}

static void
blame(void *arg)
{
	struct acting *a = arg;
	unsigned held = flight_blame(a->flight);
	struct flight_stats stats;

	flight_stats(a->flight, &stats);
	(void)fprintf(stderr, "blame: %u newly held; suspects %u, held %u\n", held, stats.suspects, stats.held);
}

int
main(int argc, char **argv)
{
	static struct acting a;
	const struct supervisor_job job = { .run = work, .crashed = blame, .arg = &a, .end_ms = 20000 };

	if (argc < 3)
		return 2;
	a.transport = strcmp(argv[1], "libmilter") == 0 ? &transport_libmilter : &transport_native;
	a.settings = (struct transport_settings){ .address = argv[2], .owner = (uid_t)-1, .group = (gid_t)-1,
		.sessions_max = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 1000,
		.drain_ms = argc > 4 ? strtol(argv[4], NULL, 10) : 5000, .waited = &a.counters.sessions_waited };
	if (bs_log_open("milter_act", "stderr") != BS_OK || a.transport->listen(&a.settings, &a.engine) != BS_OK)
		return 1;
	if (milter_jail_start(65534, 65534, (gid_t)-1, a.settings.sessions_max) != BS_OK ||
	    flight_new(a.settings.sessions_max, &a.flight) != BS_OK)
		return 1;
	return supervisor_run(&job);
}
