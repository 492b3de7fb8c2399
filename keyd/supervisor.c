#include "supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fdpass.h"
#include "listeners.h"
#include "sock.h"
#include "succession.h"

#define READY_MS 30000
#define HANDOVER_MS 60000 /* what the vault and the fronts allow each other, and more */
#define END_MS 3000
#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 10000
#define STEADY_MS 30000 /* who lived so long starts again with the shortest back-off */

struct supervisor {
	const struct keydconf *conf;
	const struct program *program;
	struct roleset set; /* that serves, or is to */
	struct roleset old; /* that serves, while there is one that is to */
	sigset_t signals;
	bool stop, reload;
};

/* One datagram to the service manager, when there is one (sd_notify(3) says how). */
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
	(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&addr,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	(void)close(fd);
}

/* Sleeps until a child ends, a signal wants something of us, or wait_ms have passed. */
static void
wait_signal(struct supervisor *sup, int64_t wait_ms)
{
	struct timespec limit = { .tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000 };
	int sig = sigtimedwait(&sup->signals, NULL, &limit);

	if (sig == SIGTERM || sig == SIGINT)
		sup->stop = true;
	if (sig == SIGHUP)
		sup->reload = true;
}

/* Leaves no such set. */
static void
end_all(struct supervisor *sup, struct roleset *set)
{
	int64_t deadline = bs_now_ms() + END_MS;

	roleset_kill(set, SIGTERM);
	while (roleset_is_alive(set)) {
		(void)roleset_reap(set, true);
		if (roleset_is_alive(set))
			wait_signal(sup, 50);
		if (bs_now_ms() > deadline)
			roleset_kill(set, SIGKILL);
	}
	roles_unwire(&set->wires);
	set->count = 0;
}

/* True once all roles are in their jails. */
static bool
wait_ready(struct supervisor *sup)
{
	int64_t deadline = bs_now_ms() + READY_MS;

	while (!sup->stop && !roleset_is_ready(&sup->set)) {
		if (bs_now_ms() > deadline || roleset_reap(&sup->set, false) || roleset_reap(&sup->old, false))
			return false;
		wait_signal(sup, 20);
	}
	return !sup->stop;
}

/* --- a reload: this image becomes the next one, and its roles have heirs --- */

/* Comes back only when everything stays as it is. */
static void
reload(struct supervisor *sup)
{
	char why[512], text[128];

	sup->reload = false;
	(void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld000\n", (long long)bs_now_ms());
	notify(text);
	succession_start(sup->program, &sup->set, sup->conf->run_dir, why, sizeof(why));
	bs_log(BS_LOG_ERROR, "no reload, all goes on as it was: %s", why);
	notify("READY=1\nSTATUS=The last reload was refused; the log says why.\n");
}

/* Tells the old roles where their heirs are: the fronts first, since the old vault begins at once. */
static bool
introduce(struct supervisor *sup)
{
	struct wires *w = &sup->set.wires;
	int64_t deadline = bs_now_ms() + END_MS;
	bool ok = true;

	for (unsigned i = 0; i < HEIRS; i++) {
		ok = ok && fdpass_send(sup->old.wires.ctl[i][0], "", 1, w->heir[i][0], deadline) == BS_OK;
		roles_close(&w->heir[i][0]);
	}
	return ok;
}

/* Until the old vault and fronts have ended, each having left all it had. */
static bool
wait_handed_over(struct supervisor *sup)
{
	int64_t deadline = bs_now_ms() + HANDOVER_MS;

	sup->old.leaving = true;
	while (!sup->stop && bs_now_ms() < deadline) {
		(void)roleset_reap(&sup->old, false);
		if (sup->old.failed || roleset_reap(&sup->set, false))
			return false;
		if (!roleset_heirs_live(&sup->old))
			return true;
		wait_signal(sup, 1000);
	}
	return false;
}

/* After a failure: whether the old roles still serve, all of them. */
static bool
old_ones_go_on(struct supervisor *sup)
{
	roleset_kill(&sup->set, SIGKILL); /* at once: an old vault in the middle of it sees that there is no heir */
	end_all(sup, &sup->set);
	if (roleset_reap(&sup->old, false) || sup->old.failed || !roleset_all_live(&sup->old)) {
		bs_log(BS_LOG_ERROR, "the reload failed half way");
		return false;
	}
	sup->set = sup->old;
	sup->set.leaving = false;
	roleset_init(&sup->old);
	bs_log(BS_LOG_ERROR, "no reload: the new roles did not take over; those from before go on");
	notify("READY=1\nSTATUS=The last reload failed; the log says why.\n");
	return true;
}

/* True: sup->set serves, be it the new one or the old one. */
static bool
take_over(struct supervisor *sup)
{
	memcpy(sup->set.wires.listen, sup->old.wires.listen, sizeof(sup->set.wires.listen));
	if (!roleset_start(&sup->set, sup->conf, &sup->old) || !wait_ready(sup) || !introduce(sup) || !wait_handed_over(sup))
		return !sup->stop && old_ones_go_on(sup);
	end_all(sup, &sup->old);
	roles_forget_others(&sup->set.wires);
	listeners_regroup(sup->conf);
	bs_log(BS_LOG_INFO, "reloaded: %u processes serve %s, no session was ended", sup->set.count, sup->conf->run_dir);
	notify("READY=1\nSTATUS=\n");
	return true;
}

/* --- */

/* The roles live until one of them dies or somebody wants us to stop. */
static void
watch(struct supervisor *sup)
{
	sup->set.served = true;
	while (!sup->stop && !roleset_reap(&sup->set, false)) {
		roleset_revive(&sup->set, sup->conf);
		if (sup->reload)
			reload(sup);
		else
			wait_signal(sup, sup->set.policy_due_ms == 0 ? 60000 : 1000);
	}
}

static void
wait_backoff(struct supervisor *sup, int64_t ms)
{
	int64_t until = bs_now_ms() + ms;

	while (!sup->stop && bs_now_ms() < until)
		wait_signal(sup, until - bs_now_ms() > 0 ? until - bs_now_ms() : 1);
}

static bool
start_anew(struct supervisor *sup, bool again)
{
	if (!roleset_start(&sup->set, sup->conf, NULL) || !wait_ready(sup))
		return false;
	bs_log(BS_LOG_INFO, "%s: %u processes serve %s", again ? "started again" : "ready", sup->set.count, sup->conf->run_dir);
	notify(again ? "READY=1\nSTATUS=\n" : "READY=1\n"); /* again: a reload that failed half way has been announced */
	return true;
}

/* Set after set of roles, until we are told to stop. The exit status. */
static int
keep_running(struct supervisor *sup)
{
	int64_t backoff = BACKOFF_MIN_MS, started;
	bool was_ready = sup->old.count > 0;

	for (;;) {
		started = bs_now_ms();
		if (sup->old.count > 0 ? take_over(sup) : start_anew(sup, was_ready)) {
			was_ready = true;
			watch(sup);
		}
		end_all(sup, &sup->set);
		end_all(sup, &sup->old);
		if (sup->stop)
			return 0;
		if (!was_ready)
			return sup->set.exit_code; /* it never worked: let a person see it now */
		backoff = bs_now_ms() - started > STEADY_MS ? BACKOFF_MIN_MS : backoff * 2;
		backoff = backoff > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff;
		bs_log(BS_LOG_ERROR, "all roles start again in %lld ms; open sessions are lost", (long long)backoff);
		wait_backoff(sup, backoff);
	}
}

/* Only so that the signals are not ignored: they are always blocked, and taken by sigtimedwait(). */
static void
on_signal(int sig)
{
	(void)sig;
}

static void
take_signals(struct supervisor *sup)
{
	(void)sigemptyset(&sup->signals);
	(void)sigaddset(&sup->signals, SIGTERM);
	(void)sigaddset(&sup->signals, SIGINT);
	(void)sigaddset(&sup->signals, SIGCHLD);
	(void)sigaddset(&sup->signals, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &sup->signals, NULL);
	(void)signal(SIGCHLD, on_signal);
	(void)signal(SIGHUP, on_signal);
	(void)signal(SIGPIPE, SIG_IGN);
}

/* What the image before left open is ours. An exit status. */
static int
inherit(struct supervisor *sup)
{
	char run_dir[RUN_DIR_MAX], why[256];
	enum bs_err err = succession_check(sup->program->heir_fd, sup->conf, why, sizeof(why));

	/* It said otherwise a moment ago, when it was only asked. */
	if (err != BS_OK || succession_read(sup->program->heir_fd, &sup->old, run_dir, sizeof(run_dir)) != BS_OK) {
		bs_log(BS_LOG_FATAL, "%s", why);
		return 1;
	}
	(void)close(sup->program->heir_fd);
	roleset_adopt(&sup->old);
	return 0;
}

int
supervisor_run(const struct keydconf *conf, const struct program *program)
{
	struct supervisor sup = { .conf = conf, .program = program };
	int status;

	take_signals(&sup);
	roleset_init(&sup.set);
	roleset_init(&sup.old);
	status = program->heir_fd >= 0 ? inherit(&sup) : listeners_open(conf, sup.set.wires.listen);
	if (status != 0)
		return status;
	status = keep_running(&sup);
	notify("STOPPING=1\n");
	listeners_unlink(conf);
	bs_log(BS_LOG_INFO, "ended");
	return status;
}
