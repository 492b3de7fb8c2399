#include "sweep.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "background.h"
#include "owner.h"
#include "sock.h"
#include "walk.h"

#define LOCK_TRIES 10
#define LOCK_PAUSE_MS 50
#define PASSES 5 /* over what others renamed under our hands */
#define INDEX "dovecot.index"
#define INDEX_CACHE INDEX ".cache"
#define STRANDED_TEXT "somebody put this file in a mail's place at the moment of its exchange, and it found no way back: look at it before Dovecot " \
	"removes it as something unfinished, after a day or two"

/* --- one file --- */

bool
sweep_is_dbox(const char *name, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(name, prefix, len) == 0 && isdigit((unsigned char)name[len]) && strspn(name + len, "0123456789") == strlen(name + len);
}

bool
sweep_is_maildir(const char *path, const char *name)
{
	return ctl_walk_lies_in(path, name, "cur") || ctl_walk_lies_in(path, name, "new");
}

bool
sweep_is_mail(const char *path, const char *name)
{
	return sweep_is_dbox(name, "u.") || sweep_is_dbox(name, "m.") || sweep_is_maildir(path, name);
}

/* Beside an sdbox file, or in the Maildir's tmp. */
static bool
temp_path(struct sweep *sweep, const char *path, const char *name, char *out, size_t size)
{
	int folder = (int)(strlen(path) - strlen(name));
	const char *in = sweep_is_maildir(path, name) ? "../tmp/" : "";
	char own[64];
	int n;

	swap_temp_name(++sweep->serial, own, sizeof(own));
	n = snprintf(out, size, "%.*s%s%s", folder, path, in, own);
	return n > 0 && (size_t)n < size;
}

/* Of RENAME_EXCHANGE. */
static bool
can_not_exchange(enum bs_err err, int error)
{
	return err == BS_ERR_IO && (error == EINVAL || error == ENOSYS || error == EOPNOTSUPP);
}

static bool
session_is_over(const struct sweep *sweep)
{
	return sweep->session != NULL && bs_keyclient_is_dead(sweep->session);
}

static bool
is_fatal(const struct sweep *sweep, enum bs_err err)
{
	bool no_room = err == BS_ERR_IO && (errno == ENOSPC || errno == EDQUOT || errno == EROFS);

	return session_is_over(sweep) || can_not_exchange(err, errno) || no_room || err == BS_ERR_NOMEM || err == BS_ERR_BUSY ||
	    err == BS_ERR_INTERNAL;
}

static void
complain(const struct sweep *sweep, const char *path, const char *text)
{
	ctl_progress_complain(&sweep->progress, path, text);
}

static void
count_one(json_int_t *counter, const struct sweep *sweep, const char *path, const char *text)
{
	(*counter)++;
	complain(sweep, path, text);
}

static void
count(struct sweep *sweep, const struct swap_file *file, enum bs_err err)
{
	struct sweep_counts *c = &sweep->counts;

	if (err == BS_OK) {
		(*(file->done ? &c->done : &c->current))++;
	} else if (err == BS_ERR_CONFLICT && file->stranded[0] != '\0') {
		count_one(&c->errors, sweep, file->stranded, STRANDED_TEXT);
	} else if (err == BS_ERR_CONFLICT) {
		c->changed++;
	} else if (is_fatal(sweep, err)) {
		sweep->error = errno;
		sweep->fatal = err;
	} else if (err == BS_ERR_NOKEY) {
		count_one(&c->closed, sweep, file->path, "it is sealed to a key that the account does not hold");
	} else if (err == BS_ERR_ACCOUNT) {
		count_one(&c->closed, sweep, file->path, "it is stored for another account");
	} else if (err == BS_ERR_IO) {
		count_one(&c->errors, sweep, file->path, strerror(errno));
	} else if (err == BS_ERR_ARG && file->left != NULL) {
		count_one(&c->left, sweep, file->path, file->left);
	} else {
		count_one(&c->damaged, sweep, file->path, bs_err_text(err));
	}
}

static void
take_file(struct sweep *sweep, const char *path, const char *name)
{
	struct swap_file file = { .path = path };
	enum bs_err err = BS_ERR_IO;

	if (temp_path(sweep, path, name, file.temp, sizeof(file.temp)))
		err = sweep->fn(sweep->ctx, &file);
	else
		errno = ENAMETOOLONG;
	count(sweep, &file, err);
}

static void
show_progress(struct sweep *sweep)
{
	const struct sweep_counts *c = &sweep->counts;

	if (ctl_progress_begin(&sweep->progress))
		fprintf(stderr, "%lld messages %s, %lld needed nothing", (long long)c->done, sweep->done, (long long)c->current);
}

/* --- the walk --- */

/* Of a killed run; what another one is working at stays. */
static void
clean(struct sweep *sweep, const char *path)
{
	if (swap_temp_remove(path) != SWAP_TEMP_FOREIGN)
		return;
	sweep->counts.errors++;
	complain(sweep, path, STRANDED_TEXT);
}

static bool
on_file(void *ctx, size_t root, const char *path, const char *name)
{
	struct sweep *sweep = ctx;

	(void)root;
	if (swap_temp_is(name)) {
		clean(sweep, path);
	} else if (sweep_is_dbox(name, "m.")) {
		sweep->counts.mdbox++;
	} else if (strncmp(name, INDEX, strlen(INDEX)) == 0) {
		sweep->counts.caches += strcmp(name, INDEX_CACHE) == 0;
		if (sweep->index != NULL)
			sweep->index(sweep->ctx, path);
	} else if (sweep_is_dbox(name, "u.") || sweep_is_maildir(path, name)) {
		take_file(sweep, path, name);
	}
	show_progress(sweep);
	return sweep->fatal == BS_OK && !ctl_background_stopped();
}

static void
on_failed(void *ctx, const char *path, int error)
{
	struct sweep *sweep = ctx;

	sweep->counts.errors++;
	complain(sweep, path, strerror(error));
}

static void
on_gone(void *ctx, const char *path, const char *name)
{
	struct sweep *sweep = ctx;

	sweep->counts.changed += !swap_temp_is(name) && (sweep_is_dbox(name, "u.") || sweep_is_maildir(path, name));
}

/*
 * Once more after each pass that did something: what was renamed meanwhile may have got a name where the walk had been already. The pass that
 * finds nothing to do is quick.
 */
int
sweep_run(struct sweep *sweep, char **folders, size_t n)
{
	struct ctl_walk_ops ops = { .ctx = sweep, .file = on_file, .gone = on_gone, .failed = on_failed };

	json_int_t before = -1;

	for (unsigned i = 0; i < PASSES && (before < sweep->counts.done || sweep->counts.changed > 0); i++) {
		enum bs_err err;

		before = sweep->counts.done;
		sweep->counts = (struct sweep_counts){ .done = before };
		err = ctl_walk(folders, n, 0, NULL, &ops);
		/* What an earlier pass moved needed nothing now. */
		sweep->counts.current -= before < sweep->counts.current ? before : sweep->counts.current;
		if (sweep->fatal != BS_OK || ctl_background_stopped())
			break;
		if (err != BS_OK)
			return ctl_fail(err, "walking the tree: %s", bs_err_text(err));
	}
	sweep->restless = before < sweep->counts.done;
	ctl_progress_clear(&sweep->progress);
	return CTL_OK;
}

/* --- before and after --- */

struct sweep
sweep_init(uint64_t given, const char *done, sweep_fn fn, void *ctx)
{
	return (struct sweep){
		.fn = fn,
		.ctx = ctx,
		.done = done,
		.serial = (unsigned)bs_now_ms(), /* a killed run may have had our number: in a container each has the same */
		.progress = ctl_progress_init(given),
	};
}

/* `convert status` holds the lock, too, for the blink of its look. */
static bool
take_lock(int fd)
{
	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return true;
		(void)poll(NULL, 0, LOCK_PAUSE_MS);
	}
	return false;
}

int
sweep_lock(const char *folder, int *fd)
{
	int got = open(folder, O_RDONLY | O_DIRECTORY); /* a program that outlives us is still at work */

	if (got < 0)
		return ctl_fail(BS_ERR_ARG, "%s: %s", folder, strerror(errno));
	if (take_lock(got)) {
		*fd = got;
		return CTL_OK;
	}
	(void)close(got);
	return ctl_fail(BS_ERR_BUSY, "%s: another run is at work there", folder);
}

/* One run a folder; one that is at work below it or above does no harm, but for the time. The lock goes with the process. */
static int
lock(char *const *folders, size_t n)
{
	int rc = CTL_OK, fd;

	for (size_t i = 0; i < n && rc == CTL_OK; i++)
		rc = sweep_lock(folders[i], &fd);
	return rc;
}

/* From here on links that a mail user plants are followed as himself. */
int
sweep_begin(char *const *folders, size_t n, uint64_t given)
{
	int rc = ctl_become_owner(folders, n);

	if (rc == CTL_OK)
		rc = lock(folders, n);
	if (rc == CTL_OK)
		ctl_background_begin((given & CTL_FULL_SPEED) != 0);
	return rc;
}

static int
fail_early(const struct sweep *sweep)
{
	if (session_is_over(sweep))
		return ctl_fail(BS_ERR_UNAVAIL, "the session with basalt-keyd ended: the same command goes on where this one stopped");
	if (can_not_exchange(sweep->fatal, sweep->error))
		return ctl_fail(BS_ERR_ARG, "this file system can't exchange two files (NFS can't): run it where the disk is");
	return ctl_fail(sweep->fatal, "stopped: %s", sweep->fatal == BS_ERR_IO ? strerror(sweep->error) : bs_err_text(sweep->fatal));
}

int
sweep_status(const struct sweep *sweep, const char *mdbox_text)
{
	const struct sweep_counts *c = &sweep->counts;

	if (ctl_background_stopped()) {
		fprintf(stderr, "basaltctl: ended by a signal; the same command goes on where it stopped\n");
		return CTL_TEMPFAIL;
	}
	if (sweep->fatal != BS_OK)
		return fail_early(sweep);
	if (c->mdbox > 0 && mdbox_text != NULL)
		fprintf(stderr, "basaltctl: %s\n", mdbox_text);
	if (c->closed + c->damaged + c->left + c->errors + (mdbox_text == NULL ? 0 : c->mdbox) > 0)
		return CTL_FAILED;
	return c->changed > 0 || sweep->restless ? ctl_fail(BS_ERR_BUSY, "some files were renamed each time they were looked at: run it again") : CTL_OK;
}

json_t *
sweep_json(const struct sweep *sweep, const char *done, bool complete)
{
	const struct sweep_counts *c = &sweep->counts;

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", done, c->done, "current", c->current, "not_opened", c->closed,
	    "damaged", c->damaged, "left", c->left, "changed", c->changed, "mdbox_files", c->mdbox, "errors", c->errors, "index_caches", c->caches,
	    "complete", complete);
}

void
sweep_print(const struct sweep *sweep)
{
	const struct sweep_counts *c = &sweep->counts;

	printf("%lld messages %s, %lld needed nothing; %lld not to be opened, %lld damaged, %lld left as they are, %lld renamed meanwhile, "
	    "%lld errors\n", (long long)c->done, sweep->done, (long long)c->current, (long long)c->closed, (long long)c->damaged,
	    (long long)c->left, (long long)c->changed, (long long)c->errors);
}
