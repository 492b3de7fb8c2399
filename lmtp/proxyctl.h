/*
 * proxyctl: the socket by which basaltctl asks the proxy: one JSON object a line, one line of JSON as the answer.
 *
 *   {"op":"status"}   -> {"ok":true,"program":"basalt-lmtp","version":"...","uptime_s":7,"counters":{...}}
 *   anything else     -> {"ok":false,"error":"..."}
 *
 * One question a connection, within a second; a thread of its own answers one client after the other.
 *
 *     err = proxyctl_start(fd, &tally);
 */
#ifndef LMTP_PROXYCTL_H
#define LMTP_PROXYCTL_H

#include "err.h"
#include "tally.h"

/* Takes fd; tally is borrowed for ever. The thread ends with the process. */
enum bs_err proxyctl_start(int fd, struct tally *tally) BS_MUST_USE;

#endif
