/*
 * conf_value: what a configuration's words stand for: users, groups, log levels; and how a word that stands for nothing
 * is complained of.
 *
 *     if (!bs_conf_group(s->socket_group, &gid))
 *         return bs_conf_complain(path, "milter.socket_group", s->socket_group, "is no group here: ...", errbuf, size);
 */
#ifndef BS_CONF_VALUE_H
#define BS_CONF_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "err.h"
#include "log.h"

/* A name of the passwd database, or a number below 2^31, which is uid and gid alike. False: neither. Not thread safe. */
bool bs_conf_user(const char *text, uid_t *uid, gid_t *gid) BS_MUST_USE;
bool bs_conf_group(const char *text, gid_t *gid) BS_MUST_USE;
/* What bs_log_open() takes: stderr, syslog or an absolute path. */
bool bs_conf_log(const char *text) BS_MUST_USE;
/* debug, info, warning or error. */
bool bs_conf_level(const char *text, enum bs_log_level *level) BS_MUST_USE;

/* Writes `PATH: KEY: "VALUE" WHAT`; returns BS_ERR_CONF. */
enum bs_err bs_conf_complain(const char *path, const char *key, const char *value, const char *what, char *errbuf,
    size_t errbuf_size);

#endif
