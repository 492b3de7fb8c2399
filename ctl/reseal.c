/* basaltctl key reseal: old mail of an account moves to its active key, file by file, beside running servers. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "background.h"
#include "ctl.h"
#include "home.h"
#include "key.h"
#include "owner.h"
#include "password.h"
#include "progress.h"
#include "reseal_file.h"
#include "sock.h"
#include "verbs.h"
#include "walk.h"

#define SERVICE "reseal"
#define PASSES 3 /* over what others renamed under our hands */
#define INDEX_CACHE "dovecot.index.cache"
#define CACHES_TEXT "index caches (" INDEX_CACHE ") may hold keys of these messages for the old key to open: end the account's sessions and remove " \
	"them, Dovecot makes them anew"
#define STRANDED_TEXT "somebody put this file in a mail's place at the moment of its exchange, and it found no way back: look at it before Dovecot " \
	"removes it as something unfinished, after a day or two"
#define MDBOX_TEXT "mdbox files hold many mails and can't be replaced beside a running Dovecot. Carry the account to sdbox " \
	"(doveadm backup -u ADDRESS sdbox:FOLDER), reseal FOLDER, and take it into use or carry it back into an empty mdbox"

struct counts {
	json_int_t current;   /* messages that needed nothing; other files are not counted */
	json_int_t moved;
	json_int_t closed;    /* that these keys do not open */
	json_int_t damaged;
	json_int_t changed;   /* renamed or removed under our hands */
	json_int_t mdbox;     /* files */
	json_int_t caches;    /* of Dovecot's indexes, met on the way */
	json_int_t errors;
};

struct run {
	struct reseal reseal;
	struct counts counts;
	enum bs_err fatal; /* what ended it */
	int error;         /* errno of fatal */
	bool json, quiet;
	struct ctl_progress progress;
	unsigned serial;   /* of temporary names */
};

/* --- what is said --- */

static void
show_progress(struct run *run)
{
	if (ctl_progress_begin(&run->progress))
		fprintf(stderr, "%lld messages sealed anew, %lld needed nothing", (long long)run->counts.moved, (long long)run->counts.current);
}

static void
complain(const struct run *run, const char *path, const char *text)
{
	ctl_progress_complain(&run->progress, path, text);
}

/* --- one file --- */

/* NAME is prefix and digits alone. */
static bool
is_dbox_name(const char *name, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(name, prefix, len) == 0 && isdigit((unsigned char)name[len]) && strspn(name + len, "0123456789") == strlen(name + len);
}

static bool
is_maildir_file(const char *path, const char *name)
{
	return ctl_walk_lies_in(path, name, "cur") || ctl_walk_lies_in(path, name, "new");
}

/* Beside an sdbox file, or in the Maildir's tmp. */
static bool
temp_path(struct run *run, const char *path, const char *name, char *out, size_t size)
{
	int folder = (int)(strlen(path) - strlen(name));
	const char *in = is_maildir_file(path, name) ? "../tmp/" : "";
	char own[64];
	int n;

	reseal_temp_name(++run->serial, own, sizeof(own));
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
is_fatal(const struct run *run, enum bs_err err)
{
	bool no_room = err == BS_ERR_IO && (errno == ENOSPC || errno == EDQUOT || errno == EROFS);

	return bs_keyclient_is_dead(run->reseal.session) || can_not_exchange(err, errno) || no_room || err == BS_ERR_NOMEM || err == BS_ERR_BUSY ||
	    err == BS_ERR_INTERNAL;
}

static void
count(struct run *run, const char *path, enum bs_err err, enum reseal_done done)
{
	struct counts *c = &run->counts;

	if (err == BS_OK && done == RESEAL_MOVED) {
		c->moved++;
	} else if (err == BS_OK) {
		c->current++;
	} else if (err == BS_ERR_CONFLICT && run->reseal.stranded[0] != '\0') {
		c->errors++;
		complain(run, run->reseal.stranded, STRANDED_TEXT);
	} else if (err == BS_ERR_CONFLICT) {
		c->changed++;
	} else if (is_fatal(run, err)) {
		run->error = errno;
		run->fatal = err;
	} else if (err == BS_ERR_NOKEY || err == BS_ERR_ACCOUNT) {
		c->closed++;
		complain(run, path, err == BS_ERR_NOKEY ? "it is sealed to a key that the account does not hold" : "it is sealed for another account");
	} else if (err == BS_ERR_IO) {
		c->errors++;
		complain(run, path, strerror(errno));
	} else {
		c->damaged++;
		complain(run, path, bs_err_text(err));
	}
}

static void
take_file(struct run *run, const char *path, const char *name)
{
	char temp[RESEAL_TEMP_PATH_MAX];
	enum reseal_done done = RESEAL_NOTHING;
	enum bs_err err;

	if (!temp_path(run, path, name, temp, sizeof(temp))) {
		errno = ENAMETOOLONG;
		err = BS_ERR_IO;
	} else {
		err = reseal_file(&run->reseal, path, temp, &done);
	}
	count(run, path, err, done);
}

/* --- the walk --- */

/* Of a killed run; what another one is working at stays. */
static void
clean(struct run *run, const char *path)
{
	if (reseal_temp_remove(path) != RESEAL_TEMP_FOREIGN)
		return;
	run->counts.errors++;
	complain(run, path, STRANDED_TEXT);
}

static bool
on_file(void *ctx, size_t root, const char *path, const char *name)
{
	struct run *run = ctx;

	(void)root;
	if (reseal_temp_is(name)) {
		clean(run, path);
	} else if (is_dbox_name(name, "m.")) {
		run->counts.mdbox++;
	} else if (strcmp(name, INDEX_CACHE) == 0) {
		run->counts.caches++;
	} else if (is_dbox_name(name, "u.") || is_maildir_file(path, name)) {
		take_file(run, path, name);
	}
	show_progress(run);
	return run->fatal == BS_OK && !ctl_background_stopped();
}

static void
on_failed(void *ctx, const char *path, int error)
{
	struct run *run = ctx;

	run->counts.errors++;
	complain(run, path, strerror(error));
}

/* Once more for what was renamed meanwhile; its new name may have come too late for the walk. */
static int
walk(struct run *run, char **roots, size_t n)
{
	struct ctl_walk_ops ops = { .ctx = run, .file = on_file, .failed = on_failed };

	for (unsigned i = 0; i < PASSES && (i == 0 || run->counts.changed > 0); i++) {
		json_int_t before = run->counts.moved;
		enum bs_err err;

		run->counts = (struct counts){ .moved = before };
		err = ctl_walk(roots, n, 0, NULL, &ops);
		/* What an earlier pass moved needed nothing now. */
		run->counts.current -= before < run->counts.current ? before : run->counts.current;
		if (run->fatal != BS_OK || ctl_background_stopped())
			break;
		if (err != BS_OK)
			return ctl_fail(err, "walking the tree: %s", bs_err_text(err));
	}
	ctl_progress_clear(&run->progress);
	return CTL_OK;
}

/* --- before and after --- */

/* One run a folder; one that is at work below it or above does no harm, but for the time. The lock goes with the process. */
static int
lock(char **roots, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int fd = open(roots[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0)
			return ctl_fail(BS_ERR_ARG, "%s: %s", roots[i], strerror(errno));
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return ctl_fail(BS_ERR_BUSY, "%s: another run is at work there", roots[i]);
	}
	return CTL_OK;
}

static enum bs_err
attach(struct ctl *ctl, const char *address, const uint8_t token[BS_TOKEN_LEN], struct reseal *out)
{
	struct bs_session_info info;
	struct bs_record record;
	char path[512];
	enum bs_err err;

	snprintf(path, sizeof(path), "%s/%s", ctl->settings.keyd, BS_SOCKET_MAIL);
	err = bs_keyclient_connect(path, (int)ctl->settings.timeout_ms, &out->session);
	if (err == BS_OK)
		err = bs_keyclient_attach(out->session, token, address, SERVICE, &info);
	/* Who signed it need not be asked: each file is opened by keyd before it counts. */
	if (err == BS_OK)
		err = bs_record_parse(info.record, info.record_len, &record);
	if (err != BS_OK)
		return err;
	memcpy(out->account_id, record.account_id, BS_ID_LEN);
	memcpy(out->key_id, record.key_id, BS_ID_LEN);
	memcpy(out->public_key, record.public_key, BS_KEY_LEN);
	return BS_OK;
}

static int
begin(struct ctl *ctl, char address[BS_ADDRESS_MAX + 1], struct reseal *out)
{
	uint8_t token[BS_TOKEN_LEN];
	char *secret = NULL;
	int rc = ctl_begin_change(ctl, address, &secret);
	enum bs_err err;

	if (rc != CTL_OK)
		return rc;
	err = bs_keyclient_open(ctl->keyd, address, secret, SERVICE, token);
	if (err != BS_OK)
		rc = ctl_key_failed(err, address, secret, "opening the account");
	bs_secret_free(secret);
	if (rc != CTL_OK)
		return rc;
	err = attach(ctl, address, token, out);
	bs_wipe(token, sizeof(token));
	return err == BS_OK ? CTL_OK : ctl_fail(err, "%s: no session at keyd's socket %s: %s", address, BS_SOCKET_MAIL, ctl_keyd_text(err));
}

static int
fail_early(const struct run *run)
{
	if (bs_keyclient_is_dead(run->reseal.session))
		return ctl_fail(BS_ERR_UNAVAIL, "the session with basalt-keyd ended: the same command goes on where this one stopped");
	if (can_not_exchange(run->fatal, run->error))
		return ctl_fail(BS_ERR_ARG, "this file system can't exchange two files (NFS can't): run it where the disk is");
	return ctl_fail(run->fatal, "stopped: %s", run->fatal == BS_ERR_IO ? strerror(run->error) : bs_err_text(run->fatal));
}

static int
status_of(const struct run *run)
{
	const struct counts *c = &run->counts;

	if (ctl_background_stopped()) {
		fprintf(stderr, "basaltctl: ended by a signal; the same command goes on where it stopped\n");
		return CTL_TEMPFAIL;
	}
	if (run->fatal != BS_OK)
		return fail_early(run);
	if (c->mdbox > 0)
		fprintf(stderr, "basaltctl: " MDBOX_TEXT "\n");
	if (c->closed + c->damaged + c->errors + c->mdbox > 0)
		return CTL_FAILED;
	return c->changed > 0 ? ctl_fail(BS_ERR_BUSY, "some files were renamed each time they were looked at: run it again") : CTL_OK;
}

static int
report(const struct run *run)
{
	const struct counts *c = &run->counts;
	int rc = status_of(run);

	if (run->json)
		return ctl_print_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "resealed", c->moved, "current", c->current,
		    "not_opened", c->closed, "damaged", c->damaged, "changed", c->changed, "mdbox_files", c->mdbox, "errors", c->errors,
		    "index_caches", c->caches, "complete", rc == CTL_OK)) == CTL_OK ? rc : CTL_FAILED;
	if (!run->quiet)
		printf("%lld messages sealed anew, %lld needed nothing; %lld not to be opened, %lld damaged, %lld renamed meanwhile, %lld errors\n",
		    (long long)c->moved, (long long)c->current, (long long)c->closed, (long long)c->damaged, (long long)c->changed,
		    (long long)c->errors);
	if (!run->quiet && c->caches > 0)
		printf("%lld " CACHES_TEXT "\n", (long long)c->caches);
	return rc;
}

int
key_reseal(struct ctl *ctl)
{
	unsigned given = ctl->args.given;
	struct run run = {
		.json = (given & CTL_JSON) != 0,
		.quiet = (given & CTL_QUIET) != 0,
		.serial = (unsigned)bs_now_ms(), /* a killed run may have had our number: in a container each has the same */
		.progress = ctl_progress_init(given),
	};
	char address[BS_ADDRESS_MAX + 1], home[4096], *roots[] = { home };
	size_t n = (size_t)ctl->args.n - 1;
	char **paths = n == 0 ? roots : ctl->args.words + 1;
	int rc = begin(ctl, address, &run.reseal);

	if (rc == CTL_OK && n == 0)
		home_folder(ctl, address, home, sizeof(home));
	n = n == 0 ? 1 : n;
	/* keyd's sockets are open; from here on links that a mail user plants are followed as himself. */
	if (rc == CTL_OK)
		rc = ctl_become_owner(paths, n);
	if (rc == CTL_OK)
		rc = lock(paths, n);
	if (rc == CTL_OK) {
		ctl_background_begin((given & CTL_FULL_SPEED) != 0);
		rc = walk(&run, paths, n);
	}
	if (rc == CTL_OK)
		rc = report(&run);
	bs_keyclient_free(run.reseal.session);
	return rc;
}
