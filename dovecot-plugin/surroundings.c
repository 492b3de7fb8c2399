#include "compat.h"

#include <mail-namespace.h>
#include <mail-storage-service.h>
#include <mail-storage-settings.h>
#include <mail-user.h>
#include <master-service.h>
#include <master-service-settings.h>
#include <module-dir.h>
#include <settings-parser.h>
#include <var-expand.h>

#include <linux/magic.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/vfs.h>

#include "sock.h"
#include "surroundings.h"

#define LOOK_AGAIN_MS 1000

/* Where Dovecot keeps mail that Sieve sends on, if it is above 128 KiB: no setting moves it (lib-smtp/smtp-submit.c). */
#define SUBMIT_TEMP_DIR "/tmp"

bool
basalt_is_memory(const char *path)
{
	struct statfs fs;
	const char *slash = strrchr(path, '/');

	if (statfs(path, &fs) < 0) {
		if (errno != ENOENT || slash == NULL)
			return false;
		if (statfs(slash == path ? "/" : t_strdup_until(path, slash), &fs) < 0)
			return false;
	}
	return fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
}

bool
basalt_has_plugin(const char *name)
{
	return module_dir_find(mail_storage_service_modules, name) != NULL;
}

/* A text setting of the service itself (imap, lmtp ...); NULL if it has none of this name. */
static const char *
service_setting(struct mail_user *user, const char *name)
{
	struct setting_parser_context *parser;
	enum setting_type type;
	const void *value;
	const char *text;

	if (user->_service_user == NULL)
		return NULL;
	parser = mail_storage_service_user_get_settings_parser(user->_service_user);
	value = settings_parse_get_value(parser, name, &type);
	if (value == NULL || (type != SET_STR && type != SET_STR_VARS))
		return NULL;
	text = *(const char *const *)value;
	/* What has variables begins with a digit until they are expanded. */
	if (type == SET_STR_VARS && text != NULL && (text[0] == '0' || text[0] == '1'))
		text++;
	return text;
}

/* lmtp makes a mail user for each delivery: of a folder that was right it is not asked again within a second. */
static int
check_temp_dir_is(const char *dir, const char **error_r)
{
	static char *right;
	static int64_t until_ms;
	int64_t now_ms = bs_now_ms();

	if (right != NULL && now_ms < until_ms && strcmp(right, dir) == 0)
		return 0;
	if (basalt_is_memory(dir)) {
		i_free(right);
		right = i_strdup(dir);
		until_ms = now_ms + LOOK_AGAIN_MS;
		return 0;
	}
	*error_r = t_strdup_printf("mail_temp_dir = %s is not on a tmpfs, and plaintext of large mails would stand there: "
	    "mount a tmpfs and set mail_temp_dir to it (docs/DOVECOT.md)", dir);
	return -1;
}

int
basalt_check_temp_dir(struct mail_user *user, const char **error_r)
{
	return check_temp_dir_is(user->set->mail_temp_dir, error_r);
}

int
basalt_check_spool(const char **error_r)
{
	const struct mail_user_settings *set;
	const char *dir;

	if (strcmp(master_service_get_name(master_service), "lmtp") != 0)
		return 0;
	set = master_service_settings_get_others(master_service)[0];
	/* What may hold variables begins with a digit until they are expanded; for a recipient they are, and that is checked then. */
	dir = set->mail_temp_dir[0] == '/' ? set->mail_temp_dir : set->mail_temp_dir + 1;
	return dir[0] == '/' && strchr(dir, '%') == NULL ? check_temp_dir_is(dir, error_r) : 0;
}

static int
check_attachments(struct mail_user *user, const char **error_r)
{
	if (mail_user_set_get_storage_set(user)->mail_attachment_dir[0] == '\0')
		return 0;
	*error_r = "attachments would be stored in plaintext: mail_attachment_dir has to be empty";
	return -1;
}

static int
check_client_limit(struct mail_user *user, const char **error_r)
{
	bool login = strcmp(user->service, "imap") == 0 || strcmp(user->service, "pop3") == 0;

	if (!login || master_service_get_client_limit(master_service) <= 1)
		return 0;
	*error_r = t_strdup_printf("service %s has client_limit above 1, and a process would hold several users' keys: set "
	    "service %s { client_limit = 1 }", user->service, user->service);
	return -1;
}

static int
check_rawlog(struct mail_user *user, const char **error_r)
{
	static const char *const names[] = { "rawlog_dir", "lmtp_rawlog_dir", "lmtp_proxy_rawlog_dir" };

	for (size_t i = 0; i < N_ELEMENTS(names); i++) {
		const char *dir = service_setting(user, names[i]);

		if (dir != NULL && dir[0] != '\0' && !basalt_is_memory(dir)) {
			*error_r = t_strdup_printf("%s would write whole sessions to a disk: it has to be empty, or on a tmpfs",
			    names[i]);
			return -1;
		}
	}
	return 0;
}

static int
check_deliver_log(struct mail_user *user, const char **error_r)
{
	static const struct {
		char letter;
		const char *name;
	} texts[] = { { 'm', "msgid" }, { 's', "subject" }, { 'f', "from" }, { 'e', "from_envelope" } };
	const char *format = service_setting(user, "deliver_log_format");

	for (size_t i = 0; format != NULL && i < N_ELEMENTS(texts); i++) {
		if (var_has_key(format, texts[i].letter, texts[i].name)) {
			*error_r = t_strdup_printf("deliver_log_format would log %%%c (%s) of each mail: set protocol %s { "
			    "deliver_log_format = size=%%p: %%$ }", texts[i].letter, texts[i].name, user->service);
			return -1;
		}
	}
	return 0;
}

static int
check_mail_log(struct mail_user *user, const char **error_r)
{
	static const char *const texts[] = { "subject", "from", "msgid", NULL };
	const char *fields = mail_user_plugin_getenv(user, "mail_log_fields"), *const *field;

	if (!basalt_has_plugin("mail_log"))
		return 0;
	/* The plugin's default has msgid. */
	field = t_strsplit_spaces(fields == NULL ? "msgid" : fields, ", ");
	for (; *field != NULL; field++) {
		if (str_array_icase_find(texts, *field)) {
			*error_r = t_strdup_printf("the plugin mail_log would log %s of mails: set plugin { mail_log_fields = uid box "
			    "size }", *field);
			return -1;
		}
	}
	return 0;
}

static int
check_fts(struct mail_user *user, const char **error_r)
{
	const char *fts = mail_user_plugin_getenv(user, "fts");

	if (!basalt_has_plugin("fts") || fts == NULL || *fts == '\0' || basalt_begins(fts, "basalt"))
		return 0;
	*error_r = t_strdup_printf("fts = %s would keep the words of mails in plaintext: take fts out of mail_plugins", fts);
	return -1;
}

static int
check_sieve(struct mail_user *user, const char **error_r)
{
	const char *log = mail_user_plugin_getenv(user, "sieve_user_log");
	const char *trace = mail_user_plugin_getenv(user, "sieve_trace_dir");

	if (basalt_has_plugin("imap_sieve") || basalt_has_plugin("imap_filter_sieve")) {
		*error_r = "the plugins imap_sieve and imap_filter_sieve keep Message-IDs in ~/.dovecot.lda-dupes: take them out of "
		    "mail_plugins";
		return -1;
	}
	if (!basalt_has_plugin("sieve"))
		return 0;
	if (log == NULL || !basalt_is_memory(log)) {
		*error_r = "Sieve's log for the user would stand on a disk, and can hold text of mails: set plugin { sieve_user_log "
		    "= /dev/null }, or to a file on a tmpfs";
		return -1;
	}
	if (trace != NULL && *trace != '\0' && !basalt_is_memory(trace)) {
		*error_r = "sieve_trace_dir would hold text of mails: it has to be empty, or on a tmpfs";
		return -1;
	}
	if (!basalt_is_memory(SUBMIT_TEMP_DIR)) {
		*error_r = "Sieve's redirect keeps large mails in " SUBMIT_TEMP_DIR ", which is not a tmpfs: make it one for Dovecot "
		    "(systemctl edit dovecot: [Service] TemporaryFileSystem=/tmp)";
		return -1;
	}
	return 0;
}

int
basalt_surroundings_check(struct mail_user *user, const char **error_r)
{
	static int (*const checks[])(struct mail_user *, const char **) = { basalt_check_temp_dir, check_attachments,
		check_client_limit, check_rawlog, check_deliver_log, check_mail_log, check_fts, check_sieve };

	for (size_t i = 0; i < N_ELEMENTS(checks); i++) {
		if (checks[i](user, error_r) < 0)
			return -1;
	}
	return 0;
}

void
basalt_not_dumpable(void)
{
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		i_fatal("basalt: prctl(PR_SET_DUMPABLE): %m");
}

void
basalt_no_cores(void)
{
	/* 1, not 0: with 0 the kernel still hands cores to a program that core_pattern names. */
	struct rlimit limit = { .rlim_cur = 1, .rlim_max = 1 };

	basalt_not_dumpable();
	if (setrlimit(RLIMIT_CORE, &limit) < 0 && errno != EPERM)
		i_fatal("basalt: setrlimit(RLIMIT_CORE): %m");
}
