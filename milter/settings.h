/*
 * settings: milter.conf, read once at start and never changed (a new configuration is a restart: see main.c).
 *
 *     err = settings_load("/etc/basalt/milter.conf", &settings, errbuf, sizeof(errbuf));
 */
#ifndef MILTER_SETTINGS_H
#define MILTER_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "err.h"
#include "log.h"
#include "network.h"
#include "spf.h"

#define MILTER_VERSION "0.1"

struct settings {
	char *socket;    /* unix:/path or inet:host:port */
	char *transport;
	int64_t sessions_max;
	int64_t drain_s;
	char *socketmap; /* unix:/path */
	char *control;   /* /path */
	char *database;
	char *database_password_file;
	int64_t database_timeout_ms;
	int64_t database_threads;
	int64_t cache_s, cache_unknown_s;
	char *quota_status; /* "": nobody is asked */
	char *authserv_id;
	char *verdict_keys;
	int64_t verdict_lifetime_s;
	char *dns_servers;
	int64_t dns_cache, dns_pending;
	char *trusted_networks;
	char *dnsbl_lists;
	int64_t dnsbl_timeout_ms;
	char *trace_key_file;
	int64_t history_days;
	int64_t greylist_window_s, greylist_keep_s;
	char *spf_engine;
	int64_t spf_timeout_ms;
	int64_t dmarc_report_days, dmarc_report_rows;
	char *log;
	char *log_level;
	char *user;         /* "" : stay who we are */
	char *socket_group; /* "" : the user's own */
	char *temp_dir;

	/* Worked out of the above: */
	const char *socketmap_path; /* inside the string */
	bool libmilter;             /* the transport, else the native one */
	enum bs_log_level level;
	enum spf_engine spf;
	struct networks trusted;
	uid_t uid; /* -1: stay */
	gid_t gid;
	gid_t socket_gid; /* -1: leave */
};

/* BS_ERR_CONF: errbuf says where and what. */
enum bs_err settings_load(const char *path, struct settings *out, char *errbuf, size_t errbuf_size) BS_MUST_USE;
void settings_clear(struct settings *settings);
void settings_print_defaults(FILE *fp);

#endif
