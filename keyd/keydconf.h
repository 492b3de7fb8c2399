/*
 * keydconf: keyd.conf as a struct: the typed table, its checks, and names of users and groups turned into numbers.
 *
 * Read once by the supervisor before it forks; immutable afterwards. The strings belong to the struct.
 * Errors: BS_ERR_CONF with a whole sentence in errbuf.
 *
 *     err = keydconf_load("/etc/basalt/keyd.conf", &conf, errbuf, sizeof(errbuf));
 *     keydconf_clear(&conf);
 */
#ifndef KEYD_KEYDCONF_H
#define KEYD_KEYDCONF_H

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "err.h"
#include "keyproto.h"
#include "log.h"

#define KEYDCONF_PATH "/etc/basalt/keyd.conf"
#define KEYD_KDF_WORKERS_MAX 4

/* May Dovecot's auth have accounts made for users whom the site's own passdb lets in, and what are they? */
enum keyd_at_login { KEYD_AT_LOGIN_NO, KEYD_AT_LOGIN_PLAIN, KEYD_AT_LOGIN_SEALED };

enum keyd_role { ROLE_KEYSTORE, ROLE_KDF, ROLE_FRONT, ROLE_VAULT, ROLE_POLICY, ROLE_COUNT };

struct keyd_ids {
	uid_t uid; /* (uid_t)-1: stay who we are (not started as root) */
	gid_t gid;
};

/* One of the four sockets: what its clients may cost. */
struct keyd_socket {
	enum bs_peer peer;
	const char *name; /* the file in run_dir */
	gid_t group;      /* (gid_t)-1: leave */
	size_t frame_max;
	unsigned clients_max;
	unsigned requests_max; /* of one client without a reply; then it is not read further */
	bool must_attach; /* a client that is no session yet may not stay silent */
};
#define KEYD_SOCKETS 4

struct keydconf {
	/* as in the file */
	char *run_dir, *database, *database_password_file, *policy, *policy_password_file, *site_key, *escrow, *enrol_at_login, *log, *log_level;
	int64_t database_timeout_ms;
	char *role_user[ROLE_COUNT];
	char *socket_group[KEYD_SOCKETS];
	int64_t kdf_workers, kdf_memory_kib, kdf_passes;
	int64_t linger_s, linger_max_s, linger_check_s, token_s, resume_s, per_account_max, sessions_max;
	/* worked out */
	enum bs_log_level level;
	enum keyd_at_login at_login;
	struct keyd_ids ids[ROLE_COUNT];
	struct keyd_socket sockets[KEYD_SOCKETS];
};

enum bs_err keydconf_load(const char *path, struct keydconf *out, char *errbuf, size_t errbuf_size) BS_MUST_USE;
/* BS_ERR_CONF with a text when somebody else may write into run_dir; one that is not there yet is right. */
enum bs_err keydconf_check_run_dir(const struct keydconf *conf, char *errbuf, size_t size) BS_MUST_USE;
void keydconf_clear(struct keydconf *conf);
void keydconf_print_defaults(FILE *fp);

#endif
