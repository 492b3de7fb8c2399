/*
 * proxy: the worker process: keys, a thread for each client, a bound on them, and an end that lets messages end.
 *
 * Runs in the child of keeper.h: reads the keys, shuts itself in, serves until SIGTERM.
 *
 *     _exit(proxy_run(&conf, listen_fd, control_fd, supervisor_pid));
 */
#ifndef LMTP_PROXY_H
#define LMTP_PROXY_H

#include <sys/types.h>

#include "proxyconf.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_TEMPORARY = 75, EXIT_CONFIG = 78 };

int proxy_run(const struct proxyconf *conf, int listen_fd, int control_fd, pid_t parent);

#endif
