/*
 * kdf: the role that runs Argon2id, one request at a time, so that the vault never waits 100 ms for a password.
 *
 * Gets LINK_KDF over its socketpair, answers the same. Knows no account, no file, no network.
 *
 *     exit_status = kdf_run(fd);     // after rolejail_enter(); returns when the vault is gone
 */
#ifndef KEYD_KDF_H
#define KEYD_KDF_H

/* Takes fd. The process's exit status. */
int kdf_run(int fd);

#endif
