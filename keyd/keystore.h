/*
 * keystore: the role that alone opens the keys database. It believes nothing of what it reads: the vault verifies.
 *
 * Gets LINK_GET, LINK_PUT, LINK_PRUNE, LINK_REMOVE, LINK_COUNT over its socketpair and answers each, in order. A database
 * that is away makes answers of BS_ERR_UNAVAIL, never a wait beyond the configured timeout. LINK_COUNT fails while the last write has.
 *
 *     ks = keystore_new(conf, heir);            // after rolejail_enter()
 *     exit_status = keystore_run(ks, fd);       // returns when the vault is gone
 */
#ifndef KEYD_KEYSTORE_H
#define KEYD_KEYSTORE_H

#include "keydconf.h"

struct keystore;

/* NULL, and it was logged: the database can't be opened; by an heir, not even if that may pass. */
struct keystore *keystore_new(const struct keydconf *conf, bool heir);
/* Takes both. The process's exit status. */
int keystore_run(struct keystore *ks, int fd);

#endif
