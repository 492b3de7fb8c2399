/*
 * roles: the descriptors that tie the roles together, and what each forked role does first: give up what is not its own,
 * lock itself in, say that it is ready, run.
 *
 *     err = roles_wire(conf, &wires, NULL);                  // socketpairs; the listening sockets are there already
 *     pid = roles_start(conf, &wires, ROLE_KDF, 0);            // forks
 *     roles_unwire(&wires);                                  // the supervisor's copies
 */
#ifndef KEYD_ROLES_H
#define KEYD_ROLES_H

#include "keydconf.h"

/* The roles that hand on what they have: the fronts, by their sockets' numbers, and the vault. */
#define HEIRS (KEYD_SOCKETS + 1)
#define HEIR_VAULT KEYD_SOCKETS

struct wires {
	int listen[KEYD_SOCKETS];
	int front[KEYD_SOCKETS][2]; /* [0] the vault's end, [1] the role's */
	int keystore[2];
	int policy[2]; /* -1: there is no such role */
	int kdf[KEYD_KDF_WORKERS_MAX][2];
	int ready[2]; /* one byte for each role that is ready */
	int ctl[HEIRS][2];  /* [0] the supervisor's end, [1] the role's: descriptors for it */
	int heir[HEIRS][2]; /* [0] for the role before this one, [1] the role's own; -1: it begins anew */
	int others[HEIRS + 1]; /* what the supervisor keeps of another set, its ends of ctl and policy's; none of these roles' */
};

/* Makes all but listen[]; heir only where there is a set of roles before this one, whose wires those are. BS_ERR_IO. */
enum bs_err roles_wire(const struct keydconf *conf, struct wires *w, const struct wires *before) BS_MUST_USE;
/* As roles_wire() makes them first: none is open. */
void roles_no_wires(struct wires *w);
/* Closes all but listen[]. */
void roles_unwire(struct wires *w);
/* There is no other set any more. */
void roles_forget_others(struct wires *w);
/* Closes one and notes it. */
void roles_close(int *fd);
/* Forks role number index of its kind. -1: it cannot. */
pid_t roles_start(const struct keydconf *conf, const struct wires *w, enum keyd_role role, unsigned index);
/* "kdf", "front auth", ... for the log; static. */
const char *roles_name(enum keyd_role role, unsigned index);

#endif
