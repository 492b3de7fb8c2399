/*
 * roles: the descriptors that tie the roles together, and what each forked role does first: give up what is not its own,
 * lock itself in, say that it is ready, run.
 *
 *     err = roles_wire(conf, &wires);                        // socketpairs; the listening sockets are there already
 *     pid = roles_start(conf, &wires, ROLE_KDF, 0, ready_fd); // forks
 *     roles_unwire(&wires);                                  // the supervisor's copies
 */
#ifndef KEYD_ROLES_H
#define KEYD_ROLES_H

#include "keydconf.h"

struct wires {
	int listen[KEYD_SOCKETS];
	int front[KEYD_SOCKETS][2]; /* [0] the vault's end, [1] the role's */
	int keystore[2];
	int policy[2]; /* -1: there is no such role */
	int kdf[KEYD_KDF_WORKERS_MAX][2];
	int ready[2]; /* one byte for each role that is ready */
};

/* Makes all but listen[]. BS_ERR_IO. */
enum bs_err roles_wire(const struct keydconf *conf, struct wires *w) BS_MUST_USE;
/* Closes all but listen[]. */
void roles_unwire(struct wires *w);
/* Forks role number index of its kind. -1: it cannot. */
pid_t roles_start(const struct keydconf *conf, const struct wires *w, enum keyd_role role, unsigned index);
/* "kdf", "front auth", ... for the log; static. */
const char *roles_name(enum keyd_role role, unsigned index);

#endif
