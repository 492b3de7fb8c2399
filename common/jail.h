/*
 * jail: what a process gives up before it reads its first byte from outside. The program says what, and in which order:
 * sockets and files first, then limits, ids, privileges, at last the system calls.
 *
 * For the process that calls; before it starts threads, since ids, limits and filter would not hold for all of them.
 * Under a sanitizer core files, bs_jail_calls() and bs_jail_limit(RLIMIT_CORE) are left as they are: it needs what they forbid.
 * Errors: BS_ERR_PERM (the ids), BS_ERR_IO (the rest); the reason is in errno.
 *
 *     static const char *const threads[] = { "clone", "clone3", NULL };
 *     static const char *const *const allowed[] = { bs_jail_calls_base, threads, NULL };
 *     err = bs_jail_ids(uid, gid);
 *     if (err == BS_OK) err = bs_jail_privileges();
 *     if (err == BS_OK) err = bs_jail_calls(allowed, NULL);
 */
#ifndef BS_JAIL_H
#define BS_JAIL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

/* A sanitizer is compiled in. */
bool bs_jail_sanitized(void);
/* Sets both limits of a RLIMIT_ resource. */
enum bs_err bs_jail_limit(int resource, uint64_t n) BS_MUST_USE;
/* Raises a limit as far as this process may; what is in force afterwards, 0 when that can't be said. */
uint64_t bs_jail_raise_limit(int resource, uint64_t want);
/* Becomes this user and group for ever, without further groups. */
enum bs_err bs_jail_ids(uid_t uid, gid_t gid) BS_MUST_USE;
/* The same, and stays in one group more: that of a file which it must read later. -1: none. */
enum bs_err bs_jail_ids_and(uid_t uid, gid_t gid, gid_t more) BS_MUST_USE;
/* No new privileges, no core file, no ptrace by others of our id. After the ids: changing them undoes it. */
enum bs_err bs_jail_privileges(void) BS_MUST_USE;
/* The kernel kills us when our parent ends; when it has ended already, so do we. After the ids: changing them clears it. */
enum bs_err bs_jail_die_with(pid_t parent) BS_MUST_USE;

/* What every process needs: its descriptors, memory, the clock, random bytes, an end. */
extern const char *const bs_jail_calls_base[];
/*
 * From here on only the calls of these lists; any other kills the process. allowed ends with NULL, and so does each list;
 * names that this architecture does not have are passed over. refused (or NULL): answered EACCES, no reason to die.
 */
enum bs_err bs_jail_calls(const char *const *const *allowed, const char *const *refused) BS_MUST_USE;

#endif
