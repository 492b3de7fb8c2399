/* doveadm basalt export-sealed: mails as they are stored, without any key. A module of doveadm's own. */
#include "compat.h"

#include <mail-storage-private.h>

#include <array.h>
#include <doveadm-mail.h>
#include <doveadm-mail-iter.h>
#include <doveadm-mailbox-list-iter.h>
#include <doveadm-print.h>
#include <imap-util.h>
#include <istream.h>
#include <mkdir-parents.h>
#include <module-dir.h>
#include <ostream.h>
#include <str.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "export.h"
#include "msgfmt.h"

#define EXPORT __attribute__((visibility("default")))

void doveadm_basalt_plugin_init(struct module *module);
void doveadm_basalt_plugin_deinit(void);
EXPORT extern const char *doveadm_basalt_plugin_version;

const char *doveadm_basalt_plugin_version = DOVECOT_ABI_VERSION;

struct export_cmd {
	struct doveadm_mail_cmd_context ctx;
	const char *dir;
	basalt_export_fn *open;
};

/* One mail on its way: what the table says of it. */
struct exported {
	const char *path; /* below the directory */
	const char *kind;
	uoff_t size;
};

/* A user's or folder's name as one name of a file: everything but letters, digits and @_-. in the middle becomes %XX. */
static const char *
file_name(const char *name)
{
	string_t *out = t_str_new(64);

	for (const char *p = name; *p != '\0'; p++) {
		if (i_isalnum(*p) || strchr("@_-", *p) != NULL || (*p == '.' && p != name))
			str_append_c(out, *p);
		else
			str_printfa(out, "%%%02X", (unsigned char)*p);
	}
	return str_c(out);
}

/* By how it begins: what is left of a damaged mail counts as sealed as long as it shows. */
static const char *
kind_of(struct istream *input)
{
	struct bs_msg_prefix prefix;
	const unsigned char *data;
	size_t size;

	(void)i_stream_read_bytes(input, &data, &size, BS_MSG_PREFIX_MAX);
	if (!bs_msg_is_sealed(data, size))
		return "other";
	if (bs_msg_prefix_parse(data, size, &prefix) == BS_OK && prefix.suite == BS_MSG_SUITE_PLAIN)
		return "clear";
	return "sealed";
}

static int
write_file(struct istream *input, const char *path, time_t received, uoff_t *size_r)
{
	struct timespec times[2] = { { .tv_sec = received }, { .tv_sec = received } };
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct ostream *output;
	int ret = 0;

	if (fd == -1) {
		i_error("can't make %s: %m", path);
		return -1;
	}
	output = o_stream_create_fd_file(fd, 0, FALSE);
	o_stream_cork(output);
	o_stream_nsend_istream(output, input);
	*size_r = output->offset;
	if (input->stream_errno != 0) {
		i_error("read(%s) failed: %s", i_stream_get_name(input), i_stream_get_error(input));
		ret = -1;
	}
	if (o_stream_finish(output) < 0 || fsync(fd) < 0) {
		i_error("write(%s) failed: %s", path, o_stream_get_error(output));
		ret = -1;
	}
	(void)futimens(fd, times);
	o_stream_destroy(&output);
	i_close_fd(&fd);
	if (ret < 0)
		i_unlink(path);
	return ret;
}

static int
make_folder(const char *path)
{
	if (mkdir_parents(path, 0700) == 0 || errno == EEXIST)
		return 0;
	i_error("can't make the folder %s: %m", path);
	return -1;
}

static int
export_stream(struct export_cmd *cmd, struct mail *mail, struct istream *input, time_t received, struct exported *out)
{
	const char *folder = t_strdup_printf("%s/%s", file_name(mail->box->storage->user->username),
	    file_name(mailbox_get_vname(mail->box)));

	out->kind = kind_of(input);
	out->path = t_strdup_printf("%s/%u.%s", folder, mail->uid, out->kind);
	if (make_folder(t_strdup_printf("%s/%s", cmd->dir, folder)) < 0)
		return -1;
	return write_file(input, t_strdup_printf("%s/%s", cmd->dir, out->path), received, &out->size);
}

static void
print_row(struct mail *mail, const struct exported *done, time_t received)
{
	string_t *flags = t_str_new(64);

	imap_write_flags(flags, mail_get_flags(mail), mail_get_keywords(mail));
	doveadm_print(mailbox_get_vname(mail->box));
	doveadm_print_num(mail->uid);
	doveadm_print(done->kind);
	doveadm_print_num(done->size);
	doveadm_print(unixdate2str(received));
	doveadm_print(str_c(flags));
	doveadm_print(done->path);
}

/* found is the search's, who may have opened it, and not as we want it; mail is our own. */
static int
export_mail(struct export_cmd *cmd, struct mail *found, struct mail *mail)
{
	struct istream *input;
	struct exported done = { .path = "" };
	time_t received;
	int ret;

	if (mail_get_received_date(found, &received) < 0)
		received = ioloop_time;
	mail_set_seq(mail, found->seq);
	if (cmd->open(mail, &input) < 0) {
		i_error("%s: UID %u: %s", mailbox_get_vname(mail->box), mail->uid,
		    mailbox_get_last_internal_error(mail->box, NULL));
		return -1;
	}
	ret = export_stream(cmd, mail, input, received, &done);
	i_stream_unref(&input);
	if (ret == 0)
		print_row(mail, &done, received);
	return ret;
}

static int
export_box(struct export_cmd *cmd, const struct mailbox_info *info)
{
	struct doveadm_mail_iter *iter;
	struct mail *found, *mail = NULL;
	int ret = 0;

	if (doveadm_mail_iter_init(&cmd->ctx, info, cmd->ctx.search_args, 0, NULL, DOVEADM_MAIL_ITER_FLAG_READONLY, &iter) < 0)
		return -1;
	while (doveadm_mail_iter_next(iter, &found)) {
		if (mail == NULL)
			mail = mail_alloc(found->transaction, 0, NULL);
		T_BEGIN {
			if (export_mail(cmd, found, mail) < 0) {
				doveadm_mail_failed_mailbox(&cmd->ctx, mail->box);
				ret = -1;
			}
		} T_END;
	}
	if (mail != NULL)
		mail_free(&mail);
	return doveadm_mail_iter_deinit(&iter) < 0 ? -1 : ret;
}

static int
export_run(struct doveadm_mail_cmd_context *ctx, struct mail_user *user)
{
	struct export_cmd *cmd = container_of(ctx, struct export_cmd, ctx);
	struct doveadm_mailbox_list_iter *iter;
	const struct mailbox_info *info;
	int ret = 0;

	iter = doveadm_mailbox_list_iter_init(ctx, user, ctx->search_args,
	    MAILBOX_LIST_ITER_NO_AUTO_BOXES | MAILBOX_LIST_ITER_RETURN_NO_FLAGS);
	while ((info = doveadm_mailbox_list_iter_next(iter)) != NULL) T_BEGIN {
		if (export_box(cmd, info) < 0)
			ret = -1;
	} T_END;
	return doveadm_mailbox_list_iter_deinit(&iter) < 0 ? -1 : ret;
}

static bool
export_parse_arg(struct doveadm_mail_cmd_context *ctx, int c)
{
	struct export_cmd *cmd = container_of(ctx, struct export_cmd, ctx);

	if (c != 'd')
		return FALSE;
	cmd->dir = p_strdup(ctx->pool, optarg);
	return TRUE;
}

static void
export_init(struct doveadm_mail_cmd_context *ctx, const char *const args[])
{
	struct export_cmd *cmd = container_of(ctx, struct export_cmd, ctx);
	void *symbol = dlsym(RTLD_DEFAULT, BASALT_EXPORT_SYMBOL);

	if (symbol == NULL)
		i_fatal_status(EX_CONFIG, "basalt is not in doveadm's mail_plugins: this process can't see what mails look like");
	if (cmd->dir == NULL || args[0] == NULL)
		doveadm_mail_help_name("basalt export-sealed");
	memcpy(&cmd->open, &symbol, sizeof(symbol));
	ctx->search_args = doveadm_mail_build_search_args(args);
	doveadm_print_header_simple("mailbox");
	doveadm_print_header("uid", "uid", DOVEADM_PRINT_HEADER_FLAG_RIGHT_JUSTIFY);
	doveadm_print_header_simple("kind");
	doveadm_print_header("size", "size", DOVEADM_PRINT_HEADER_FLAG_RIGHT_JUSTIFY);
	doveadm_print_header_simple("received");
	doveadm_print_header_simple("flags");
	doveadm_print_header("file", "file", DOVEADM_PRINT_HEADER_FLAG_EXPAND);
}

static struct doveadm_mail_cmd_context *
export_alloc(void)
{
	struct export_cmd *cmd = doveadm_mail_cmd_alloc(struct export_cmd);

	cmd->ctx.getopt_args = "d:";
	cmd->ctx.v.parse_arg = export_parse_arg;
	cmd->ctx.v.init = export_init;
	cmd->ctx.v.run = export_run;
	doveadm_print_init(DOVEADM_PRINT_TYPE_TABLE);
	return &cmd->ctx;
}

static struct doveadm_cmd_ver2 export_command = {
	.name = "basalt export-sealed",
	.usage = DOVEADM_CMD_MAIL_USAGE_PREFIX "-d <directory> <search query>",
	.mail_cmd = export_alloc,
DOVEADM_CMD_PARAMS_START
DOVEADM_CMD_MAIL_COMMON
DOVEADM_CMD_PARAM('d', "directory", CMD_PARAM_STR, 0)
DOVEADM_CMD_PARAM('\0', "query", CMD_PARAM_ARRAY, CMD_PARAM_FLAG_POSITIONAL)
DOVEADM_CMD_PARAMS_END
};

EXPORT void
doveadm_basalt_plugin_init(struct module *module ATTR_UNUSED)
{
	doveadm_cmd_register_ver2(&export_command);
}

EXPORT void
doveadm_basalt_plugin_deinit(void)
{
}
