/*
 * supervisor: the process that starts the roles, and starts them all again when one of them dies.
 *
 * It alone keeps root, and does nothing with it but: listen, fork, wait. It reads nothing from any client and never holds a
 * key: the vault reads the site key itself, after the fork. The listening sockets outlive a restart, so that clients
 * wait instead of failing. Unlocked keys and sessions do not: logins start anew.
 *
 * Order: keystore, kdf workers, fronts, and the vault last. Each says "ready" over a pipe once it is in its jail.
 *
 *     exit_status = supervisor_run(&conf);     // 0 after SIGTERM, 78 or 1 when a role cannot start at all
 */
#ifndef KEYD_SUPERVISOR_H
#define KEYD_SUPERVISOR_H

#include "keydconf.h"

int supervisor_run(const struct keydconf *conf);

#endif
