/*
 * proxyconf: lmtp.conf, read once at start and never changed.
 *
 *     err = proxyconf_load("/etc/basalt/lmtp.conf", &conf, errbuf, sizeof(errbuf));
 */
#ifndef LMTP_PROXYCONF_H
#define LMTP_PROXYCONF_H

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "log.h"
#include "sock_addr.h"

#define LMTP_VERSION "0.1"

struct proxyconf {
	char *listen, *backend, *control, *key_file, *name, *user, *socket_group, *log, *log_level;
	int64_t verdict_lifetime_s;
	int64_t clients_max, recipients_max, copies_max;
	int64_t idle_ms, reply_ms, open_ms, setup_ms, data_ms, answer_ms, drain_ms;

	/* Worked out of the above: */
	struct bs_sock_addr listen_addr, backend_addr;
	enum bs_log_level level;
	uid_t uid; /* -1: stay */
	gid_t gid;
	gid_t socket_gid; /* -1: leave */
};

/* BS_ERR_CONF: errbuf says where and what. */
enum bs_err proxyconf_load(const char *path, struct proxyconf *out, char *errbuf, size_t errbuf_size) BS_MUST_USE;
void proxyconf_clear(struct proxyconf *conf);
void proxyconf_print_defaults(FILE *fp);

#endif
