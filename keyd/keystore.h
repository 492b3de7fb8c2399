/*
 * keystore: the role that alone opens the keys database. It believes nothing of what it reads: the vault verifies.
 *
 * Gets LINK_GET, LINK_PUT, LINK_PRUNE, LINK_REMOVE, LINK_COUNT over its socketpair and answers each, in order. A database
 * that is away makes answers of BS_ERR_UNAVAIL, never a wait beyond the configured timeout.
 *
 *     exit_status = keystore_run(fd, conf);     // after rolejail_enter(); returns when the vault is gone
 */
#ifndef KEYD_KEYSTORE_H
#define KEYD_KEYSTORE_H

#include "keydconf.h"

/* Takes fd. The process's exit status. */
int keystore_run(int fd, const struct keydconf *conf);

#endif
