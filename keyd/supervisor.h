/*
 * supervisor: the process that starts the roles, and starts them all again when one of them dies.
 *
 * It alone keeps root, and does nothing with it but: listen, fork, wait. It reads nothing from any client and never holds a
 * key: the vault reads the site key itself, after the fork. The listening sockets outlive a restart, so that clients
 * wait instead of failing. Unlocked keys and sessions do not: logins start anew.
 *
 * SIGHUP is a reload: it becomes the program of today (succession.h), starts a second set of roles, and has each old front and the
 * old vault told where its heir is. They do the rest among themselves (vault_handover.h); it waits until the old ones have
 * ended, each having left all it had, or ends the new ones, and the old ones go on. What dies half way is a crash: all start again.
 *
 * Order: keystore, kdf workers, fronts, and the vault last. Each says "ready" over a pipe once it is in its jail.
 *
 *     exit_status = supervisor_run(&conf, &program);     // 0 after SIGTERM, 78 or 1 when a role cannot start at all
 */
#ifndef KEYD_SUPERVISOR_H
#define KEYD_SUPERVISOR_H

#include "succession.h"

int supervisor_run(const struct keydconf *conf, const struct program *program);

#endif
