#include "ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "conf.h"
#include "conf_value.h"

#define AT(field) offsetof(struct ctl_settings, field)

static const struct bs_conf_item items[] = {
	{ "ctl", "database", BS_CONF_STRING, AT(database), "sqlite:/var/lib/basalt/policy/policy.db", 0, 0,
	    "policy database: sqlite:/PATH or mariadb://USER@HOST[:PORT]/DATABASE[?socket=/PATH]" },
	{ "ctl", "database_password_file", BS_CONF_STRING, AT(database_password_file), "", 0, 0,
	    "file whose first line is the database user's password" },
	{ "ctl", "database_timeout_ms", BS_CONF_INT, AT(database_timeout_ms), "5000", 100, 600000,
	    "longest wait for an answer of the database" },
	{ "ctl", "keyd", BS_CONF_STRING, AT(keyd), "/run/basalt", 0, 0, "run_dir of basalt-keyd" },
	{ "ctl", "trace_key_file", BS_CONF_STRING, AT(trace_key_file), "", 0, 0,
	    "the milter's milter.trace_key_file: history is found by hashes under it" },
	{ "ctl", "milter_control", BS_CONF_STRING, AT(milter_control), "", 0, 0,
	    "control socket of basalt-milter; empty where it does not run" },
	{ "ctl", "lmtp_control", BS_CONF_STRING, AT(lmtp_control), "", 0, 0,
	    "control socket of basalt-lmtp; empty where it does not run" },
	{ "ctl", "notify", BS_CONF_STRING, AT(notify), "", 0, 0,
	    "program that mails an account what was changed of its keys, called with -- and the address: \"/usr/sbin/sendmail -i\"; empty: nobody is told" },
	{ "ctl", "doveadm", BS_CONF_STRING, AT(doveadm), "/usr/bin/doveadm", 0, 0,
	    "Dovecot's tool and its arguments: `convert` has it carry an mdbox over" },
	{ "ctl", "mail_home", BS_CONF_STRING, AT(mail_home), "/var/vmail/%d/%n", 0, 0,
	    "home of a mail user, where the copies of keys lie: %d domain, %n local part" },
	{ "ctl", "site_key", BS_CONF_STRING, AT(site_key), "/etc/basalt/site.key.pub", 0, 0,
	    "public half of keyd's site key: what `convert` seals to has to be signed by it" },
	{ "ctl", "drop_after_s", BS_CONF_INT, AT(drop_after_s), "3600", 0, 31536000,
	    "key drop: how old the active key has to be, so that no mail under way is sealed to one before" },
	{ "ctl", "convert_accept_loss", BS_CONF_BOOL, AT(convert_accept_loss), "no", 0, 0,
	    "`convert` takes accounts, too, that have neither a recovery code nor an escrow key: a forgotten password loses their mail" },
	{ "ctl", "timeout_ms", BS_CONF_INT, AT(timeout_ms), "15000", 100, 600000, "longest wait for an answer of a daemon" },
};
#define N_ITEMS (sizeof(items) / sizeof(items[0]))

static int
complain(const struct ctl *ctl, const char *key, const char *value, const char *expected)
{
	return ctl_fail(BS_ERR_CONF, "%s: ctl.%s = \"%s\": must be %s", ctl->conf_path, key, value, expected);
}

/* What the table can't say. */
static int
check_settings(const struct ctl *ctl)
{
	const struct ctl_settings *s = &ctl->settings;

	if (bs_store_policy_check_url(s->database) != BS_OK)
		return complain(ctl, "database", s->database, "sqlite:/PATH or mariadb://USER@HOST[:PORT]/DATABASE[?socket=/PATH]");
	if (s->notify[0] != '/' && s->notify[0] != '\0')
		return complain(ctl, "notify", s->notify, "an absolute path and its arguments, or empty");
	if (s->doveadm[0] != '/')
		return complain(ctl, "doveadm", s->doveadm, "an absolute path and its arguments");
	if (s->mail_home[0] != '/')
		return complain(ctl, "mail_home", s->mail_home, "an absolute path");
	if (s->site_key[0] != '/')
		return complain(ctl, "site_key", s->site_key, "an absolute path");
	if (s->keyd[0] != '/')
		return complain(ctl, "keyd", s->keyd, "an absolute path: run_dir of basalt-keyd");
	if (s->milter_control[0] != '/' && s->milter_control[0] != '\0')
		return complain(ctl, "milter_control", s->milter_control, "an absolute path, or empty");
	if (s->lmtp_control[0] != '/' && s->lmtp_control[0] != '\0')
		return complain(ctl, "lmtp_control", s->lmtp_control, "an absolute path, or empty");
	return CTL_OK;
}

int
ctl_load_settings(struct ctl *ctl)
{
	char text[BS_CONF_ERRBUF];
	enum bs_err err;
	int rc;

	if (ctl->settings_loaded)
		return CTL_OK;
	err = bs_conf_load(ctl->conf_path, items, N_ITEMS, &ctl->settings, text, sizeof(text));
	if (err != BS_OK)
		return ctl_fail(err, "%s", text);
	rc = check_settings(ctl);
	ctl->settings_loaded = rc == CTL_OK;
	if (rc != CTL_OK)
		bs_conf_clear(items, N_ITEMS, &ctl->settings);
	return rc;
}

void
ctl_print_defaults(FILE *fp)
{
	bs_conf_print_defaults(items, N_ITEMS, fp);
}

int
ctl_open_store(struct ctl *ctl)
{
	int rc = ctl_load_settings(ctl);
	enum bs_err err;

	if (rc != CTL_OK || ctl->store != NULL)
		return rc;
	err = bs_store_policy_open(ctl->settings.database, ctl->settings.database_password_file,
	    (int)ctl->settings.database_timeout_ms, true, &ctl->store);
	if (err == BS_OK)
		return CTL_OK;
	return ctl_fail(err, "policy database: %s (setting ctl.database in %s)", bs_store_policy_errmsg(NULL), ctl->conf_path);
}

static enum bs_err
connect_keyd(const struct ctl *ctl, struct bs_keyclient **out)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", ctl->settings.keyd, BS_SOCKET_CONTROL);
	return bs_keyclient_connect(path, (int)ctl->settings.timeout_ms, out);
}

int
ctl_open_keyd(struct ctl *ctl)
{
	int rc = ctl_load_settings(ctl);
	enum bs_err err;

	if (rc != CTL_OK || ctl->keyd != NULL)
		return rc;
	err = connect_keyd(ctl, &ctl->keyd);
	if (err == BS_OK)
		return CTL_OK;
	return ctl_fail(err, "basalt-keyd does not answer on %s/%s: %s; is it running, and may this user open its control socket?",
	    ctl->settings.keyd, BS_SOCKET_CONTROL, bs_err_text(err));
}

enum bs_err
ctl_reopen_keyd(struct ctl *ctl)
{
	struct bs_keyclient *again;
	enum bs_err err = connect_keyd(ctl, &again);

	if (err != BS_OK)
		return err;
	bs_keyclient_free(ctl->keyd);
	ctl->keyd = again;
	return BS_OK;
}

void
ctl_close(struct ctl *ctl)
{
	bs_keyclient_free(ctl->keyd);
	bs_store_policy_close(ctl->store);
	if (ctl->settings_loaded)
		bs_conf_clear(items, N_ITEMS, &ctl->settings);
}

int
ctl_exit_status(enum bs_err err)
{
	if (err == BS_OK)
		return CTL_OK;
	if (err == BS_ERR_CONF)
		return CTL_CONFIG;
	return bs_err_is_transient(err) ? CTL_TEMPFAIL : CTL_FAILED;
}

int
ctl_fail(enum bs_err err, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "basaltctl: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	return ctl_exit_status(err);
}

const char *
ctl_store_text(const struct ctl *ctl, enum bs_err err)
{
	const char *text = bs_store_policy_errmsg(ctl->store);

	return bs_err_is_transient(err) && text[0] != '\0' ? text : bs_err_text(err);
}

const char *
ctl_keyd_text(enum bs_err err)
{
	switch (err) {
	case BS_ERR_NOENT:
		return "what keyd was asked for does not exist (an account has no keys until its first login, where that makes them)";
	case BS_ERR_WEAK:
		return "this password is too weak or not possible: take 8 characters or more, no control characters, UTF-8, not the "
		       "account's name, and none of the most common passwords";
	case BS_ERR_TIMEOUT:
		return "basalt-keyd did not answer in time; its log says why";
	case BS_ERR_IO:
	case BS_ERR_UNAVAIL:
		return "basalt-keyd or its database is not available; its log says why";
	case BS_ERR_ROLLBACK:
	case BS_ERR_AUTH:
		return "what keyd's database holds is older than before, or forged: was it restored or changed? keyd's log says more";
	default:
		return bs_err_text(err);
	}
}

int
ctl_begin_list(struct ctl *ctl, json_t **list_r)
{
	int rc = ctl_open_store(ctl);

	*list_r = NULL;
	if (rc != CTL_OK || (ctl->args.given & CTL_JSON) == 0)
		return rc;
	*list_r = json_array();
	return *list_r != NULL ? CTL_OK : ctl_fail(BS_ERR_NOMEM, "%s", bs_err_text(BS_ERR_NOMEM));
}

int
ctl_end_list(const struct ctl *ctl, json_t *take, enum bs_err err, const char *what)
{
	if (err == BS_OK)
		return take != NULL ? ctl_print_json(take) : CTL_OK;
	json_decref(take);
	return ctl_fail(err, "listing %s: %s", what, ctl_store_text(ctl, err));
}

int
ctl_print_json(json_t *take)
{
	int rc = take == NULL ? -1 : json_dumpf(take, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));

	json_decref(take);
	if (rc == 0 && (putchar('\n') == EOF || fflush(stdout) == EOF))
		rc = -1;
	return rc == 0 ? CTL_OK : ctl_fail(BS_ERR_INTERNAL, "writing the output failed");
}

json_t *
ctl_json_path(const char *path)
{
	json_t *json = json_string(path);
	size_t len = strlen(path);
	char *text;
	size_t n = 0;

	if (json != NULL)
		return json;
	text = malloc(4 * len + 1);
	for (size_t i = 0; text != NULL && i < len; i++) {
		unsigned char c = (unsigned char)path[i];

		n += (size_t)snprintf(text + n, 5, c >= 0x20 && c < 0x7f ? "%c" : "\\x%02x", c);
	}
	json = text == NULL ? NULL : json_string(text);
	free(text);
	return json;
}

gid_t
ctl_key_group(const char *group, const char *path)
{
	gid_t gid = (gid_t)-1;

	if (!bs_conf_group(group, &gid))
		fprintf(stderr, "basaltctl: no group %s here: only the owner may read %s\n", group, path);
	return gid;
}

void
ctl_print_path(FILE *fp, const char *path)
{
	for (; *path != '\0'; path++) {
		unsigned char c = (unsigned char)*path;

		if (c < 0x20 || c == 0x7f)
			fprintf(fp, "\\x%02x", c);
		else
			putc(c, fp);
	}
}

void
ctl_hex(const uint8_t *data, size_t len, char *hex)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		hex[2 * i] = digits[data[i] >> 4];
		hex[2 * i + 1] = digits[data[i] & 15];
	}
	hex[2 * len] = '\0';
}

void
ctl_time(uint64_t seconds, char *out)
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(out, 32, "?");
}

int
ctl_address_arg(const char *word, char out[BS_ADDRESS_MAX + 1])
{
	char base[BS_ADDRESS_MAX + 1];

	if (bs_address_parse(word, out) != BS_OK) {
		ctl_fail(BS_ERR_ARG, "`%s` is no mail address that an account can have", word);
		return CTL_USAGE;
	}
	bs_address_base(out, base);
	if (strcmp(base, out) != 0) {
		ctl_fail(BS_ERR_ARG, "`%s`: mail for it goes to %s, an account can't have a + in its name", word, base);
		return CTL_USAGE;
	}
	return CTL_OK;
}

int
ctl_domain_arg(const char *word, char out[BS_DOMAIN_MAX + 1])
{
	if (bs_domain_parse(word, out) == BS_OK)
		return CTL_OK;
	ctl_fail(BS_ERR_ARG, "`%s` is no domain name", word);
	return CTL_USAGE;
}

int
ctl_plan_arg(struct ctl *ctl, const char *name, struct bs_plan *out)
{
	enum bs_err err = bs_plan_get(ctl->store, name, out);

	if (err == BS_ERR_NOENT)
		return ctl_fail(err, "there is no plan `%s`: see `basaltctl plan list`", name);
	return err == BS_OK ? CTL_OK : ctl_fail(err, "plan %s: %s", name, ctl_store_text(ctl, err));
}

static enum bs_err
find_any(void *ctx, const char *alias, const char *target)
{
	(void)alias;
	(void)target;
	*(bool *)ctx = true;
	return BS_OK;
}

enum bs_err
ctl_alias_exists(struct ctl *ctl, const char *alias, bool *out)
{
	*out = false;
	return bs_alias_list(ctl->store, alias, find_any, out);
}

enum bs_err
ctl_append_preference(void *ctx, const struct bs_preference *preference)
{
	return json_object_set_new(ctx, preference->item, ctl_json_path(preference->value)) == 0 ? BS_OK : BS_ERR_NOMEM;
}

bool
ctl_write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		text += n;
		len -= (size_t)n;
	}
	return true;
}
