/*
 * log: one line a call, to standard error, a file or syslog, with the ladder of Postfix:
 * debug, info (what happened), warning (odd, handled), error (this one thing failed),
 * alarm (somebody should look now: forged record, rolled-back key), fatal (the program ends).
 *
 * Never give it a secret. Bytes from outside are printed with control characters as \xNN; a line ends after 16 KiB.
 * Threads may call it at the same time: a line is one write(2). Libraries in common/ do not log;
 * programs log once, where the error is decided.
 *
 *     bs_log_open("basalt-keyd", "stderr");
 *     bs_log(BS_LOG_INFO, "listening on %s", path);
 */
#ifndef BS_LOG_H
#define BS_LOG_H

#include "err.h"

enum bs_log_level { BS_LOG_DEBUG, BS_LOG_INFO, BS_LOG_WARNING, BS_LOG_ERROR, BS_LOG_ALARM, BS_LOG_FATAL };

/* target: "stderr", "syslog" or the path of a file to append to (created 0640). name is borrowed for ever. */
enum bs_err bs_log_open(const char *name, const char *target) BS_MUST_USE;
/* Lines below level are dropped; the default is BS_LOG_INFO. */
void bs_log_level(enum bs_log_level level);
/* Replaces the name by which a process signs its lines, as after a fork ("keyd/vault"); borrowed. */
void bs_log_name(const char *name);

void bs_log(enum bs_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Logs at BS_LOG_FATAL and ends the process with status 1. */
void bs_fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
