#include "keydconf.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "conf_value.h"
#include "crypto.h"
#include "store_keys.h"
#include "store_policy.h"

#define AT(field) offsetof(struct keydconf, field)

static const struct bs_conf_item items[] = {
	{ "keyd", "run_dir", BS_CONF_STRING, AT(run_dir), "/run/basalt", 0, 0, "folder of the four sockets" },
	{ "keyd", "database", BS_CONF_STRING, AT(database), "sqlite:/var/lib/basalt/keys/keys.db", 0, 0,
	    "sqlite:/PATH or mariadb://USER@HOST:PORT/DATABASE; only the keystore role opens it" },
	{ "keyd", "database_password_file", BS_CONF_STRING, AT(database_password_file), "", 0, 0,
	    "file with the database password, readable by keystore_user" },
	{ "keyd", "database_timeout_ms", BS_CONF_INT, AT(database_timeout_ms), "2000", 50, 60000,
	    "the longest that one statement may take" },
	{ "keyd", "policy", BS_CONF_STRING, AT(policy), "", 0, 0,
	    "the milter's database, a URL as above: how long keys stay is by plan then; empty: session.linger_s for all" },
	{ "keyd", "policy_password_file", BS_CONF_STRING, AT(policy_password_file), "", 0, 0,
	    "file with its password, readable by policy_user" },
	{ "keyd", "site_key", BS_CONF_STRING, AT(site_key), "/etc/basalt/site.key", 0, 0,
	    "Ed25519 secret that signs the public records: basalt-keyd --make-site-key FILE" },
	{ "keyd", "escrow", BS_CONF_STRING, AT(escrow), "", 0, 0,
	    "file of the domains whose accounts an organisation's offline key opens as well; root alone may write it" },
	{ "keyd", "enrol_at_login", BS_CONF_STRING, AT(enrol_at_login), "no", 0, 0,
	    "keys for users without any at their first login, by a password that another passdb judged: no, plain or sealed" },
	{ "keyd", "log", BS_CONF_STRING, AT(log), "stderr", 0, 0, "stderr, syslog, or a file" },
	{ "keyd", "log_level", BS_CONF_STRING, AT(log_level), "info", 0, 0, "debug, info, warning or error" },
	{ "roles", "vault_user", BS_CONF_STRING, AT(role_user[ROLE_VAULT]), "basalt-vault", 0, 0,
	    "user (name or number) of the process that holds unlocked keys" },
	{ "roles", "kdf_user", BS_CONF_STRING, AT(role_user[ROLE_KDF]), "basalt-kdf", 0, 0, "of the Argon2id workers" },
	{ "roles", "keystore_user", BS_CONF_STRING, AT(role_user[ROLE_KEYSTORE]), "basalt-keystore", 0, 0,
	    "of the process that opens the database" },
	{ "roles", "front_user", BS_CONF_STRING, AT(role_user[ROLE_FRONT]), "basalt-front", 0, 0,
	    "of the processes that clients talk to" },
	{ "roles", "policy_user", BS_CONF_STRING, AT(role_user[ROLE_POLICY]), "basalt-milter", 0, 0,
	    "of the process that reads keyd.policy, where there is one: with SQLite the owner of its folder" },
	{ "sockets", "auth_group", BS_CONF_STRING, AT(socket_group[0]), "basalt-auth", 0, 0,
	    "group (name or number) that may open the socket 'auth': Dovecot's auth processes" },
	{ "sockets", "mail_group", BS_CONF_STRING, AT(socket_group[1]), "basalt-mail", 0, 0, "'mail': IMAP and POP3 processes" },
	{ "sockets", "delivery_group", BS_CONF_STRING, AT(socket_group[2]), "basalt-delivery", 0, 0, "'delivery': LMTP processes" },
	{ "sockets", "control_group", BS_CONF_STRING, AT(socket_group[3]), "root", 0, 0, "'control': basaltctl" },
	{ "kdf", "workers", BS_CONF_INT, AT(kdf_workers), "0", 0, KEYD_KDF_WORKERS_MAX,
	    "Argon2id processes; 0: one a processor, at most 4" },
	{ "kdf", "memory_kib", BS_CONF_INT, AT(kdf_memory_kib), "65536", BS_ARGON2_MEMORY_KIB_MIN, 262144,
	    "Argon2id memory of new password slots" },
	{ "kdf", "passes", BS_CONF_INT, AT(kdf_passes), "2", BS_ARGON2_PASSES_MIN, BS_ARGON2_PASSES_MAX,
	    "Argon2id passes of new password slots" },
	{ "session", "linger_s", BS_CONF_INT, AT(linger_s), "900", 0, 86400,
	    "seconds that keys stay unlocked after the last session of an account whose plan says nothing else" },
	{ "session", "linger_max_s", BS_CONF_INT, AT(linger_max_s), "3600", 0, 86400, "the most that a plan may say" },
	{ "session", "linger_check_s", BS_CONF_INT, AT(linger_check_s), "60", 1, 3600,
	    "seconds after which a login asks the policy database again" },
	{ "session", "token_s", BS_CONF_INT, AT(token_s), "60", 1, 600, "seconds that a login token is good for" },
	{ "session", "resume_s", BS_CONF_INT, AT(resume_s), "0", 0, 86400,
	    "seconds that Dovecot's imap may hibernate a session (imap_hibernate_timeout) and take it up again; 0: not at all" },
	{ "session", "per_account_max", BS_CONF_INT, AT(per_account_max), "64", 1, 10000,
	    "sessions and unused tokens of one account" },
	{ "session", "max", BS_CONF_INT, AT(sessions_max), "50000", 16, 1000000,
	    "sessions in all; sizes the locked memory (about 400 bytes each)" },
};
#define N_ITEMS (sizeof(items) / sizeof(items[0]))

/* Order as in the table above. */
/* Dovecot's auth process has one connection for all: its warm logins and records must not wait behind the cold logins of others. */
static const struct keyd_socket socket_defaults[KEYD_SOCKETS] = {
	{ BS_PEER_AUTH, BS_SOCKET_AUTH, (gid_t)-1, 4096, 2000, 1000, false },
	{ BS_PEER_MAIL, BS_SOCKET_MAIL, (gid_t)-1, BS_FRAME_MAX, 0, 16, true },
	{ BS_PEER_DELIVERY, BS_SOCKET_DELIVERY, (gid_t)-1, 1024, 5000, 16, false },
	{ BS_PEER_CONTROL, BS_SOCKET_CONTROL, (gid_t)-1, BS_FRAME_MAX, 64, 16, false },
};

static bool
has_role(const struct keydconf *conf, enum keyd_role role)
{
	return role != ROLE_POLICY || conf->policy[0] != '\0';
}

/* Without root nothing can be changed: a developer's keyd runs as one user, and says so in its log. */
static enum bs_err
resolve_ids(struct keydconf *conf, const char *path, char *errbuf, size_t size)
{
	static const char *const keys[ROLE_COUNT] = { "roles.keystore_user", "roles.kdf_user", "roles.front_user",
		"roles.vault_user", "roles.policy_user" };
	static const char *const groups[KEYD_SOCKETS] = { "sockets.auth_group", "sockets.mail_group",
		"sockets.delivery_group", "sockets.control_group" };
	bool root = geteuid() == 0;

	for (unsigned i = 0; i < ROLE_COUNT; i++) {
		conf->ids[i] = (struct keyd_ids){ .uid = (uid_t)-1, .gid = (gid_t)-1 };
		if (!root || !has_role(conf, i))
			continue;
		if (!bs_conf_user(conf->role_user[i], &conf->ids[i].uid, &conf->ids[i].gid))
			return bs_conf_complain(path, keys[i], conf->role_user[i], "is no user here: create it, or give a number",
			    errbuf, size);
		if (conf->ids[i].uid == 0 || conf->ids[i].gid == 0)
			return bs_conf_complain(path, keys[i], conf->role_user[i], "is root: a role needs a user of its own", errbuf,
			    size);
	}
	for (unsigned i = 0; i < ROLE_COUNT && root; i++) {
		for (unsigned k = 0; k < i; k++) {
			if (conf->ids[k].uid != conf->ids[i].uid || !has_role(conf, i))
				continue;
			(void)snprintf(errbuf, size, "%s: %s and %s are the same user, \"%s\": give each of the roles a user "
			    "of its own (adduser --system), or they could reach into each other", path, keys[k], keys[i],
			    conf->role_user[i]);
			return BS_ERR_CONF;
		}
	}
	for (unsigned i = 0; i < KEYD_SOCKETS && root; i++) {
		if (!bs_conf_group(conf->socket_group[i], &conf->sockets[i].group))
			return bs_conf_complain(path, groups[i], conf->socket_group[i],
			    "is no group here: create it, or give a number", errbuf, size);
	}
	return BS_OK;
}

static bool
read_at_login(const char *text, enum keyd_at_login *out)
{
	static const char *const names[] = {
		[KEYD_AT_LOGIN_NO] = "no", [KEYD_AT_LOGIN_PLAIN] = "plain", [KEYD_AT_LOGIN_SEALED] = "sealed",
	};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]) != 0)
			continue;
		*out = (enum keyd_at_login)i;
		return true;
	}
	return false;
}

static enum bs_err
work_out(struct keydconf *conf, const char *path, char *errbuf, size_t size)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (!bs_conf_log(conf->log))
		return bs_conf_complain(path, "keyd.log", conf->log, "is neither stderr nor syslog nor an absolute path", errbuf, size);
	if (!bs_conf_level(conf->log_level, &conf->level))
		return bs_conf_complain(path, "keyd.log_level", conf->log_level, "is none of debug, info, warning, error", errbuf,
		    size);
	if (!read_at_login(conf->enrol_at_login, &conf->at_login))
		return bs_conf_complain(path, "keyd.enrol_at_login", conf->enrol_at_login, "is none of no, plain, sealed", errbuf,
		    size);
	if (conf->run_dir[0] != '/')
		return bs_conf_complain(path, "keyd.run_dir", conf->run_dir, "is not an absolute path", errbuf, size);
	if (bs_store_keys_check_url(conf->database) != BS_OK)
		return bs_conf_complain(path, "keyd.database", conf->database,
		    "is neither sqlite:/PATH nor mariadb://USER@HOST[:PORT]/DATABASE[?socket=/PATH]", errbuf, size);
	if (conf->policy[0] != '\0' && bs_store_policy_check_url(conf->policy) != BS_OK)
		return bs_conf_complain(path, "keyd.policy", conf->policy,
		    "is neither empty nor sqlite:/PATH nor mariadb://USER@HOST[:PORT]/DATABASE[?socket=/PATH]", errbuf, size);
	if (conf->kdf_workers == 0)
		conf->kdf_workers = cpus < 1 ? 1 : cpus > KEYD_KDF_WORKERS_MAX ? KEYD_KDF_WORKERS_MAX : cpus;
	memcpy(conf->sockets, socket_defaults, sizeof(conf->sockets));
	conf->sockets[1].clients_max = (unsigned)conf->sessions_max + 1000;
	return resolve_ids(conf, path, errbuf, size);
}

enum bs_err
keydconf_check_run_dir(const struct keydconf *conf, char *errbuf, size_t size)
{
	struct stat st;

	if (stat(conf->run_dir, &st) != 0 && errno == ENOENT)
		return BS_OK;
	if (stat(conf->run_dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
		(void)snprintf(errbuf, size, "keyd.run_dir: \"%s\" is no folder", conf->run_dir);
		return BS_ERR_CONF;
	}
	if ((st.st_mode & 022) == 0 && (st.st_uid == 0 || st.st_uid == geteuid()))
		return BS_OK;
	(void)snprintf(errbuf, size, "keyd.run_dir: others than root may write into \"%s\", and could put a socket of their "
	    "own in place of ours: chown root %s; chmod go-w %s", conf->run_dir, conf->run_dir, conf->run_dir);
	return BS_ERR_CONF;
}

enum bs_err
keydconf_load(const char *path, struct keydconf *out, char *errbuf, size_t errbuf_size)
{
	struct keydconf conf;
	enum bs_err err;

	memset(&conf, 0, sizeof(conf));
	err = bs_conf_load(path, items, N_ITEMS, &conf, errbuf, errbuf_size);
	if (err != BS_OK)
		return err;
	err = work_out(&conf, path, errbuf, errbuf_size);
	if (err != BS_OK) {
		keydconf_clear(&conf);
		return err;
	}
	*out = conf;
	return BS_OK;
}

void
keydconf_clear(struct keydconf *conf)
{
	bs_conf_clear(items, N_ITEMS, conf);
}

void
keydconf_print_defaults(FILE *fp)
{
	bs_conf_print_defaults(items, N_ITEMS, fp);
}
