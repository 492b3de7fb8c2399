/*
 * keeper: the supervisor: one worker process, started again when it dies, after a pause that doubles from a tenth of a second
 * to half a minute while workers keep dying. SIGTERM and SIGINT: the worker is told, and has its time to end.
 *
 * The sockets stay open here, so that a client that comes meanwhile waits and is served by the next worker.
 *
 *     status = keeper_run(&conf, listen_fd, control_fd);
 */
#ifndef LMTP_KEEPER_H
#define LMTP_KEEPER_H

#include "proxyconf.h"

/* The exit status of the program. */
int keeper_run(const struct proxyconf *conf, int listen_fd, int control_fd);

#endif
