/* basaltctl explain: what the milter would do with a message, and why; nothing is sent, written or counted. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "milterclient.h"
#include "msgfmt.h"
#include "verdict_header.h"
#include "verbs.h"

#define TIMEOUT_MS 125000 /* a little more than the milter gives it */
#define READ_SIZE 65536

static bool
is_address(const char *text)
{
	unsigned char addr[16];

	return inet_pton(AF_INET, text, addr) == 1 || inet_pton(AF_INET6, text, addr) == 1;
}

/* Something on both sides of an @: more is the milter's to judge. */
static bool
looks_like_address(const char *text)
{
	const char *at = strrchr(text, '@');

	return at != NULL && at != text && at[1] != '\0' && strpbrk(text, " \t\r\n<>") == NULL;
}

/* NULL, or the address among the options that is none. */
static const char *
bad_address(const struct ctl_args *args)
{
	const char *from = ctl_arg(args, CTL_FROM);

	if (from != NULL && from[0] != '\0' && strcmp(from, "<>") != 0 && !looks_like_address(from))
		return from;
	for (int i = 0; i < args->n_rcpt; i++)
		if (!looks_like_address(args->rcpt[i]))
			return args->rcpt[i];
	return NULL;
}

/* The options as a question; NULL: it has been said what is wrong. */
static json_t *
question(const struct ctl_args *args, off_t size)
{
	const char *at = ctl_arg(args, CTL_AT), *from = ctl_arg(args, CTL_FROM), *client = ctl_arg(args, CTL_CLIENT);
	const char *helo = ctl_arg(args, CTL_HELO), *login = ctl_arg(args, CTL_LOGIN);
	char *end = NULL;
	long long at_s = at != NULL ? strtoll(at, &end, 10) : 0;
	json_t *json, *rcpt = json_array();

	if (at != NULL && (*at == '\0' || *end != '\0' || at_s <= 0)) {
		ctl_fail(BS_ERR_ARG, "--at takes seconds since 1970, as `date +%%s` prints them");
		json_decref(rcpt);
		return NULL;
	}
	if (client != NULL && !is_address(client)) {
		ctl_fail(BS_ERR_ARG, "--client takes an IP address, not `%s`", client);
		json_decref(rcpt);
		return NULL;
	}
	if (from == NULL || strcmp(from, "<>") == 0)
		from = "";
	for (int i = 0; i < args->n_rcpt; i++)
		json_array_append_new(rcpt, json_string(args->rcpt[i]));
	json = json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:I, s:I}", "op", "explain", "from", from, "rcpt", rcpt, "client",
	    client != NULL ? client : "", "helo", helo != NULL ? helo : "", "login", login != NULL ? login : "", "at",
	    (json_int_t)at_s, "size", (json_int_t)size);
	if (json == NULL)
		ctl_fail(BS_ERR_ARG, "an option is no UTF-8");
	return json;
}

/* The file's bytes to the milter; one that ends early fails. */
static enum bs_err
send_file(struct milterclient *client, int fd, off_t size)
{
	char *buf = malloc(READ_SIZE);
	enum bs_err err = buf == NULL ? BS_ERR_NOMEM : BS_OK;

	while (size > 0 && err == BS_OK) {
		ssize_t n = read(fd, buf, size < READ_SIZE ? (size_t)size : READ_SIZE);

		if (n <= 0)
			err = n < 0 && errno == EINTR ? BS_OK : BS_ERR_SHORT;
		else
			err = milterclient_send(client, buf, (size_t)n);
		size -= n > 0 ? n : 0;
	}
	free(buf);
	return err;
}

static const char *
text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

static void
print_checks(const json_t *object, const char *about)
{
	size_t i;
	json_t *item;

	json_array_foreach(json_object_get(object, "checks"), i, item)
		printf("  %-10s %-6s %8.1f ms  %s%s%s\n", text_of(item, "check"), text_of(item, "outcome"),
		    json_real_value(json_object_get(item, "ms")), text_of(item, "reason"), about[0] != '\0' ? "  " : "",
		    strcmp(text_of(item, "reason"), "foreign") == 0 ? "  (not of this system's domains: Postfix decides whether to relay)" : about);
}

static void
print_verdict(const json_t *object, const char *indent, const char *who)
{
	static const char *const more[][2] = { { "by", "by" }, { "reason", "because" }, { "reply", "reply" },
		{ "folder", "folder" }, { "label", "label" }, { "noted", "noted" } };

	printf("%s%s: %s", indent, who, text_of(object, "verdict"));
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		if (text_of(object, more[i][0])[0] != '\0')
			printf("%s%s %s", i == 0 ? " " : ", ", more[i][1], text_of(object, more[i][0]));
	printf("%s\n", json_is_true(json_object_get(object, "no_bounce")) ? ", spared: a bounce would go to nobody verified" : "");
}

/* The recipient is the account, as it mostly is: the account's verdict says it all. NULL: he is not. */
static const json_t *
own_account(const json_t *recipient)
{
	const json_t *accounts = json_object_get(recipient, "accounts"), *account = json_array_get(accounts, 0);

	return json_array_size(accounts) == 1 && strcmp(text_of(account, "account"), text_of(recipient, "to")) == 0 ? account : NULL;
}

static void
print_recipient(const json_t *recipient)
{
	const json_t *own = own_account(recipient);
	size_t i;
	json_t *account;

	print_verdict(own != NULL ? own : recipient, "", text_of(recipient, "to"));
	print_checks(recipient, "");
	json_array_foreach(json_object_get(recipient, "accounts"), i, account) {
		if (own == NULL)
			print_verdict(account, "  ", text_of(account, "account"));
		print_checks(account, "");
	}
}

static void
print_change(const json_t *change)
{
	const char *what = text_of(change, "what"), *name = text_of(change, "name"), *value = text_of(change, "value");

	if (strcmp(what, "delete") == 0)
		printf("- %s (number %lld)\n", name, (long long)json_integer_value(json_object_get(change, "index")));
	else if (strcmp(what, "hold") == 0)
		printf("! held: %s\n", value);
	else if (strcasecmp(name, BS_VERDICT_FIELD) == 0)
		printf("+ %s: sealed, for basalt-lmtp: what is said above of each recipient\n", name);
	else
		printf("%c %s: %s\n", strcmp(what, "insert") == 0 ? '+' : '~', name, value);
}

static void
print_changes(const json_t *answer)
{
	size_t i;
	json_t *change;

	json_array_foreach(json_object_get(answer, "changes"), i, change)
		print_change(change);
}

static void
print_answer(const json_t *answer)
{
	size_t i;
	json_t *recipient;

	printf("message: %s%s%s\n", text_of(answer, "outcome"), text_of(answer, "reason")[0] != '\0' ? ", because " : "",
	    text_of(answer, "reason"));
	print_checks(answer, "");
	json_array_foreach(json_object_get(answer, "rcpt"), i, recipient)
		print_recipient(recipient);
	print_changes(answer);
}

static int
ask(struct ctl *ctl, int fd, off_t size)
{
	struct milterclient *client = NULL;
	json_t *answer = NULL, *json = question(&ctl->args, size);
	bool as_json = (ctl->args.given & CTL_JSON) != 0;
	enum bs_err err;
	int rc;

	if (json == NULL)
		return CTL_USAGE;
	err = milterclient_open(ctl->settings.milter_control, TIMEOUT_MS, &client);
	if (err == BS_OK)
		err = milterclient_say(client, json);
	else
		json_decref(json);
	if (err == BS_OK)
		err = send_file(client, fd, size);
	/* Whoever refuses does so before he has read all: his answer says why. */
	if (client != NULL && err != BS_ERR_SHORT && milterclient_hear(client, &answer) == BS_OK)
		err = BS_OK;
	milterclient_close(client);
	if (err == BS_ERR_SHORT)
		return ctl_fail(BS_ERR_IO, "%s: cannot be read", ctl->args.words[0]);
	if (err != BS_OK) {
		json_t *why = milterclient_trouble(ctl, "milter", ctl->settings.milter_control, err);

		rc = ctl_fail(err, "%s", json_string_value(why));
		json_decref(why);
		return rc;
	}
	if (!json_is_true(json_object_get(answer, "ok"))) {
		rc = ctl_fail(BS_ERR_UNAVAIL, "the milter says: %s", text_of(answer, "error"));
		json_decref(answer);
		return rc;
	}
	if (as_json)
		return ctl_print_json(answer);
	print_answer(answer);
	json_decref(answer);
	return CTL_OK;
}

/* As a file of a Maildir, or of Dovecot's dbox behind its two lines. */
static bool
is_sealed(int fd)
{
	uint8_t start[512];
	ssize_t n = pread(fd, start, sizeof(start), 0);

	for (ssize_t i = 0; i < n; i++)
		if (bs_msg_is_sealed(start + i, (size_t)(n - i)))
			return true;
	return false;
}

/* A regular file. "-": what comes on standard input, in memory. -1: errno. */
static int
open_message(const char *path)
{
	char buf[READ_SIZE];
	ssize_t n;
	int fd;

	if (strcmp(path, "-") != 0)
		return open(path, O_RDONLY | O_CLOEXEC);
	fd = memfd_create("message", MFD_CLOEXEC);
	while (fd >= 0 && (n = read(STDIN_FILENO, buf, sizeof(buf))) != 0) {
		if (n > 0 && write(fd, buf, (size_t)n) == n)
			continue;
		close(fd);
		return -1;
	}
	if (fd >= 0)
		(void)lseek(fd, 0, SEEK_SET);
	return fd;
}

int
explain_run(struct ctl *ctl)
{
	const char *path = ctl->args.words[0];
	struct stat st;
	int rc = ctl_load_settings(ctl), fd;

	if (rc != CTL_OK)
		return rc;
	if (ctl->settings.milter_control[0] == '\0')
		return ctl_fail(BS_ERR_CONF, "ctl.milter_control in %s is empty: no milter to ask", ctl->conf_path);
	if (ctl->args.n_rcpt == 0) {
		(void)ctl_fail(BS_ERR_ARG, "explain: --rcpt is missing: whose policy is asked about?");
		return CTL_USAGE;
	}
	if (bad_address(&ctl->args) != NULL) {
		(void)ctl_fail(BS_ERR_ARG, "explain: `%s` is no address: NAME@DOMAIN is wanted", bad_address(&ctl->args));
		return CTL_USAGE;
	}
	fd = open_message(path);
	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		rc = ctl_fail(BS_ERR_NOENT, "%s: %s", path, fd < 0 ? strerror(errno) : "is no regular file");
		if (fd >= 0)
			close(fd);
		return rc;
	}
	rc = is_sealed(fd) ? ctl_fail(BS_ERR_FORMAT, "%s is a sealed mail: explain wants a message as it arrives", path)
	                 : ask(ctl, fd, st.st_size);
	close(fd);
	return rc;
}
