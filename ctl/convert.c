/* basaltctl convert: mail from before an account was sealed is sealed in its place, beside running servers; and undo. */
#include "convert.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "convert_file.h"
#include "convert_mdbox.h"
#include "hex.h"
#include "home.h"
#include "indexcache.h"
#include "key.h"
#include "keyclient_sessions.h"
#include "notice.h"
#include "session.h"
#include "sock.h"
#include "sweep.h"
#include "verbs.h"

#define RECORD_GOOD_MS 2000
#define MDBOX_TEXT "an mdbox is converted as a whole, where Dovecot reads it: name no FOLDER"
#define MDBOX_UNDO_TEXT "an mdbox goes back by way of a folder with one file a mail, which Dovecot fills: KEYS.md, \"Mail from before\""

/* One account's run. */
struct run {
	const struct convert_task *task;
	int64_t asked_ms; /* when keyd last said that the record still counts */
	struct convert convert;
	enum bs_err (*take)(struct convert *convert, struct swap_file *file);
	char folder[SWAP_PATH_MAX]; /* where the last file's index lies; "": there was none */
	bool foreign, gone;         /* that folder is another account's; was renamed meanwhile */
	bool touched;               /* a mail of it was replaced */
	bool purges;                /* index caches that may hold text; else all of those of a folder with a mail that was replaced, since sealed fields are for the file that was there */
	json_int_t purged;          /* how many */
	const char *mdbox_text;     /* of files of an mdbox; NULL: they are in order */
	json_int_t carried;         /* messages of an mdbox */
	struct sweep sweep;
};

/* --- index caches --- */

/* The index of an sdbox lies beside the mails, a Maildir's above cur and new. */
static void
index_folder(const char *path, char out[SWAP_PATH_MAX])
{
	const char *name = strrchr(path, '/') + 1;
	size_t len = (size_t)(name - path) - 1;

	if (sweep_is_maildir(path, name))
		len -= strlen("/cur");
	snprintf(out, SWAP_PATH_MAX, "%.*s", (int)len, path);
}

static void
purge(struct run *run, const char *path)
{
	int error = 0;

	run->purged += run->purges ? indexcache_purge(path, &error) : indexcache_forget(path, &error);
	if (error == 0)
		return;
	run->sweep.counts.errors++;
	ctl_progress_complain(&run->sweep.progress, path, strerror(error));
}

/* Once more behind the last mail of a folder: a session from before the account was sealed may have written meanwhile. */
static void
leave_folder(struct run *run)
{
	char path[SWAP_PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/" INDEXCACHE_NAME, run->folder);
	if (run->touched)
		purge(run, path);
	run->touched = false;
}

/* --- whose mail it is --- */

/* The nearest mail home above says whose. real: the folder's path, of PATH_MAX; is written to. */
static bool
is_foreign(char *real, const struct bs_record *own)
{
	char path[PATH_MAX + 32];
	struct bs_record record;
	uint8_t *bytes = NULL;
	size_t len = 0;
	bool found = false;

	for (char *slash = real + strlen(real); slash != NULL && !found; slash = strrchr(real, '/')) {
		*slash = '\0';
		snprintf(path, sizeof(path), "%s/basalt/record", real);
		found = home_read_file(path, BS_RECORD_MAX, &bytes, &len) == BS_OK && bs_record_parse(bytes, len, &record) == BS_OK;
		free(bytes);
		bytes = NULL;
	}
	return found && memcmp(record.account_id, own->account_id, BS_ID_LEN) != 0;
}

static void
enter_folder(struct run *run, const char *path)
{
	char folder[SWAP_PATH_MAX], real[PATH_MAX];

	index_folder(path, folder);
	if (strcmp(folder, run->folder) == 0)
		return;
	leave_folder(run);
	memcpy(run->folder, folder, sizeof(folder));
	run->gone = realpath(folder, real) == NULL;
	run->foreign = run->gone || is_foreign(real, &run->convert.record);
	if (run->gone)
		run->folder[0] = '\0'; /* it may come back */
}

/* Keys may be changed, and the account with them, while thousands of mails are sealed. */
static bool
record_counts(struct run *run)
{
	const struct bs_record *own = &run->convert.record;
	uint8_t bytes[BS_RECORD_MAX];
	struct bs_record now;
	size_t len = 0;

	if (bs_now_ms() - run->asked_ms < RECORD_GOOD_MS)
		return true;
	if (bs_keyclient_record(run->task->ctl->keyd, run->task->address, bytes, &len) != BS_OK || bs_record_parse(bytes, len, &now) != BS_OK ||
	    memcmp(now.account_id, own->account_id, BS_ID_LEN) != 0 || memcmp(now.key_id, own->key_id, BS_ID_LEN) != 0 || now.flags != own->flags)
		return false;
	run->asked_ms = bs_now_ms();
	return true;
}

/* Of sweep: each that there is, so that nothing depends on what a killed run had done. */
static void
on_index(void *ctx, const char *path)
{
	struct run *run = ctx;

	enter_folder(run, path);
	if (!run->foreign)
		purge(run, path);
}

/* sweep_fn */
static enum bs_err
take_file(void *ctx, struct swap_file *file)
{
	struct run *run = ctx;
	enum bs_err err;

	if (!record_counts(run)) {
		ctl_progress_complain(&run->sweep.progress, run->task->address, "its keys were changed meanwhile, or basalt-keyd is gone");
		return BS_ERR_BUSY;
	}
	enter_folder(run, file->path);
	if (run->foreign)
		return run->gone ? BS_ERR_CONFLICT : BS_ERR_ACCOUNT;
	err = run->take(&run->convert, file);
	run->touched |= file->done;
	return err;
}

/* --- may it be? --- */

static int
site_key(const struct ctl *ctl, uint8_t out[BS_SIGN_PUB_LEN])
{
	enum bs_err err = home_site_key(ctl, out);

	return err == BS_OK ? CTL_OK : ctl_fail(BS_ERR_CONF, "%s: %s (setting ctl.site_key in %s: what is sealed is sealed by records that this key signed)",
	    ctl->settings.site_key, err == BS_ERR_FORMAT ? "it does not hold a public key" : bs_err_text(err), ctl->conf_path);
}

/* The account's public record, believed as the mail server believes it. */
static int
get_record(const struct convert_task *task, struct bs_record *out)
{
	struct ctl *ctl = task->ctl;
	uint8_t site_pub[BS_SIGN_PUB_LEN], bytes[BS_RECORD_MAX];
	size_t len = 0;
	int rc = site_key(ctl, site_pub);
	enum bs_err err;

	if (rc == CTL_OK)
		rc = ctl_open_keyd(ctl);
	if (rc != CTL_OK)
		return rc;
	err = bs_keyclient_record(ctl->keyd, task->address, bytes, &len);
	/* Who has not logged in yet (enrolment) has no keys, and is not sealed. */
	if (err == BS_ERR_NOENT && task->all) {
		*out = (struct bs_record){ 0 };
		return CTL_OK;
	}
	if (err != BS_OK)
		return ctl_fail(err, "keys of %s: %s", task->address, ctl_keyd_text(err));
	err = bs_record_open(bytes, len, site_pub, task->address, out);
	if (err != BS_OK)
		return ctl_fail(err, "the public record of %s is not to be trusted: %s (ctl.site_key may also be the wrong one)", task->address,
		    bs_err_text(err));
	if (home_generation(ctl, task->address) > out->generation)
		return ctl_fail(BS_ERR_ROLLBACK, "%s: the mail home knows newer keys than the database: `basaltctl key restore` first", task->address);
	return CTL_OK;
}

/* Nobody's mail is sealed that one forgotten password loses, unless that is meant. *done: nothing is to be sealed. */
static int
check_recovery(const struct convert_task *task, bool *done)
{
	const struct ctl *ctl = task->ctl;
	struct bs_slot_list list;
	enum bs_err err;
	bool safe;

	if ((ctl->args.given & CTL_ACCEPT_LOSS) != 0 || ctl->settings.convert_accept_loss)
		return CTL_OK;
	err = bs_keyclient_slots(ctl->keyd, task->address, &list);
	if (err != BS_OK)
		return ctl_fail(err, "keys of %s: %s", task->address, ctl_keyd_text(err));
	safe = ctl_has_slot(&list, BS_SLOT_RECOVERY) || ctl_has_slot(&list, BS_SLOT_ESCROW);
	bs_slot_list_clear(&list);
	*done = !safe && task->all && !convert_finds_text(task);
	return safe || *done ? CTL_OK : ctl_fail(BS_ERR_DENIED, "%s has neither a recovery code nor an escrow key: a forgotten password would lose the mail that "
	    "can still be read now. `basaltctl key add-recovery %s` first, or accept that by --accept-loss (for all: ctl.convert_accept_loss)",
	    task->address, task->address);
}

/* --- the run --- */

static bool
is_whole_home(const struct convert_task *task)
{
	return task->folders[0] == task->home;
}

static int
report(const struct convert_task *task, const struct run *run, const char *done)
{
	uint64_t given = task->ctl->args.given;
	int rc = sweep_status(&run->sweep, run->mdbox_text);
	json_t *json;

	if ((given & CTL_JSON) != 0) {
		json = sweep_json(&run->sweep, done, rc == CTL_OK);
		json_object_set_new(json, "account", json_string(task->address));
		json_object_set_new(json, "caches_removed", json_integer(run->purged));
		return convert_print(json) == CTL_OK ? rc : CTL_FAILED;
	}
	if ((given & CTL_QUIET) != 0)
		return rc;
	printf("%s: ", task->address);
	sweep_print(&run->sweep);
	if (run->purged > 0)
		printf("%s: %lld files of indexes removed that held fields of those mails\n", task->address, (long long)run->purged);
	return rc;
}

static int
work(struct convert_task *task, struct run *run, const char *done)
{
	uint64_t given = task->ctl->args.given;
	int rc;

	run->task = task;
	run->asked_ms = bs_now_ms();
	run->sweep = sweep_init(given, done, take_file, run);
	run->sweep.session = run->convert.session;
	run->sweep.index = run->purges ? on_index : NULL;
	/* keyd's sockets are open: root alone may. */
	rc = sweep_begin(task->folders, task->n, given);
	if (rc == CTL_OK)
		rc = sweep_run(&run->sweep, task->folders, task->n);
	leave_folder(run);
	run->sweep.counts.done += run->carried;
	return rc == CTL_OK ? report(task, run, done) : rc;
}

static int
seal_all(struct convert_task *task)
{
	struct run run = { .take = convert_seal, .purges = true, .mdbox_text = MDBOX_TEXT };
	struct convert_mdbox mdbox = { 0 };
	bool done = false;
	int rc = get_record(task, &run.convert.record);

	if (rc != CTL_OK)
		return rc;
	if ((run.convert.record.flags & BS_RECORD_FLAG_SEALED) == 0)
		return task->all ? CTL_OK : ctl_fail(BS_ERR_ARG, "%s is not sealed: `basaltctl account plan %s PLAN` with a plan that seals (sealed=yes) "
		    "comes first", task->address, task->address);
	if (task->all && access(task->folders[0], F_OK) < 0 && errno == ENOENT)
		return CTL_OK; /* no mail has come yet */
	rc = check_recovery(task, &done);
	if (done)
		return rc;
	if (rc == CTL_OK && is_whole_home(task)) {
		run.mdbox_text = NULL;
		rc = convert_mdbox(task, &run.convert.record, &mdbox);
		run.carried = mdbox.sealed;
	}
	return rc == CTL_OK ? work(task, &run, "sealed") : rc;
}

/* convert_fn */
static int
seal(struct convert_task *task)
{
	int rc = seal_all(task);

	if (rc != CTL_OK && is_whole_home(task))
		convert_mdbox_reopen(task);
	return rc;
}

int
convert_run(struct ctl *ctl)
{
	return convert_each(ctl, seal);
}

/* A session from before takes a mail for forged that is text again where it was sealed. */
static int
end_sessions(const struct convert_task *task)
{
	unsigned ended;
	enum bs_err err = bs_keyclient_end_sessions(task->ctl->keyd, task->address, &ended);

	return err == BS_OK ? CTL_OK : ctl_fail(err, "ending the sessions of %s: %s", task->address, ctl_keyd_text(err));
}

/* convert_fn */
static int
undo(struct convert_task *task)
{
	struct run run = { .take = convert_open, .mdbox_text = MDBOX_UNDO_TEXT };
	struct bs_record record = { 0 };
	char address[BS_ADDRESS_MAX + 1];
	int rc = get_record(task, &record);

	if (rc != CTL_OK)
		return rc;
	if ((record.flags & BS_RECORD_FLAG_SEALED) != 0)
		return ctl_fail(BS_ERR_ARG, "%s is sealed, and so is what arrives meanwhile: `basaltctl account plan %s PLAN` with a plan that does not "
		    "seal (sealed=no) comes first", task->address, task->address);
	rc = end_sessions(task);
	if (rc == CTL_OK)
		rc = ctl_open_session(task->ctl, address, "convert", &run.convert.session, &run.convert.record);
	if (rc == CTL_OK) {
		/* Before the first letter: it may be killed, and is nobody's but the mail's owner's process then. */
		ctl_notice(task->ctl, task->address, "Mail that was sealed is stored without encryption again", NULL);
		rc = work(task, &run, "opened");
	}
	bs_keyclient_free(run.convert.session);
	return rc;
}

int
convert_undo(struct ctl *ctl)
{
	return convert_each(ctl, undo);
}
