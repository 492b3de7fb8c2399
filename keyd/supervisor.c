#include "supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "roles.h"
#include "sock.h"

#define ROLES_MAX (1 + KEYD_KDF_WORKERS_MAX + KEYD_SOCKETS + 1 + 1)
#define READY_MS 30000
#define END_MS 3000
#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 10000
#define POLICY_BACKOFF_MS 5000
#define STEADY_MS 30000 /* who lived so long starts again with the shortest back-off */

struct child {
	pid_t pid; /* 0: reaped */
	enum keyd_role role;
	unsigned index;
};

struct supervisor {
	const struct keydconf *conf;
	struct wires wires;
	struct child children[ROLES_MAX];
	unsigned count;
	sigset_t signals;
	bool stop;
	bool served; /* all roles are in their jails */
	int exit_code; /* of the first role that ended by itself */
	int64_t policy_due_ms; /* when the role 'policy', which may die alone, starts again; 0: it lives */
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

static void
socket_path(const struct keydconf *conf, unsigned i, char *out, size_t size)
{
	(void)snprintf(out, size, "%s/%s", conf->run_dir, conf->sockets[i].name);
}

/* An exit status. */
static int
make_run_dir(const struct keydconf *conf)
{
	char text[1024] = "";

	/* Dovecot's users walk through it, whatever our umask is; a folder that was there keeps its mode. */
	if (mkdir(conf->run_dir, 0755) == 0 ? chmod(conf->run_dir, 0755) != 0 : errno != EEXIST) {
		bs_log(BS_LOG_FATAL, "keyd.run_dir: %s: %s", conf->run_dir, strerror(errno));
		return 1;
	}
	if (keydconf_check_run_dir(conf, text, sizeof(text)) == BS_OK)
		return 0;
	bs_log(BS_LOG_FATAL, "%s", text);
	return 78;
}

static bool
listen_all(struct supervisor *sup)
{
	const struct keydconf *conf = sup->conf;
	char path[4096];

	for (unsigned i = 0; i < KEYD_SOCKETS; i++) {
		enum bs_err err;

		socket_path(conf, i, path, sizeof(path));
		err = bs_sock_listen(path, 0660, (uid_t)-1, conf->sockets[i].group, &sup->wires.listen[i]);
		if (err != BS_OK) {
			bs_log(BS_LOG_FATAL, "%s: %s", path, err == BS_ERR_EXISTS ? "another basalt-keyd listens there" : bs_err_text(err));
			while (i-- > 0) {
				socket_path(conf, i, path, sizeof(path));
				(void)unlink(path);
			}
			return false;
		}
	}
	return true;
}

static void
unlink_all(const struct keydconf *conf)
{
	char path[4096];

	for (unsigned i = 0; i < KEYD_SOCKETS; i++) {
		socket_path(conf, i, path, sizeof(path));
		(void)unlink(path);
	}
}

static bool
start_one(struct supervisor *sup, enum keyd_role role, unsigned index)
{
	pid_t pid = roles_start(sup->conf, &sup->wires, role, index);

	if (pid < 0) {
		bs_log(BS_LOG_ERROR, "fork: %s", strerror(errno));
		return false;
	}
	sup->children[sup->count++] = (struct child){ .pid = pid, .role = role, .index = index };
	return true;
}

static bool
start_all(struct supervisor *sup)
{
	bool ok = roles_wire(sup->conf, &sup->wires) == BS_OK;

	sup->count = 0;
	sup->exit_code = 1;
	ok = ok && start_one(sup, ROLE_KEYSTORE, 0);
	for (unsigned i = 0; ok && i < (unsigned)sup->conf->kdf_workers; i++)
		ok = start_one(sup, ROLE_KDF, i);
	for (unsigned i = 0; ok && i < KEYD_SOCKETS; i++)
		ok = start_one(sup, ROLE_FRONT, i);
	if (ok && sup->conf->policy[0] != '\0')
		ok = start_one(sup, ROLE_POLICY, 0);
	return ok && start_one(sup, ROLE_VAULT, 0);
}

static void
log_end(const struct child *child, int status)
{
	const char *name = roles_name(child->role, child->index);

	if (WIFSIGNALED(status))
		bs_log(BS_LOG_ERROR, "%s[%d] was killed by signal %d (%s)%s", name, (int)child->pid, WTERMSIG(status),
		    strsignal(WTERMSIG(status)), WTERMSIG(status) == SIGSYS ? ": a system call outside its list" : "");
	else
		bs_log(BS_LOG_ERROR, "%s[%d] ended with status %d", name, (int)child->pid, WEXITSTATUS(status));
}

/* The one that nobody waits for: its wires stay, and another process takes its place. */
static bool
may_die(const struct child *child, struct supervisor *sup)
{
	if (child->role != ROLE_POLICY || !sup->served)
		return false;
	sup->policy_due_ms = bs_now_ms() + POLICY_BACKOFF_MS;
	return true;
}

static void
revive_policy(struct supervisor *sup)
{
	if (sup->policy_due_ms == 0 || bs_now_ms() < sup->policy_due_ms)
		return;
	for (unsigned i = 0; i < sup->count; i++) {
		struct child *child = &sup->children[i];

		if (child->role != ROLE_POLICY)
			continue;
		child->pid = roles_start(sup->conf, &sup->wires, ROLE_POLICY, 0);
		sup->policy_due_ms = child->pid > 0 ? 0 : bs_now_ms() + POLICY_BACKOFF_MS;
		child->pid = child->pid > 0 ? child->pid : 0;
	}
}

/* Collects who has ended. quiet: we ended them. True when any had without whom the others can't go on. */
static bool
reap(struct supervisor *sup, bool quiet)
{
	bool any = false;
	int status;

	for (unsigned i = 0; i < sup->count; i++) {
		struct child *child = &sup->children[i];

		if (child->pid == 0 || waitpid(child->pid, &status, WNOHANG) != child->pid)
			continue;
		if (!quiet) {
			log_end(child, status);
			sup->exit_code = WIFEXITED(status) && WEXITSTATUS(status) == 78 ? 78 : 1;
		}
		child->pid = 0;
		any = any || quiet || !may_die(child, sup);
	}
	return any;
}

/* Sleeps until a child ends, a signal wants us to stop, or wait_ms have passed. */
static void
wait_signal(struct supervisor *sup, int64_t wait_ms)
{
	struct timespec limit = { .tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000 };
	int sig = sigtimedwait(&sup->signals, NULL, &limit);

	if (sig == SIGTERM || sig == SIGINT)
		sup->stop = true;
}

static void
kill_all(const struct supervisor *sup, int sig)
{
	for (unsigned i = 0; i < sup->count; i++) {
		if (sup->children[i].pid != 0)
			(void)kill(sup->children[i].pid, sig);
	}
}

static bool
any_alive(const struct supervisor *sup)
{
	for (unsigned i = 0; i < sup->count; i++) {
		if (sup->children[i].pid != 0)
			return true;
	}
	return false;
}

static void
end_all(struct supervisor *sup)
{
	int64_t deadline = bs_now_ms() + END_MS;

	kill_all(sup, SIGTERM);
	while (any_alive(sup)) {
		(void)reap(sup, true);
		if (any_alive(sup))
			wait_signal(sup, 50);
		if (bs_now_ms() > deadline)
			kill_all(sup, SIGKILL);
	}
	roles_unwire(&sup->wires);
}

/* True once all roles are in their jails. */
static bool
wait_ready(struct supervisor *sup)
{
	int64_t deadline = bs_now_ms() + READY_MS;
	unsigned ready = 0;
	uint8_t bytes[ROLES_MAX];

	while (ready < sup->count && !sup->stop) {
		ssize_t n = read(sup->wires.ready[0], bytes, sizeof(bytes));

		if (n > 0) {
			ready += (unsigned)n;
			continue;
		}
		if (bs_now_ms() > deadline || reap(sup, false))
			return false;
		wait_signal(sup, 20);
	}
	return ready == sup->count;
}

/* The roles live until one of them dies or somebody wants us to stop. */
static void
watch(struct supervisor *sup)
{
	sup->served = true;
	while (!sup->stop && !reap(sup, false)) {
		revive_policy(sup);
		wait_signal(sup, sup->policy_due_ms == 0 ? 60000 : 1000);
	}
	sup->served = false;
	sup->policy_due_ms = 0;
}

static void
wait_backoff(struct supervisor *sup, int64_t ms)
{
	int64_t until = bs_now_ms() + ms;

	while (!sup->stop && bs_now_ms() < until)
		wait_signal(sup, until - bs_now_ms() > 0 ? until - bs_now_ms() : 1);
}

/* Set after set of roles, until we are told to stop. The exit status. */
static int
keep_running(struct supervisor *sup)
{
	int64_t backoff = BACKOFF_MIN_MS, started;
	bool was_ready = false;

	for (;;) {
		bool ready;

		started = bs_now_ms();
		ready = start_all(sup) && wait_ready(sup);
		if (ready) {
			bs_log(BS_LOG_INFO, "%s: %u processes serve %s", was_ready ? "started again" : "ready", sup->count,
			    sup->conf->run_dir);
			if (!was_ready)
				notify("READY=1\n");
			was_ready = true;
			watch(sup);
		}
		end_all(sup);
		if (sup->stop)
			return 0;
		if (!was_ready)
			return sup->exit_code; /* it never worked: let a person see it now */
		backoff = bs_now_ms() - started > STEADY_MS ? BACKOFF_MIN_MS : backoff * 2;
		backoff = backoff > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff;
		bs_log(BS_LOG_ERROR, "all roles start again in %lld ms; open sessions are lost", (long long)backoff);
		wait_backoff(sup, backoff);
	}
}

/* Only so that SIGCHLD is not ignored: it is always blocked, and taken by sigtimedwait(). */
static void
on_signal(int sig)
{
	(void)sig;
}

int
supervisor_run(const struct keydconf *conf)
{
	struct supervisor sup = { .conf = conf };
	int status;

	(void)sigemptyset(&sup.signals);
	(void)sigaddset(&sup.signals, SIGTERM);
	(void)sigaddset(&sup.signals, SIGINT);
	(void)sigaddset(&sup.signals, SIGCHLD);
	(void)signal(SIGCHLD, on_signal);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)sigprocmask(SIG_BLOCK, &sup.signals, NULL);
	status = make_run_dir(conf);
	if (status == 0 && !listen_all(&sup))
		status = 1;
	if (status != 0)
		return status;
	status = keep_running(&sup);
	notify("STOPPING=1\n");
	unlink_all(conf);
	bs_log(BS_LOG_INFO, "ended");
	return status;
}
