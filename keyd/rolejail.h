/*
 * rolejail: how a role gives up what it does not need, before it reads its first byte from outside.
 *
 * Order: user and groups, no new privileges, no core file and no ptrace, death with the supervisor, resource limits,
 * then an allow-list of system calls (a violation kills the process; tests/unit/test_rolejail.c). Under a sanitizer the last one, the
 * core limit and the memory lock are left out: it needs what they forbid.
 * Errors: BS_ERR_PERM (the ids), BS_ERR_IO; the reason is in errno.
 *
 *     rolejail_lock_memory();                                  // while still root
 *     err = rolejail_enter(&(struct rolejail){ ids, ROLE_KDF, 16, supervisor_pid, false });
 */
#ifndef KEYD_ROLEJAIL_H
#define KEYD_ROLEJAIL_H

#include "keydconf.h"

struct rolejail {
	struct keyd_ids ids;
	enum keyd_role role;
	unsigned files_max; /* RLIMIT_NOFILE */
	pid_t parent;       /* dies with it */
	bool syslog;        /* the log goes there: a socket is refused then, without it the attempt kills */
};

/* Keeps passwords in transit out of the swap, where the system lets us: best effort. True when all memory is locked. */
bool rolejail_lock_memory(void);
enum bs_err rolejail_enter(const struct rolejail *jail) BS_MUST_USE;

#endif
