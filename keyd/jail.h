/*
 * jail: how a role gives up what it does not need, before it reads its first byte from outside.
 *
 * Order: user and groups, no new privileges, no core file and no ptrace, death with the supervisor, resource limits,
 * then an allow-list of system calls (libseccomp; a violation kills the process). Under a sanitizer the last one, the
 * core limit and the memory lock are left out: it needs what they forbid.
 * Errors: BS_ERR_PERM (the ids), BS_ERR_IO; the reason is in errno.
 *
 *     jail_lock_memory();                                  // while still root
 *     err = jail_enter(&(struct jail){ ids, ROLE_KDF, 16, supervisor_pid });
 */
#ifndef KEYD_JAIL_H
#define KEYD_JAIL_H

#include "keydconf.h"

struct jail {
	struct keyd_ids ids;
	enum keyd_role role;
	unsigned files_max; /* RLIMIT_NOFILE */
	pid_t parent;       /* dies with it */
};

/* Keeps passwords in transit out of the swap, where the system lets us: best effort. True when all memory is locked. */
bool jail_lock_memory(void);
/* Raises a limit as far as this process may; what is in force afterwards. */
uint64_t jail_raise_limit(int resource, uint64_t want);
enum bs_err jail_enter(const struct jail *jail) BS_MUST_USE;

#endif
