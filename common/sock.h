/*
 * sock: stream sockets with deadlines: nothing here waits for ever. UNIX sockets by their path; sock_addr.h has TCP, too.
 *
 * All descriptors are close-on-exec and non-blocking. Deadlines are milliseconds of a monotonic clock from bs_now_ms().
 * Any thread. Errors: BS_ERR_UNAVAIL (nobody listens), BS_ERR_TIMEOUT, BS_ERR_IO (also: the peer closed),
 * BS_ERR_LIMIT (a path longer than an address holds), BS_ERR_PERM (the socket's mode keeps this process out).
 *
 *     err = bs_sock_connect("/run/basalt/delivery", bs_now_ms() + 2000, &fd);
 *     err = bs_sock_write(fd, frame, frame_len, deadline);
 */
#ifndef BS_SOCK_H
#define BS_SOCK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t bs_now_ms(void);
/*
 * Listens on path. A socket file that nobody listens on is replaced; a live one, and a file of any other kind, is
 * BS_ERR_EXISTS. Ids of -1: leave. The folder must belong to who calls: two callers may not race for one path.
 */
enum bs_err bs_sock_listen(const char *path, mode_t mode, uid_t owner, gid_t group, int *fd) BS_MUST_USE;
/* Waits, too, while the listener's backlog is full. */
enum bs_err bs_sock_connect(const char *path, int64_t deadline_ms, int *fd) BS_MUST_USE;

/* One client of a listener that has some, without waiting; BS_ERR_SHORT: none waits. */
enum bs_err bs_sock_accept(int listen_fd, int *fd) BS_MUST_USE;

/* Until fd is ready for these events of poll(2), or has an error that the next call on it will name. */
enum bs_err bs_sock_wait(int fd, short events, int64_t deadline_ms) BS_MUST_USE;
/* At least one byte, at most size; *n of 0: the peer has closed its side. */
enum bs_err bs_sock_read_some(int fd, void *data, size_t size, int64_t deadline_ms, size_t *n) BS_MUST_USE;
/* All of len, or an error. */
enum bs_err bs_sock_write(int fd, const void *data, size_t len, int64_t deadline_ms) BS_MUST_USE;
/* Exactly len bytes. */
enum bs_err bs_sock_read(int fd, void *data, size_t len, int64_t deadline_ms) BS_MUST_USE;
/* SO_PEERCRED. */
enum bs_err bs_sock_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid) BS_MUST_USE;

#endif
