#include "roles.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crypto.h"
#include "front.h"
#include "jail.h"
#include "kdf.h"
#include "keystore.h"
#include "policy.h"
#include "rolejail.h"
#include "vault.h"

#define EXIT_CONF 78
#define FILES_SPARE 32u
#define STORE_FILES 256u

void
roles_close(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

/* Where all is true, what belongs to no one set of roles as well. */
static void
close_all(struct wires *w, bool all)
{
	for (unsigned i = 0; i < KEYD_SOCKETS; i++) {
		if (all)
			roles_close(&w->listen[i]);
		roles_close(&w->front[i][0]);
		roles_close(&w->front[i][1]);
	}
	for (unsigned i = 0; i < KEYD_KDF_WORKERS_MAX; i++) {
		roles_close(&w->kdf[i][0]);
		roles_close(&w->kdf[i][1]);
	}
	roles_close(&w->keystore[0]);
	roles_close(&w->keystore[1]);
	roles_close(&w->policy[0]);
	roles_close(&w->policy[1]);
	roles_close(&w->ready[0]);
	roles_close(&w->ready[1]);
	for (unsigned i = 0; i < HEIRS; i++) {
		for (unsigned end = 0; end < 2; end++) {
			roles_close(&w->ctl[i][end]);
			roles_close(&w->heir[i][end]);
		}
	}
	for (unsigned i = 0; all && i <= HEIRS; i++)
		roles_close(&w->others[i]);
}

void
roles_forget_others(struct wires *w)
{
	for (unsigned i = 0; i <= HEIRS; i++)
		w->others[i] = -1;
}

void
roles_no_wires(struct wires *w)
{
	for (unsigned i = 0; i < KEYD_SOCKETS; i++)
		w->front[i][0] = w->front[i][1] = -1;
	for (unsigned i = 0; i < KEYD_KDF_WORKERS_MAX; i++)
		w->kdf[i][0] = w->kdf[i][1] = -1;
	for (unsigned i = 0; i < HEIRS; i++)
		w->ctl[i][0] = w->ctl[i][1] = w->heir[i][0] = w->heir[i][1] = -1;
	roles_forget_others(w);
	w->keystore[0] = w->keystore[1] = w->policy[0] = w->policy[1] = w->ready[0] = w->ready[1] = -1;
}

/* Between the supervisor and a role, and a role and the one before it: messages of fdpass.h; between vaults a stream. */
static bool
wire_heirs(struct wires *w, const struct wires *before)
{
	const int flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
	bool ok = true;

	for (unsigned i = 0; ok && i < HEIRS; i++) {
		ok = socketpair(AF_UNIX, SOCK_SEQPACKET | flags, 0, w->ctl[i]) == 0;
		if (ok && before != NULL)
			ok = socketpair(AF_UNIX, (i == HEIR_VAULT ? SOCK_STREAM : SOCK_SEQPACKET) | flags, 0, w->heir[i]) == 0;
		w->others[i] = before == NULL ? -1 : before->ctl[i][0];
	}
	w->others[HEIRS] = before == NULL ? -1 : before->policy[1];
	return ok;
}

enum bs_err
roles_wire(const struct keydconf *conf, struct wires *w, const struct wires *before)
{
	const int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
	bool ok;

	roles_no_wires(w);
	ok = wire_heirs(w, before) && socketpair(AF_UNIX, type, 0, w->keystore) == 0 && pipe2(w->ready, O_CLOEXEC | O_NONBLOCK) == 0;
	/* Packets: whom the supervisor starts in place of one that was killed finds no half of a message. */
	if (conf->policy[0] != '\0')
		ok = ok && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, w->policy) == 0;
	for (unsigned i = 0; ok && i < KEYD_SOCKETS; i++)
		ok = socketpair(AF_UNIX, type, 0, w->front[i]) == 0;
	for (unsigned i = 0; ok && i < (unsigned)conf->kdf_workers; i++)
		ok = socketpair(AF_UNIX, type, 0, w->kdf[i]) == 0;
	if (!ok)
		close_all(w, false);
	return ok ? BS_OK : BS_ERR_IO;
}

void
roles_unwire(struct wires *w)
{
	close_all(w, false);
}

const char *
roles_name(enum keyd_role role, unsigned index)
{
	static const char *const fronts[KEYD_SOCKETS] = { "keyd/front-auth", "keyd/front-mail", "keyd/front-delivery",
		"keyd/front-control" };
	static const char *const names[ROLE_COUNT] = { [ROLE_KEYSTORE] = "keyd/keystore", [ROLE_KDF] = "keyd/kdf",
		[ROLE_VAULT] = "keyd/vault", [ROLE_POLICY] = "keyd/policy" };

	return role == ROLE_FRONT ? fronts[index % KEYD_SOCKETS] : names[role];
}

/* Takes a descriptor out of the set, so that close_all() leaves it. */
static int
keep(int *fd)
{
	int kept = *fd;

	*fd = -1;
	return kept;
}

static void
lock_in(const struct keydconf *conf, enum keyd_role role, unsigned files_max, pid_t parent)
{
	const struct rolejail jail = { .ids = conf->ids[role], .role = role, .files_max = files_max, .parent = parent,
		.syslog = strcmp(conf->log, "syslog") == 0 };
	enum bs_err err = rolejail_enter(&jail);

	if (err != BS_OK)
		bs_fatal("cannot lock itself in: %s (%s)", bs_err_text(err), strerror(errno));
}

static void
say_ready(int ready_fd)
{
	if (write(ready_fd, "", 1) != 1)
		bs_fatal("the supervisor is gone");
	(void)close(ready_fd);
}

static void
enter(const struct keydconf *conf, enum keyd_role role, unsigned files_max, pid_t parent, int ready_fd)
{
	lock_in(conf, role, files_max, parent);
	say_ready(ready_fd);
}

static int
run_policy(const struct keydconf *conf, struct wires *w, pid_t parent)
{
	int fd = keep(&w->policy[1]), ready = keep(&w->ready[1]);

	close_all(w, true);
	enter(conf, ROLE_POLICY, STORE_FILES, parent, ready);
	return policy_run(fd, conf);
}

static int
run_keystore(const struct keydconf *conf, struct wires *w, pid_t parent)
{
	bool heir = w->heir[HEIR_VAULT][1] >= 0;
	int fd = keep(&w->keystore[1]), ready = keep(&w->ready[1]);
	struct keystore *ks;

	close_all(w, true);
	lock_in(conf, ROLE_KEYSTORE, STORE_FILES, parent);
	ks = keystore_new(conf, heir);
	if (ks == NULL)
		return EXIT_CONF;
	say_ready(ready);
	return keystore_run(ks, fd);
}

static int
run_kdf(const struct keydconf *conf, struct wires *w, unsigned index, pid_t parent)
{
	int fd = keep(&w->kdf[index][1]), ready = keep(&w->ready[1]);

	close_all(w, true);
	if (bs_crypto_init() != BS_OK)
		bs_fatal("the cryptographic libraries do not start");
	enter(conf, ROLE_KDF, FILES_SPARE, parent, ready);
	return kdf_run(fd);
}

static int
run_front(const struct keydconf *conf, struct wires *w, unsigned index, pid_t parent)
{
	const struct keyd_socket *sock = &conf->sockets[index];
	const struct front_fds fds = { .listen = keep(&w->listen[index]), .link = keep(&w->front[index][1]),
		.ctl = keep(&w->ctl[index][1]), .forerunner = keep(&w->heir[index][1]) };
	int ready = keep(&w->ready[1]);
	unsigned files = sock->clients_max + FILES_SPARE;
	uint64_t may = bs_jail_raise_limit(RLIMIT_NOFILE, files);
	struct front *front;

	close_all(w, true);
	if (may < files)
		bs_log(BS_LOG_WARNING, "only %llu clients fit into the limit of open files, not %u: raise LimitNOFILE",
		    (unsigned long long)may, sock->clients_max);
	front = front_new(&fds, sock);
	if (front == NULL)
		bs_fatal("not enough memory for %u clients", sock->clients_max);
	enter(conf, ROLE_FRONT, may < files ? (unsigned)may : files, parent, ready);
	return front_run(front);
}

static int
run_vault(const struct keydconf *conf, struct wires *w, pid_t parent)
{
	struct vault_fds fds = { .keystore = keep(&w->keystore[0]), .policy = keep(&w->policy[0]),
		.kdf_count = (unsigned)conf->kdf_workers, .ctl = keep(&w->ctl[HEIR_VAULT][1]),
		.forerunner = keep(&w->heir[HEIR_VAULT][1]) };
	int ready = keep(&w->ready[1]);
	char errbuf[512] = "";
	struct vault *v;
	enum bs_err err;

	for (unsigned i = 0; i < KEYD_SOCKETS; i++)
		fds.fronts[i] = keep(&w->front[i][0]);
	for (unsigned i = 0; i < fds.kdf_count; i++)
		fds.kdf[i] = keep(&w->kdf[i][0]);
	close_all(w, true);
	err = vault_new(conf, &fds, errbuf, sizeof(errbuf), &v);
	if (err != BS_OK) {
		bs_log(BS_LOG_FATAL, "%s", errbuf[0] == '\0' ? bs_err_text(err) : errbuf);
		return EXIT_CONF;
	}
	enter(conf, ROLE_VAULT, FILES_SPARE, parent, ready);
	return vault_run(v);
}

/* The supervisor's signal habits are not the roles'. */
static void
reset_signals(void)
{
	sigset_t none;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN); /* Ctrl-C reaches the whole group: the supervisor ends us in order */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int
run(const struct keydconf *conf, struct wires *w, enum keyd_role role, unsigned index, pid_t parent)
{
	bs_log_name(roles_name(role, index));
	reset_signals();
	if (role != ROLE_KEYSTORE && role != ROLE_POLICY)
		(void)rolejail_lock_memory(); /* where it cannot be had, the arena still is locked */
	switch (role) {
	case ROLE_KEYSTORE:
		return run_keystore(conf, w, parent);
	case ROLE_POLICY:
		return run_policy(conf, w, parent);
	case ROLE_KDF:
		return run_kdf(conf, w, index, parent);
	case ROLE_FRONT:
		return run_front(conf, w, index, parent);
	default:
		return run_vault(conf, w, parent);
	}
}

pid_t
roles_start(const struct keydconf *conf, const struct wires *w, enum keyd_role role, unsigned index)
{
	pid_t parent = getpid(), pid = fork();
	struct wires mine = *w;

	if (pid == 0)
		_exit(run(conf, &mine, role, index, parent));
	return pid;
}
