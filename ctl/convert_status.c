/* basaltctl convert status: how much of an account's mail is sealed, by a look at the beginning of each. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "background.h"
#include "convert.h"
#include "mailfile.h"
#include "msgfmt.h"
#include "owner.h"
#include "sweep.h"
#include "verbs.h"
#include "walk.h"

#define SUITE_AT (BS_MSG_MAGIC_LEN + 1) /* docs/FORMAT.message.md */

struct tally {
	int fd;
	json_int_t sealed, plain;
	json_int_t unknown; /* files of which the mails can't be told */
};

/* ctl_mail_fn */
static enum bs_err
count_mail(void *ctx, const struct ctl_mail *mail)
{
	struct tally *tally = ctx;
	uint8_t head[SUITE_AT + 1] = { 0 };
	size_t got = 0;
	enum bs_err err = ctl_pread(tally->fd, mail->off, head, mail->len < sizeof(head) ? (size_t)mail->len : sizeof(head), &got);

	if (err != BS_OK)
		return err;
	if (got == sizeof(head) && bs_msg_is_sealed(head, got) && head[SUITE_AT] != BS_MSG_SUITE_PLAIN)
		tally->sealed++;
	else
		tally->plain++;
	return BS_OK;
}

static void
count_file(struct tally *tally, const char *path)
{
	enum bs_err err = ctl_mailfile_look(path, &tally->fd, count_mail, tally);

	tally->unknown += err != BS_OK && err != BS_ERR_NOENT;
}

static bool
on_file(void *ctx, size_t root, const char *path, const char *name)
{
	(void)root;
	if (sweep_is_mail(path, name))
		count_file(ctx, path);
	return !ctl_background_stopped();
}

static void
on_failed(void *ctx, const char *path, int error)
{
	struct tally *tally = ctx;

	(void)path;
	(void)error;
	tally->unknown++;
}

/* Does a conversion hold the folder's lock? */
static bool
is_at_work(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool busy = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;

	if (fd >= 0)
		(void)close(fd);
	return busy;
}

static int
print(const struct convert_task *task, const struct tally *t)
{
	bool running = is_at_work(task->home);
	json_int_t all = t->sealed + t->plain;

	if ((task->ctl->args.given & CTL_JSON) != 0)
		return convert_print(json_pack("{s:s, s:I, s:I, s:I, s:b}", "account", task->address, "sealed", t->sealed, "plain", t->plain, "unknown",
		    t->unknown, "running", running));
	printf("%-40s %lld of %lld messages sealed (%d %%)%s", task->address, (long long)t->sealed, (long long)all,
	    all == 0 ? 100 : (int)(t->sealed * 100 / all), running ? ", a conversion is at work" : "");
	if (t->unknown > 0)
		printf(", %lld files can't be told", (long long)t->unknown);
	printf("\n");
	return CTL_OK;
}

/* convert_fn */
static int
count(struct convert_task *task)
{
	struct tally tally = { 0 };
	struct ctl_walk_ops ops = { .ctx = &tally, .file = on_file, .failed = on_failed };
	enum bs_err err;
	int rc;

	if (task->all && access(task->home, F_OK) < 0 && errno == ENOENT)
		return print(task, &tally); /* no mail yet */
	rc = ctl_become_owner(task->folders, task->n);
	if (rc != CTL_OK)
		return rc;
	ctl_background_begin(false);
	err = ctl_walk(task->folders, task->n, 0, NULL, &ops);
	if (err != BS_OK)
		return ctl_fail(err, "walking the tree: %s", bs_err_text(err));
	return print(task, &tally);
}

int
convert_status(struct ctl *ctl)
{
	return convert_each(ctl, count);
}
