#include "doveadm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "background.h"
#include "program.h"
#include "sock.h"

#define WORDS_MAX 12
#define LINE_MAX_LEN (1u << 20)
#define LOOK_MS 500 /* how often we look whether we are to end */
#define NOT_FOUND 68 /* DOVEADM_EX_NOTFOUND: of `mailbox status`, where a folder only has folders in it */
#define CHANGED_MEANWHILE 2 /* of `backup`: it was done, but for some of what changed under its hands */
#define SEEN_OF_MAILS "mailbox-guid uid guid flags date.received size.virtual pop3.uidl"
/* Not vsize: Dovecot would begin to keep sizes in the index, wrongly by one for what is carried over after that. Those of mails say the same. */
#define SEEN_OF_FOLDERS "guid uidvalidity uidnext messages"

typedef void (*line_fn)(void *ctx, const char *line, size_t len);

struct output {
	line_fn fn;
	void *ctx;
	char *line; /* what there is of one that has not ended */
	size_t len;
};

/* --- running it --- */

static void
take_lines(struct output *out, const char *text, size_t len)
{
	while (len > 0) {
		const char *end = memchr(text, '\n', len);
		size_t n = end == NULL ? len : (size_t)(end - text), room = LINE_MAX_LEN - out->len, fits = n < room ? n : room;

		memcpy(out->line + out->len, text, fits); /* a line that is longer is told by its beginning */
		out->len += fits;
		if (end != NULL) {
			out->fn(out->ctx, out->line, out->len);
			out->len = 0;
			n++;
		}
		text += n;
		len -= n;
	}
}

/* Until its output ends. False: we are to end, or it took too long. */
static bool
read_output(const struct doveadm *dove, int fd, struct output *out)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char block[65536];

	while (!ctl_background_stopped() && (dove->deadline_ms == 0 || bs_now_ms() < dove->deadline_ms)) {
		ssize_t n;

		if (poll(&pfd, 1, LOOK_MS) <= 0)
			continue;
		n = read(fd, block, sizeof(block));
		if (n == 0)
			return true;
		if (n > 0)
			take_lines(out, block, (size_t)n);
	}
	return false;
}

static int
wait_for(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static pid_t
start(const struct doveadm *dove, const char *const *argv, int out)
{
	pid_t pid;

	if (!ctl_owner_rest(dove->owner))
		return -1;
	pid = program_start(argv, -1, out);
	if (ctl_owner_act(dove->owner))
		return pid;
	if (pid > 0)
		(void)kill(pid, SIGKILL);
	return -1;
}

static int
run(const struct doveadm *dove, const char *const *argv, struct output *out)
{
	int fds[2];
	bool ended;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return -1;
	pid = start(dove, argv, fds[1]);
	(void)close(fds[1]);
	ended = pid > 0 && read_output(dove, fds[0], out);
	(void)close(fds[0]);
	if (pid > 0 && !ended)
		(void)kill(pid, SIGKILL); /* it is made for that, and we must not wait */
	return pid > 0 ? wait_for(pid) : -1;
}

static void
say_line(void *ctx, const char *line, size_t len)
{
	(void)ctx;
	fprintf(stderr, "%.*s\n", (int)len, line);
}

/* words end with NULL; fn NULL: what it says goes to standard error. Its exit status; -1: it did not run to its end. */
static int
doveadm(const struct doveadm *dove, const char *const words[WORDS_MAX], line_fn fn, void *ctx)
{
	const char *argv[PROGRAM_WORDS_MAX + WORDS_MAX];
	char *command = strdup(dove->ctl->settings.doveadm);
	struct output out = { .fn = fn == NULL ? say_line : fn, .ctx = ctx, .line = malloc(LINE_MAX_LEN) };
	size_t n = command == NULL ? 0 : program_words(command, argv);
	int status = -1;

	for (size_t i = 0; i < WORDS_MAX; i++)
		argv[n + i] = words[i];
	if (n > 0 && out.line != NULL)
		status = run(dove, argv, &out);
	free(out.line);
	free(command);
	if (status == PROGRAM_NOT_RUN)
		ctl_fail(BS_ERR_CONF, "the program of ctl.doveadm can't be run: %s", dove->ctl->settings.doveadm);
	return status;
}

/* --- what it is asked --- */

struct text {
	char *out;
	size_t size;
};

/* line_fn */
static void
keep_line(void *ctx, const char *line, size_t len)
{
	struct text *text = ctx;

	(void)snprintf(text->out, text->size, "%.*s", (int)len, line);
}

static bool
user_field(const struct doveadm *dove, const char *field, char *out, size_t size)
{
	const char *words[WORDS_MAX] = { "user", "-f", field, dove->address };
	struct text text = { .out = out, .size = size };

	out[0] = '\0';
	return doveadm(dove, words, keep_line, &text) == 0 && out[0] != '\0';
}

bool
doveadm_location(const struct doveadm *dove, char *out, size_t size)
{
	return user_field(dove, "mail", out, size);
}

bool
doveadm_home(const struct doveadm *dove, char *out, size_t size)
{
	return user_field(dove, "home", out, size);
}

static void
name_location(char out[SWAP_PATH_MAX + 32], const char *setting, const char *folder)
{
	(void)snprintf(out, SWAP_PATH_MAX + 32, "%smdbox:%s", setting, folder);
}

bool
doveadm_backup(const struct doveadm *dove, const char *from, const char *folder)
{
	char source[SWAP_PATH_MAX + 32], to[SWAP_PATH_MAX + 32];
	const char *live[WORDS_MAX] = { "backup", "-u", dove->address, to };
	const char *moved[WORDS_MAX] = { "-o", source, "backup", "-u", dove->address, to };
	int status;

	name_location(to, "", folder);
	name_location(source, "mail_location=", from == NULL ? "" : from);
	status = doveadm(dove, from == NULL ? live : moved, NULL, NULL);
	return status == 0 || (from == NULL && status == CHANGED_MEANWHILE);
}

/* line_fn */
static void
add_line(void *ctx, const char *line, size_t len)
{
	struct doveadm_print *print = ctx;
	uint8_t hash[BS_HASH_LEN];

	bs_sha256(line, len, hash);
	for (size_t i = 0; i < BS_HASH_LEN; i++)
		print->sum[i] ^= hash[i];
}

/* line_fn: a mail. Who selects the folder first takes \Recent away, which is no change that would be carried over. */
static void
add_mail(void *ctx, const char *line, size_t len)
{
	static const char recent[] = "\\Recent";
	const char *at = memmem(line, len, recent, sizeof(recent) - 1);
	size_t before = at == NULL ? len : (size_t)(at - line), skip = sizeof(recent) - 1;
	char *rest;

	if (at == NULL) {
		add_line(ctx, line, len);
		return;
	}
	if (before + skip < len && at[skip] == ' ')
		skip++;
	else if (before > 0 && at[-1] == ' ')
		before--, skip++;
	rest = malloc(len);
	if (rest == NULL) {
		add_line(ctx, line, len); /* then both sides differ: nothing is exchanged */
		return;
	}
	memcpy(rest, line, before);
	memcpy(rest + before, line + before + skip, len - before - skip);
	add_line(ctx, rest, len - skip);
	free(rest);
}

bool
doveadm_print(const struct doveadm *dove, const char *folder, struct doveadm_print *out)
{
	char at[SWAP_PATH_MAX + 32];
	const char *mails[WORDS_MAX] = { "-o", at, "-f", "tab", "fetch", "-u", dove->address, SEEN_OF_MAILS, "all" };
	const char *folders[WORDS_MAX] = { "-o", at, "-f", "tab", "mailbox", "status", "-u", dove->address, SEEN_OF_FOLDERS, "*" };
	const char *subscribed[WORDS_MAX] = { "-o", at, "mailbox", "list", "-u", dove->address, "-s" };
	int status;

	*out = (struct doveadm_print){ 0 };
	name_location(at, "mail_location=", folder);
	if (doveadm(dove, mails, add_mail, out) != 0)
		return false;
	status = doveadm(dove, folders, add_line, out);
	return (status == 0 || status == NOT_FOUND) && doveadm(dove, subscribed, add_line, out) == 0;
}

/* line_fn */
static void
drop_line(void *ctx, const char *line, size_t len)
{
	(void)ctx;
	(void)line;
	(void)len;
}

void
doveadm_kick(const struct doveadm *dove)
{
	const char *words[WORDS_MAX] = { "kick", dove->address };

	(void)doveadm(dove, words, drop_line, NULL); /* often there is nobody */
}
