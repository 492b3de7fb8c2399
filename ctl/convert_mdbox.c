#include "convert_mdbox.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "background.h"
#include "doveadm.h"
#include "inuse.h"
#include "mdbox_look.h"
#include "mdbox_place.h"
#include "sock.h"
#include "sweep.h"

#define SHUT_MAX_MS 1800000   /* deliveries wait meanwhile */
#define LEAVE_MS 60000        /* for who has it open to end what he is at */
#define LEAVE_LOOK_MS 100
#define KICK_EVERY_MS 2000
#define TRIES 3               /* until both are the same */
#define MTIME_SLACK_S 2       /* a file system's clock may lag behind */

struct run {
	const struct convert_task *task;
	const struct bs_record *record;
	struct ctl_owner owner;
	struct doveadm dove;
	struct mdbox_place place;
	struct mailtally had; /* before */
	uint64_t bytes;       /* of them */
	time_t looked;        /* what is older than that in the new folder was found in order */
	bool discard;         /* text was copied */
};

/* --- what is said --- */

static int
stopped(void)
{
	return ctl_fail(BS_ERR_BUSY, "ended by a signal; the same command goes on where it stopped");
}

static int
failed(const char *path)
{
	bool can_not = errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP;

	return can_not ? ctl_fail(BS_ERR_ARG, "this file system can't exchange two folders, or tell who has a file open (NFS can't): run it where the disk is")
	               : ctl_fail(BS_ERR_IO, "%s: %s", path, strerror(errno));
}

/* --- which folder --- */

/* NAME, where Dovecot says mdbox:~/NAME or mdbox:HOME/NAME and nothing more. */
static const char *
name_in_home(const char *location, const char *home)
{
	size_t len = strlen(home);
	const char *name = NULL;

	if (strncmp(location, "mdbox:", strlen("mdbox:")) != 0)
		return NULL;
	location += strlen("mdbox:");
	if (strncmp(location, "~/", 2) == 0)
		name = location + 2;
	else if (strncmp(location, home, len) == 0 && location[len] == '/')
		name = location + len + 1;
	return name != NULL && *name != '\0' && *name != '.' && strpbrk(name, "/:%") == NULL ? name : NULL;
}

static int
find_place(struct run *run, int home_fd)
{
	const char *home = run->task->home, *name;
	char location[SWAP_PATH_MAX], told[SWAP_PATH_MAX];

	if (!doveadm_location(&run->dove, location, sizeof(location)) || !doveadm_home(&run->dove, told, sizeof(told)))
		return ctl_fail(BS_ERR_UNAVAIL, "%s has an mdbox, and doveadm does not say where (ctl.doveadm)", run->task->address);
	if (strcmp(told, home) != 0)
		return ctl_fail(BS_ERR_CONF, "the mail home of %s is %s for Dovecot, and %s by ctl.mail_home", run->task->address, told, home);
	name = name_in_home(location, home);
	if (name == NULL || strpbrk(home, ":%") != NULL)
		return ctl_fail(BS_ERR_ARG, "the mail of %s lies in %s: an mdbox is converted where it is one folder in the mail home (mdbox:~/mail), with nothing "
		    "elsewhere (INDEX=, CONTROL=, ALT=)", run->task->address, location);
	return mdbox_place_init(&run->place, home, name, home_fd) == BS_OK ? CTL_OK : ctl_fail(BS_ERR_LIMIT, "%s: the path is too long", home);
}

/* --- while it is in use --- */

static int
check_room(const struct run *run)
{
	struct statvfs fs;
	uint64_t room;

	if (fstatvfs(run->place.home_fd, &fs) < 0)
		return failed(run->task->home);
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	return run->bytes <= room ? CTL_OK : ctl_fail(BS_ERR_IO, "%s: the mail needs its room twice for a while: %llu MiB, and %llu MiB are free",
	    run->task->home, (unsigned long long)(run->bytes >> 20), (unsigned long long)(room >> 20));
}

/* A copy that an earlier run began may be sealed to keys that are not the account's any more, or end in the midst of a mail. */
static int
check_rest(struct run *run)
{
	struct mdbox_look look = { .tally = { .record = run->record } };
	enum bs_err err = access(run->place.new, F_OK) == 0 ? mdbox_look(&look, run->place.new) : BS_OK;
	bool stale = look.tally.plain > 0 || look.tally.unknown > 0 || look.tally.other > run->had.other;

	if (err != BS_OK && !ctl_background_stopped())
		return ctl_fail(err, "%s: %s", run->place.new, bs_err_text(err));
	if (ctl_background_stopped())
		return stopped();
	return mdbox_place_clean(&run->place, stale) == BS_OK ? CTL_OK : failed(run->place.new);
}

/* Every mail of the new folder that was written since the last look. */
static int
check_sealed(struct run *run)
{
	struct mdbox_look look = { .tally = { .record = run->record }, .since = run->looked };
	const struct mailtally *t = &look.tally;
	time_t began = time(NULL);
	enum bs_err err = mdbox_look(&look, run->place.new);

	if (ctl_background_stopped())
		return stopped();
	if (err != BS_OK)
		return ctl_fail(err, "%s: %s", run->place.new, bs_err_text(err));
	run->discard = t->plain > 0;
	if (run->discard)
		return ctl_fail(BS_ERR_CONF, "doveadm did not seal what it carried: mail_plugins of Dovecot's doveadm lacks basalt, see `doveconf -n`");
	if (t->unknown > 0 || t->damaged > run->had.damaged || t->other > run->had.other)
		return ctl_fail(BS_ERR_INTERNAL, "%s: not every mail is whole and sealed to the account's key: nothing was changed", run->place.new);
	run->looked = began - MTIME_SLACK_S;
	return CTL_OK;
}

static int
backup_failed(void)
{
	return ctl_background_stopped() ? stopped() : ctl_fail(BS_ERR_UNAVAIL, "doveadm did not carry the mail over, nothing was changed; the same command goes on "
	    "where it stopped");
}

/* A folder that does not go with its original any more is removed, and made anew by the next try. */
static bool
back_up(const struct run *run, const char *from)
{
	bool ok = false;

	for (unsigned i = 0; i < TRIES && !ok && !ctl_background_stopped(); i++)
		ok = doveadm_backup(&run->dove, from, run->place.new);
	return ok;
}

/* All but what comes in the last minute; and Dovecot's caches learn what will be asked. */
static int
carry_most(struct run *run)
{
	struct doveadm_print print;
	int rc = check_rest(run);

	if (rc == CTL_OK)
		rc = check_room(run);
	if (rc != CTL_OK)
		return rc;
	if (!back_up(run, NULL))
		return backup_failed();
	rc = check_sealed(run);
	if (rc == CTL_OK)
		(void)(doveadm_print(&run->dove, run->place.root, &print) && doveadm_print(&run->dove, run->place.new, &print));
	return rc == CTL_OK && syncfs(run->place.home_fd) < 0 ? failed(run->task->home) : rc;
}

/* --- while it is shut --- */

/* Who had a file open when it was shut goes on writing to it. */
static int
wait_until_free(struct run *run)
{
	int64_t now_ms = bs_now_ms(), deadline_ms = now_ms + LEAVE_MS, kick_ms = now_ms;
	bool held = true;

	while (!ctl_background_stopped()) {
		if (inuse_look(run->place.old, &held) != BS_OK)
			return failed(run->place.old);
		now_ms = bs_now_ms();
		if (!held)
			return CTL_OK;
		if (now_ms > deadline_ms)
			return ctl_fail(BS_ERR_BUSY, "a process had a file of %s open for a minute: nothing was changed, try again", run->place.root);
		if (now_ms >= kick_ms) {
			doveadm_kick(&run->dove);
			kick_ms = now_ms + KICK_EVERY_MS;
		}
		(void)poll(NULL, 0, LEAVE_LOOK_MS);
	}
	return stopped();
}

static int
carry_rest(struct run *run)
{
	struct doveadm_print before, after;

	for (unsigned i = 0; i < TRIES; i++) {
		if (!back_up(run, run->place.old) || !doveadm_print(&run->dove, run->place.old, &before) ||
		    !doveadm_print(&run->dove, run->place.new, &after))
			return backup_failed();
		if (memcmp(&before, &after, sizeof(before)) == 0)
			return check_sealed(run);
	}
	return ctl_fail(BS_ERR_INTERNAL, "what doveadm carried over of %s is not what was there: nothing was changed. Remove %s, and try again",
	    run->place.root, run->place.new);
}

/* Mail that was sealed to keys which are not the account's any more would be lost. */
static int
check_record(const struct run *run)
{
	uint8_t bytes[BS_RECORD_MAX];
	struct bs_record now;
	size_t len = 0;
	enum bs_err err = bs_keyclient_record(run->task->ctl->keyd, run->task->address, bytes, &len);

	if (err == BS_OK)
		err = bs_record_parse(bytes, len, &now);
	if (err != BS_OK)
		return ctl_fail(err, "keys of %s: %s", run->task->address, ctl_keyd_text(err));
	return memcmp(now.account_id, run->record->account_id, BS_ID_LEN) == 0 && memcmp(now.key_id, run->record->key_id, BS_ID_LEN) == 0 &&
	    now.flags == run->record->flags ? CTL_OK : ctl_fail(BS_ERR_BUSY, "the keys of %s were changed meanwhile: run it again", run->task->address);
}

static void
reopen(const struct mdbox_place *place)
{
	if (mdbox_place_state(place) == MDBOX_SHUT && mdbox_place_reopen(place) != BS_OK)
		ctl_fail(BS_ERR_IO, "%s can't be opened again: %s; its mail lies in %s, and deliveries wait", place->root, strerror(errno), place->old);
}

/* Root alone may. */
static void
hurry(const struct run *run)
{
	if (ctl_owner_rest(&run->owner))
		ctl_background_hurry();
	(void)ctl_owner_act(&run->owner);
}

/* From shut to changed, or back. */
static int
finish(struct run *run)
{
	int rc;

	hurry(run);
	run->dove.deadline_ms = bs_now_ms() + SHUT_MAX_MS;
	rc = wait_until_free(run);
	if (rc == CTL_OK)
		rc = carry_rest(run);
	if (rc == CTL_OK)
		rc = check_record(run);
	if (rc == CTL_OK && mdbox_place_change(&run->place) != BS_OK)
		rc = failed(run->place.root);
	if (rc != CTL_OK)
		reopen(&run->place);
	return rc;
}

/* --- all of it --- */

static int
look_before(struct run *run, char *folder)
{
	struct mdbox_look look = { .tally = { .record = run->record }, .strict = true };
	enum bs_err err = mdbox_look(&look, folder);

	if (ctl_background_stopped())
		return stopped();
	if (err != BS_OK)
		return ctl_fail(err, "%s: %s", folder, bs_err_text(err));
	if (look.foreign_what != NULL && look.tally.plain > 0)
		return ctl_fail(BS_ERR_ARG, "%s %s", look.foreign, look.foreign_what);
	run->had = look.tally;
	run->bytes = look.bytes;
	return CTL_OK;
}

static int
from_open(struct run *run, struct convert_mdbox *out)
{
	int rc = look_before(run, run->place.root);

	if (rc != CTL_OK)
		return rc;
	if (run->had.plain == 0)
		return mdbox_place_clean(&run->place, true) == BS_OK ? CTL_OK : failed(run->place.new);
	rc = carry_most(run);
	if (rc == CTL_OK && mdbox_place_shut(&run->place) != BS_OK) {
		rc = failed(run->place.root);
		reopen(&run->place);
	}
	if (rc != CTL_OK)
		return rc;
	out->sealed = run->had.plain;
	return finish(run);
}

static int
from_shut(struct run *run, struct convert_mdbox *out)
{
	int rc = look_before(run, run->place.old);

	out->sealed = run->had.plain;
	return rc == CTL_OK ? finish(run) : rc;
}

static int
go_on(struct run *run, struct convert_mdbox *out)
{
	enum mdbox_state state = mdbox_place_state(&run->place);
	int rc = CTL_OK;

	if (state == MDBOX_STRANGE)
		return ctl_fail(BS_ERR_ARG, "%s, %s and %s are not what a run leaves: look at them", run->place.root, run->place.old, run->place.new);
	if (state == MDBOX_SHUT)
		rc = from_shut(run, out);
	else if (state == MDBOX_OPEN)
		rc = from_open(run, out);
	if (rc == CTL_OK && mdbox_place_clean(&run->place, false) != BS_OK)
		rc = failed(run->place.old);
	return rc;
}

/* Is there mail in the clear that lies in an mdbox? */
static int
look_for_text(const struct run *run, bool *out)
{
	struct mdbox_look look = { 0 };
	enum bs_err err = mdbox_look(&look, run->task->folders[0]);

	*out = look.tally.plain > 0;
	return ctl_background_stopped() ? stopped() : err == BS_OK ? CTL_OK : ctl_fail(err, "%s: %s", run->task->home, bs_err_text(err));
}

static int
as_owner(struct run *run, struct convert_mdbox *out)
{
	char name[256];
	bool wanted = false;
	int home_fd = -1, rc = look_for_text(run, &wanted);

	wanted |= mdbox_place_find(run->task->home, name, sizeof(name));
	if (rc != CTL_OK || !wanted)
		return rc;
	rc = sweep_lock(run->task->home, &home_fd);
	if (rc == CTL_OK)
		rc = find_place(run, home_fd);
	if (rc == CTL_OK)
		rc = go_on(run, out);
	if (run->discard && mdbox_place_clean(&run->place, true) != BS_OK)
		rc = failed(run->place.new);
	/* Of other folders in the home nobody knows what they are. */
	if (rc == CTL_OK)
		rc = look_for_text(run, &wanted);
	if (rc == CTL_OK && wanted)
		rc = ctl_fail(BS_ERR_ARG, "%s: some mdbox there holds mail in the clear, and is not the folder that Dovecot reads", run->task->home);
	if (home_fd >= 0)
		(void)close(home_fd);
	return rc;
}

/* The mail home, and who owns it. */
static int
enter(const struct convert_task *task, struct ctl_owner *owner)
{
	int rc = ctl_owner_look(task->folders, 1, owner);

	if (rc == CTL_OK && !ctl_owner_act(owner))
		rc = failed(task->home);
	return rc;
}

int
convert_mdbox(const struct convert_task *task, const struct bs_record *record, struct convert_mdbox *out)
{
	struct run run = { .task = task, .record = record, .dove = { .ctl = task->ctl, .address = task->address, .owner = &run.owner } };
	int rc = enter(task, &run.owner);

	*out = (struct convert_mdbox){ 0 };
	if (rc != CTL_OK)
		return rc;
	ctl_background_begin((task->ctl->args.given & CTL_FULL_SPEED) != 0);
	rc = as_owner(&run, out);
	return ctl_owner_rest(&run.owner) ? rc : failed(task->home);
}

void
convert_mdbox_reopen(const struct convert_task *task)
{
	struct ctl_owner owner;
	struct mdbox_place place = { .home_fd = -1 };
	char name[256];
	int home_fd = -1;

	if (!mdbox_place_is_shut(task->home) || !mdbox_place_find(task->home, name, sizeof(name)) || enter(task, &owner) != CTL_OK)
		return;
	if (sweep_lock(task->home, &home_fd) == CTL_OK) {
		if (mdbox_place_init(&place, task->home, name, home_fd) == BS_OK)
			reopen(&place);
		(void)close(home_fd);
	}
	(void)ctl_owner_rest(&owner);
}
