#include "proxyconf.h"

#include <stddef.h>
#include <string.h>

#include "conf.h"
#include "conf_value.h"

#define ITEM(type, name, def, min, max, help) { "lmtp", #name, type, offsetof(struct proxyconf, name), def, min, max, help }
#define MS_MAX 3600000

static const struct bs_conf_item items[] = {
	ITEM(BS_CONF_STRING, listen, "unix:/run/basalt-lmtp/lmtp", 0, 0, "where Postfix's virtual_transport finds us: unix:/PATH or inet:127.0.0.1:PORT"),
	ITEM(BS_CONF_STRING, backend, "unix:/run/dovecot/lmtp", 0, 0, "the LMTP server that has the mailboxes; the same two forms"),
	ITEM(BS_CONF_STRING, control, "/run/basalt-lmtp/control", 0, 0, "where basaltctl asks"),
	ITEM(BS_CONF_STRING, key_file, "/etc/basalt/verdict.keys", 0, 0, "keys of verdict headers: basaltctl verdict-key; the same on all nodes"),
	ITEM(BS_CONF_INT, verdict_lifetime_s, "518400", 60, 8640000, "how long a verdict counts: Postfix's maximal_queue_lifetime and a day"),
	ITEM(BS_CONF_STRING, name, "localhost", 0, 0, "what we call ourselves in greetings"),
	ITEM(BS_CONF_INT, clients_max, "100", 1, 4096, "connections from Postfix at the same time; more are told 421"),
	ITEM(BS_CONF_INT, recipients_max, "1000", 1, 10000, "recipients of one transaction; more are told 452"),
	ITEM(BS_CONF_INT, copies_max, "16", 1, 32, "different copies of one message at a time; the recipients of more are told 452"),
	ITEM(BS_CONF_INT, idle_ms, "330000", 1000, MS_MAX, "longest wait for a command"),
	ITEM(BS_CONF_INT, reply_ms, "60000", 100, MS_MAX, "longest wait for Postfix to take an answer"),
	ITEM(BS_CONF_INT, open_ms, "10000", 100, MS_MAX, "to the backend: connect, greeting and LHLO together"),
	ITEM(BS_CONF_INT, setup_ms, "60000", 100, MS_MAX, "to all backend connections of a message: up to DATA; below lmtp_data_xfer_timeout (180 s)"),
	ITEM(BS_CONF_INT, data_ms, "60000", 100, MS_MAX, "longest standstill while a message flows; with setup_ms below lmtp_data_xfer_timeout"),
	ITEM(BS_CONF_INT, answer_ms, "300000", 100, MS_MAX, "the backend's answers behind a message; below lmtp_data_done_timeout (600 s)"),
	ITEM(BS_CONF_INT, drain_ms, "30000", 0, MS_MAX, "after SIGTERM messages under way have so long to end"),
	ITEM(BS_CONF_STRING, log, "syslog", 0, 0, "stderr, syslog, or a file to append to"),
	ITEM(BS_CONF_STRING, log_level, "info", 0, 0, "debug, info, warning or error"),
	ITEM(BS_CONF_STRING, user, "", 0, 0, "name or number to become; empty: stay, which root may not"),
	ITEM(BS_CONF_STRING, socket_group, "", 0, 0, "group that may use a UNIX socket of listen (Postfix's); empty: the user's"),
};
#define N_ITEMS (sizeof(items) / sizeof(items[0]))

static bool
is_name(const char *text)
{
	return text[0] != '\0' && strlen(text) <= 253
	    && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == strlen(text);
}

/* What the table cannot say. */
static enum bs_err
work_out(struct proxyconf *c, const char *path, char *errbuf, size_t size)
{
	static const char *const where = "must be unix:/PATH or inet:ADDRESS:PORT";
	const char *key, *value, *what;

	c->uid = (uid_t)-1;
	c->gid = c->socket_gid = (gid_t)-1;
	if (bs_sock_addr_parse(c->listen, &c->listen_addr) != BS_OK)
		key = "lmtp.listen", value = c->listen, what = where;
	else if (bs_sock_addr_parse(c->backend, &c->backend_addr) != BS_OK)
		key = "lmtp.backend", value = c->backend, what = where;
	else if (c->control[0] != '/')
		key = "lmtp.control", value = c->control, what = "must be an absolute path";
	else if (c->key_file[0] != '/')
		key = "lmtp.key_file", value = c->key_file, what = "must be an absolute path";
	else if (!is_name(c->name))
		key = "lmtp.name", value = c->name, what = "must be a host name";
	else if (!bs_conf_log(c->log))
		key = "lmtp.log", value = c->log, what = "must be stderr, syslog or an absolute path";
	else if (!bs_conf_level(c->log_level, &c->level))
		key = "lmtp.log_level", value = c->log_level, what = "must be debug, info, warning or error";
	else if (c->user[0] != '\0' && (!bs_conf_user(c->user, &c->uid, &c->gid) || c->uid == 0))
		key = "lmtp.user", value = c->user, what = "must be an existing user or a number, not root";
	else if (c->socket_group[0] != '\0' && !bs_conf_group(c->socket_group, &c->socket_gid))
		key = "lmtp.socket_group", value = c->socket_group, what = "must be an existing group or a number";
	else
		return BS_OK;
	return bs_conf_complain(path, key, value, what, errbuf, size);
}

enum bs_err
proxyconf_load(const char *path, struct proxyconf *out, char *errbuf, size_t errbuf_size)
{
	struct proxyconf conf = { 0 };
	enum bs_err err = bs_conf_load(path, items, N_ITEMS, &conf, errbuf, errbuf_size);

	if (err != BS_OK)
		return err;
	err = work_out(&conf, path, errbuf, errbuf_size);
	if (err != BS_OK) {
		proxyconf_clear(&conf);
		return err;
	}
	*out = conf;
	return BS_OK;
}

void
proxyconf_clear(struct proxyconf *conf)
{
	bs_conf_clear(items, N_ITEMS, conf);
}

void
proxyconf_print_defaults(FILE *fp)
{
	bs_conf_print_defaults(items, N_ITEMS, fp);
}
