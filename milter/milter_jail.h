/*
 * milter_jail: what the milter's two processes give up (common/jail says how). The supervisor: its ids, once the sockets
 * are made. The worker, before it starts its first thread: room to grow without end, and all system calls but those of
 * its work; one outside the list kills it, which is a crash like any other.
 *
 *     err = milter_jail_start(uid, gid, more, sessions_max);     // supervisor, inherited
 *     err = milter_jail_worker(sessions_max);
 */
#ifndef MILTER_MILTER_JAIL_H
#define MILTER_MILTER_JAIL_H

#include <sys/types.h>

#include "err.h"

/* uid of -1: stay, which is BS_ERR_PERM for root. more: a group to stay in beside gid, -1 for none. Room for the descriptors of so many sessions, as far as one may. */
enum bs_err milter_jail_start(uid_t uid, gid_t gid, gid_t more, unsigned sessions_max) BS_MUST_USE;
enum bs_err milter_jail_worker(unsigned sessions_max) BS_MUST_USE;

#endif
