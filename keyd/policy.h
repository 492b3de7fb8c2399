/*
 * policy: the role that reads the policy database, where keyd.policy names one: how long an account's keys stay, by its plan.
 *
 * Gets LINK_LINGER over its socketpair and answers each, in order. Nobody waits for it: it has a process of its own so that a
 * database that hangs, or one that was forged, reaches neither the keystore nor the vault, and it may die and be started anew.
 *
 *     exit_status = policy_run(fd, conf);     // after rolejail_enter(); returns when the vault is gone
 */
#ifndef KEYD_POLICY_H
#define KEYD_POLICY_H

#include "keydconf.h"

/* Takes fd. The process's exit status. */
int policy_run(int fd, const struct keydconf *conf);

#endif
