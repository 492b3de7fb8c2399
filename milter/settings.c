#include "settings.h"

#include <string.h>

#include "conf.h"
#include "conf_value.h"
#include "dnsbl.h"
#include "store_policy.h"
#include "transport_listen.h"

#define ITEM(type, name, def, min, max, help) \
	{ "milter", #name, type, offsetof(struct settings, name), def, min, max, help }

static const struct bs_conf_item items[] = {
	ITEM(BS_CONF_STRING, socket, "unix:/run/basalt-milter/milter", 0, 0, "where Postfix's smtpd_milters finds us; or inet:127.0.0.1:PORT"),
	ITEM(BS_CONF_STRING, transport, "native", 0, 0, "who speaks the milter protocol: native or libmilter"),
	ITEM(BS_CONF_INT, sessions_max, "1000", 1, 10000, "SMTP sessions at the same time; more wait (native only)"),
	ITEM(BS_CONF_INT, drain_s, "20", 0, 300, "when told to end: how long messages under way may take (native only)"),
	ITEM(BS_CONF_STRING, socketmap, "unix:/run/basalt-milter/socketmap", 0, 0, "where Postfix's socketmap look-ups go"),
	ITEM(BS_CONF_STRING, control, "/run/basalt-milter/control", 0, 0, "where basaltctl asks"),
	ITEM(BS_CONF_STRING, database, NULL, 0, 0, "the policy database: sqlite:/path or mariadb://user@host/name"),
	ITEM(BS_CONF_STRING, database_password_file, "", 0, 0, "holds the database user's password; the milter's user reads it"),
	ITEM(BS_CONF_INT, database_timeout_ms, "1000", 100, 60000, "longest time of one statement; below 2000, what a look-up may take"),
	ITEM(BS_CONF_INT, database_threads, "4", 1, 64, "look-ups that run at the same time, a connection each"),
	ITEM(BS_CONF_INT, cache_s, "30", 0, 3600, "how long an address that exists is remembered"),
	ITEM(BS_CONF_INT, cache_unknown_s, "5", 0, 3600, "how long an address that does not exist is"),
	ITEM(BS_CONF_STRING, quota_status, "", 0, 0, "Dovecot's quota-status: unix:/PATH or inet:127.0.0.1:PORT; empty: none is asked"),
	ITEM(BS_CONF_STRING, authserv_id, NULL, 0, 0, "our name in Authentication-Results; the same on all nodes"),
	ITEM(BS_CONF_STRING, verdict_keys, "", 0, 0, "key file of the sealed verdicts, as basalt-lmtp has it; empty: no basalt-lmtp"),
	ITEM(BS_CONF_INT, verdict_lifetime_s, "518400", 3600, 31536000, "longer than mail waits in Postfix's queue"),
	ITEM(BS_CONF_STRING, dns_servers, "system", 0, 0, "who is asked: system (/etc/resolv.conf), root (nobody: we look names up ourselves), none, or addresses ADDR[@PORT]"),
	ITEM(BS_CONF_INT, dns_cache, "20000", 0, 1000000, "answers that are remembered"),
	ITEM(BS_CONF_INT, dns_pending, "2000", 10, 100000, "questions under way at the same time; what is beyond gets no answer"),
	ITEM(BS_CONF_STRING, trusted_networks, "127.0.0.0/8 ::1", 0, 0, "clients that SPF, block lists, DMARC, greylist and client rates do not ask about: our backup MX, mailing list hosts"),
	ITEM(BS_CONF_STRING, dnsbl_lists, "", 0, 0, "block and allow lists: KIND ZONE WEIGHT or KIND ZONE CODE=WEIGHT,CODE=WEIGHT; ... (basalt-milter(8))"),
	ITEM(BS_CONF_INT, dnsbl_timeout_ms, "4000", 100, 8000, "how long after the connection a list may take to answer"),
	ITEM(BS_CONF_STRING, trace_key_file, "", 0, 0, "key of what limits, greylist and history remember, the same on all nodes (basaltctl trace-key); empty: they can't be asked"),
	ITEM(BS_CONF_INT, history_days, "14", 0, 3650, "how long it is kept what became of mail (basaltctl history); 0: not at all"),
	ITEM(BS_CONF_INT, greylist_window_s, "172800", 60, 2592000, "who is new must come again so many seconds after the delay"),
	ITEM(BS_CONF_INT, greylist_keep_s, "3110400", 60, 31536000, "how long the greylist remembers somebody after his last message"),
	ITEM(BS_CONF_STRING, spf_engine, "native", 0, 0, "native, or libspf2 (not advised: docs/SPF.md)"),
	ITEM(BS_CONF_INT, spf_timeout_ms, "8000", 100, 20000, "longest time of one SPF check, all its questions together"),
	ITEM(BS_CONF_INT, dmarc_report_days, "30", 0, 3650, "how long DMARC's counts are kept for reports (basaltctl dmarc); 0: none are"),
	ITEM(BS_CONF_INT, dmarc_report_rows, "20000", 0, 10000000, "rows of counts that one day may have, since senders make up domains; 0: no bound"),
	ITEM(BS_CONF_STRING, log, "syslog", 0, 0, "stderr, syslog, or a file to append to"),
	ITEM(BS_CONF_STRING, log_level, "info", 0, 0, "debug, info, warning or error"),
	ITEM(BS_CONF_STRING, user, "", 0, 0, "name or number to become; empty: stay, which root may not"),
	ITEM(BS_CONF_STRING, socket_group, "", 0, 0, "group that may use socket and socketmap (Postfix's); empty: the user's"),
	ITEM(BS_CONF_STRING, temp_dir, "", 0, 0, "tmpfs for message bodies; nothing uses it yet"),
};
#define N_ITEMS (sizeof(items) / sizeof(items[0]))

/* The path behind "unix:", NULL if it is none. */
static const char *
unix_path(const char *text)
{
	return strncmp(text, "unix:/", 6) == 0 ? text + 5 : NULL;
}

static bool
is_authserv_id(const char *text)
{
	return text[0] != '\0' && strlen(text) <= 253 &&
	    strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == strlen(text);
}

static bool
read_spf_engine(const char *text, enum spf_engine *out)
{
	bool native = strcmp(text, "native") == 0;

	if (!native && strcmp(text, "libspf2") != 0)
		return false;
	*out = native ? SPF_NATIVE : SPF_LIBSPF2;
	return true;
}

/* why: what is wrong with the lists. */
static bool
are_lists(const char *text, char *why, size_t size)
{
	struct dnsbl *dnsbl;

	if (dnsbl_new(text, 1, &dnsbl, why, size) != BS_OK)
		return false;
	dnsbl_free(dnsbl);
	return true;
}

/* What the table cannot say. */
static enum bs_err
work_out(struct settings *s, const char *path, char *errbuf, size_t size)
{
	const char *key, *value, *what;
	char why[160] = "out of memory";

	s->socketmap_path = unix_path(s->socketmap);
	s->uid = (uid_t)-1;
	s->gid = s->socket_gid = (gid_t)-1;
	s->libmilter = strcmp(s->transport, "libmilter") == 0;
	if (!transport_address_is_good(s->socket))
		key = "milter.socket", value = s->socket, what = "must be unix:/PATH or inet:HOST:PORT of a loopback address";
	else if (!s->libmilter && strcmp(s->transport, "native") != 0)
		key = "milter.transport", value = s->transport, what = "must be native or libmilter";
	else if (s->socketmap_path == NULL)
		key = "milter.socketmap", value = s->socketmap, what = "must be unix:/PATH";
	else if (s->control[0] != '/')
		key = "milter.control", value = s->control, what = "must be an absolute path";
	else if (bs_store_policy_check_url(s->database) != BS_OK)
		key = "milter.database", value = s->database,
		what = "must be sqlite:/PATH or mariadb://USER@HOST[:PORT]/DATABASE[?socket=/PATH]";
	else if (s->quota_status[0] != '\0' && !transport_address_is_good(s->quota_status))
		key = "milter.quota_status", value = s->quota_status, what = "must be unix:/PATH or inet:HOST:PORT of a loopback address";
	else if (!is_authserv_id(s->authserv_id))
		key = "milter.authserv_id", value = s->authserv_id, what = "must be a host name";
	else if (networks_read(s->trusted_networks, &s->trusted) != BS_OK)
		key = "milter.trusted_networks", value = s->trusted_networks,
		what = "must be addresses and networks such as 192.0.2.0/24 or 2001:db8::/32, without host bits";
	else if (!are_lists(s->dnsbl_lists, why, sizeof(why)))
		key = "milter.dnsbl_lists", value = s->dnsbl_lists, what = why;
	else if (!read_spf_engine(s->spf_engine, &s->spf))
		key = "milter.spf_engine", value = s->spf_engine, what = "must be native or libspf2";
	else if (!bs_conf_log(s->log))
		key = "milter.log", value = s->log, what = "must be stderr, syslog or an absolute path";
	else if (!bs_conf_level(s->log_level, &s->level))
		key = "milter.log_level", value = s->log_level, what = "must be debug, info, warning or error";
	else if (s->user[0] != '\0' && (!bs_conf_user(s->user, &s->uid, &s->gid) || s->uid == 0))
		key = "milter.user", value = s->user, what = "must be an existing user or a number, not root";
	else if (s->socket_group[0] != '\0' && !bs_conf_group(s->socket_group, &s->socket_gid))
		key = "milter.socket_group", value = s->socket_group, what = "must be an existing group or a number";
	else
		return BS_OK;
	return bs_conf_complain(path, key, value, what, errbuf, size);
}

enum bs_err
settings_load(const char *path, struct settings *out, char *errbuf, size_t errbuf_size)
{
	struct settings settings = { 0 };
	enum bs_err err = bs_conf_load(path, items, N_ITEMS, &settings, errbuf, errbuf_size);

	if (err != BS_OK)
		return err;
	err = work_out(&settings, path, errbuf, errbuf_size);
	if (err != BS_OK) {
		settings_clear(&settings);
		return err;
	}
	*out = settings;
	return BS_OK;
}

void
settings_clear(struct settings *settings)
{
	networks_clear(&settings->trusted);
	bs_conf_clear(items, N_ITEMS, settings);
}

void
settings_print_defaults(FILE *fp)
{
	bs_conf_print_defaults(items, N_ITEMS, fp);
}
