/*
 * jail: what the process gives up before it reads its first client byte: its ids, core files, room to grow.
 *
 *     jail_limits();
 *     err = jail_become(uid, gid, more);
 *
 * A seccomp filter comes with the issue that splits the milter into processes (docs/POSTFIX.md, "Not there yet").
 */
#ifndef MILTER_JAIL_H
#define MILTER_JAIL_H

#include <sys/types.h>

#include "err.h"

/* No core files, no ptrace by others of our id, enough descriptors; then no new privileges. */
void jail_limits(void);
/* uid of -1: stay, which is BS_ERR_PERM for root. more: a group to stay in beside gid, -1 for none. */
enum bs_err jail_become(uid_t uid, gid_t gid, gid_t more) BS_MUST_USE;

#endif
