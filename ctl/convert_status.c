/* basaltctl convert status: how much of an account's mail is sealed, by a look at the beginning of each. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "background.h"
#include "convert.h"
#include "mailtally.h"
#include "mdbox_place.h"
#include "owner.h"
#include "sweep.h"
#include "verbs.h"
#include "walk.h"

static bool
on_file(void *ctx, size_t root, const char *path, const char *name)
{
	(void)root;
	if (sweep_is_mail(path, name))
		mailtally_add(ctx, path);
	return !ctl_background_stopped();
}

static void
on_failed(void *ctx, const char *path, int error)
{
	struct mailtally *tally = ctx;

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
print(const struct convert_task *task, const struct mailtally *t)
{
	bool running = is_at_work(task->home), shut = mdbox_place_is_shut(task->home);
	json_int_t all = t->sealed + t->plain;

	if ((task->ctl->args.given & CTL_JSON) != 0)
		return convert_print(json_pack("{s:s, s:I, s:I, s:I, s:b, s:b}", "account", task->address, "sealed", t->sealed, "plain", t->plain, "unknown",
		    t->unknown, "running", running, "shut", shut));
	if (all == 0)
		printf("%-40s no messages", task->address);
	else
		printf("%-40s %lld of %lld messages sealed (%d %%)", task->address, (long long)t->sealed, (long long)all, (int)(t->sealed * 100 / all));
	if (running)
		printf(", a conversion is at work");
	if (t->unknown > 0)
		printf(", %lld files can't be told", (long long)t->unknown);
	if (shut && !running)
		printf(", its mail folder is shut: `basaltctl convert %s` opens it", task->address);
	printf("\n");
	return CTL_OK;
}

/* As the owner of the folders, from then on. */
static int
look(const struct convert_task *task, struct mailtally *tally)
{
	struct ctl_walk_ops ops = { .ctx = tally, .file = on_file, .failed = on_failed };
	int rc = ctl_become_owner(task->folders, task->n);
	enum bs_err err;

	if (rc != CTL_OK)
		return rc;
	ctl_background_begin(false);
	err = ctl_walk(task->folders, task->n, 0, NULL, &ops);
	return err == BS_OK ? CTL_OK : ctl_fail(err, "walking the tree: %s", bs_err_text(err));
}

bool
convert_finds_text(const struct convert_task *task)
{
	struct mailtally tally = { 0 };

	return look(task, &tally) != CTL_OK || tally.plain > 0 || tally.unknown > 0;
}

/* convert_fn */
static int
count(struct convert_task *task)
{
	struct mailtally tally = { 0 };
	int rc = CTL_OK;

	if (!task->all || access(task->home, F_OK) == 0 || errno != ENOENT) /* else no mail has come yet */
		rc = look(task, &tally);
	return rc == CTL_OK ? print(task, &tally) : rc;
}

int
convert_status(struct ctl *ctl)
{
	return convert_each(ctl, count);
}
