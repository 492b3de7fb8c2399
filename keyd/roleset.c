#include "roleset.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sock.h"

#define POLICY_BACKOFF_MS 5000

void
roleset_init(struct roleset *set)
{
	set->count = set->ready = 0;
	set->exit_code = 1;
	set->failed = set->served = set->leaving = false;
	set->policy_due_ms = 0;
	roles_no_wires(&set->wires);
}

static bool
start_one(struct roleset *set, const struct keydconf *conf, enum keyd_role role, unsigned index)
{
	pid_t pid = roles_start(conf, &set->wires, role, index);

	if (pid < 0) {
		bs_log(BS_LOG_ERROR, "fork: %s", strerror(errno));
		return false;
	}
	set->children[set->count++] = (struct child){ .pid = pid, .role = role, .index = index };
	return true;
}

bool
roleset_start(struct roleset *set, const struct keydconf *conf, const struct roleset *before)
{
	bool ok;

	roleset_init(set);
	ok = roles_wire(conf, &set->wires, before == NULL ? NULL : &before->wires) == BS_OK;
	ok = ok && start_one(set, conf, ROLE_KEYSTORE, 0);
	for (unsigned i = 0; ok && i < (unsigned)conf->kdf_workers; i++)
		ok = start_one(set, conf, ROLE_KDF, i);
	for (unsigned i = 0; ok && i < KEYD_SOCKETS; i++)
		ok = start_one(set, conf, ROLE_FRONT, i);
	if (ok && conf->policy[0] != '\0')
		ok = start_one(set, conf, ROLE_POLICY, 0);
	ok = ok && start_one(set, conf, ROLE_VAULT, 0);
	/* Whoever waits for its heir or forerunner shall see it die: that end is nobody else's. */
	for (unsigned i = 0; i < HEIRS; i++)
		roles_close(&set->wires.heir[i][1]);
	return ok;
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

/* The one that nobody waits for. */
static bool
may_die(struct roleset *set, const struct child *child)
{
	if (child->role != ROLE_POLICY || !set->served)
		return false;
	set->policy_due_ms = bs_now_ms() + POLICY_BACKOFF_MS;
	return true;
}

void
roleset_revive(struct roleset *set, const struct keydconf *conf)
{
	if (set->policy_due_ms == 0 || bs_now_ms() < set->policy_due_ms || conf->policy[0] == '\0')
		return;
	for (unsigned i = 0; i < set->count; i++) {
		struct child *child = &set->children[i];

		if (child->role != ROLE_POLICY)
			continue;
		child->pid = roles_start(conf, &set->wires, ROLE_POLICY, 0);
		set->policy_due_ms = child->pid > 0 ? 0 : bs_now_ms() + POLICY_BACKOFF_MS;
		child->pid = child->pid > 0 ? child->pid : 0;
	}
}

bool
roleset_reap(struct roleset *set, bool quiet)
{
	bool any = false;
	int status;

	for (unsigned i = 0; i < set->count; i++) {
		struct child *child = &set->children[i];
		bool left;

		if (child->pid == 0 || waitpid(child->pid, &status, WNOHANG) != child->pid)
			continue;
		left = WIFEXITED(status) && WEXITSTATUS(status) == 0;
		if (!quiet && !(set->leaving && left)) {
			log_end(child, status);
			set->exit_code = WIFEXITED(status) && WEXITSTATUS(status) == 78 ? 78 : 1;
		}
		child->pid = 0;
		if (may_die(set, child))
			continue;
		set->failed = set->failed || !left;
		any = true;
	}
	return any;
}

bool
roleset_is_alive(const struct roleset *set)
{
	for (unsigned i = 0; i < set->count; i++) {
		if (set->children[i].pid != 0)
			return true;
	}
	return false;
}

bool
roleset_all_live(const struct roleset *set)
{
	for (unsigned i = 0; i < set->count; i++) {
		if (set->children[i].pid == 0 && set->children[i].role != ROLE_POLICY)
			return false;
	}
	return true;
}

bool
roleset_heirs_live(const struct roleset *set)
{
	for (unsigned i = 0; i < set->count; i++) {
		const struct child *child = &set->children[i];

		if (child->pid != 0 && (child->role == ROLE_FRONT || child->role == ROLE_VAULT))
			return true;
	}
	return false;
}

void
roleset_adopt(struct roleset *set)
{
	for (unsigned i = 0; i < KEYD_SOCKETS; i++)
		(void)fcntl(set->wires.listen[i], F_SETFD, FD_CLOEXEC);
	for (unsigned i = 0; i < HEIRS; i++)
		(void)fcntl(set->wires.ctl[i][0], F_SETFD, FD_CLOEXEC);
	if (set->wires.policy[1] >= 0)
		(void)fcntl(set->wires.policy[1], F_SETFD, FD_CLOEXEC);
	set->served = true;
	for (unsigned i = 0; i < set->count; i++) {
		if (set->children[i].pid == 0)
			set->policy_due_ms = bs_now_ms();
	}
}

void
roleset_kill(const struct roleset *set, int sig)
{
	for (unsigned i = 0; i < set->count; i++) {
		if (set->children[i].pid != 0)
			(void)kill(set->children[i].pid, sig);
	}
}

bool
roleset_is_ready(struct roleset *set)
{
	uint8_t bytes[ROLES_MAX];
	ssize_t n = read(set->wires.ready[0], bytes, sizeof(bytes));

	if (n > 0)
		set->ready += (unsigned)n;
	return set->ready == set->count;
}
