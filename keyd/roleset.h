/*
 * roleset: one whole set of roles as the supervisor sees it: who was forked, who still lives, who is ready.
 *
 * At a reload there are two for a moment: the one that serves, and the one that is to. Only the supervisor's thread.
 *
 *     if (roleset_start(&set, conf, NULL) && roleset_is_ready(&set)) ...
 *     if (roleset_reap(&set, false)) ...            // somebody ended
 *     roleset_kill(&set, SIGTERM);
 */
#ifndef KEYD_ROLESET_H
#define KEYD_ROLESET_H

#include "roles.h"

#define ROLES_MAX (1 + KEYD_KDF_WORKERS_MAX + KEYD_SOCKETS + 1 + 1)

struct child {
	pid_t pid; /* 0: reaped */
	enum keyd_role role;
	unsigned index;
};

struct roleset {
	struct wires wires;
	struct child children[ROLES_MAX];
	unsigned count; /* 0: there is no such set */
	unsigned ready;
	bool served;    /* all were ready once */
	int exit_code;  /* of the first role that ended by itself */
	bool leaving;   /* they have heirs: who ends with status 0 has left all it had */
	bool failed;    /* one ended, and not because it had done what it was for */
	int64_t policy_due_ms; /* when the role 'policy', which may die alone, starts again; 0: it lives, or there is none */
};

/* An empty one; its listening sockets stay as they are. */
void roleset_init(struct roleset *set);
/* Forks all. before: the set whose heirs they are; NULL: they begin anew. False: not all could be; end them. */
bool roleset_start(struct roleset *set, const struct keydconf *conf, const struct roleset *before) BS_MUST_USE;
/* Collects who has ended, and logs it unless quiet. True when any had without whom the others can't go on. */
bool roleset_reap(struct roleset *set, bool quiet);
bool roleset_is_alive(const struct roleset *set);
/* Starts the role 'policy' again when it is due: its wires stay, and another process takes its place. */
void roleset_revive(struct roleset *set, const struct keydconf *conf);
/* All but 'policy'. */
bool roleset_all_live(const struct roleset *set);
/* Any of the fronts and the vault. */
bool roleset_heirs_live(const struct roleset *set);
/* A set that another image has started, and that serves: its descriptors are closed on exec again. */
void roleset_adopt(struct roleset *set);
void roleset_kill(const struct roleset *set, int sig);
/* Who is in its jail by now. True: all. */
bool roleset_is_ready(struct roleset *set);

#endif
