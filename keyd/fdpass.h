/*
 * fdpass: messages of a bounded length, each with at most one descriptor, over a SOCK_SEQPACKET pair of two processes of keyd.
 *
 * Non-blocking descriptors; deadlines as in sock.h, 0: now or not at all. What was sent stays to be read when the sender is gone.
 * Errors: BS_ERR_TIMEOUT, BS_ERR_IO (nobody is at the other end any more), BS_ERR_LIMIT (longer than asked for, or more than one
 * descriptor, or no room for it: whatever came with it is closed).
 *
 *     err = fdpass_send(sock, "", 1, fd, bs_now_ms() + 1000);       // fd stays the caller's, too
 *     err = fdpass_recv(sock, data, sizeof(data), 0, &len, &fd);    // fd: -1 if there was none
 */
#ifndef KEYD_FDPASS_H
#define KEYD_FDPASS_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define FDPASS_MAX 32768

/* fd -1: none goes along. */
enum bs_err fdpass_send(int sock, const void *data, size_t len, int fd, int64_t deadline_ms) BS_MUST_USE;
enum bs_err fdpass_recv(int sock, void *data, size_t size, int64_t deadline_ms, size_t *len, int *fd) BS_MUST_USE;

#endif
