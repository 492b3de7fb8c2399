/* basaltctl key drop: old private keys that no mail needs any more leave the account's ring. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "background.h"
#include "home.h"
#include "key.h"
#include "keyclient_sessions.h"
#include "mailfile.h"
#include "msgfmt.h"
#include "notice.h"
#include "owner.h"
#include "password.h"
#include "progress.h"
#include "sweep.h"
#include "verbs.h"
#include "walk.h"

struct drop {
	struct ctl *ctl;
	char address[BS_ADDRESS_MAX + 1];
	char *secret;
	struct bs_record record;
	struct bs_key_info keys[BS_RING_MAX];
	json_int_t needed[BS_RING_MAX]; /* messages that are sealed to each */
	bool dropped[BS_RING_MAX];
	size_t count, dropped_count;
	int fd;
	json_int_t messages, unknown; /* of files that can't be told */
	struct ctl_progress progress;
};

/* --- the mail --- */

/* ctl_mail_fn. What cannot be read to its key's id may need any of them. */
static enum bs_err
count_mail(void *ctx, const struct ctl_mail *mail)
{
	struct drop *d = ctx;
	uint8_t bytes[BS_MSG_PREFIX_MAX];
	struct bs_msg_prefix prefix;
	size_t got = 0;
	enum bs_err err = ctl_pread(d->fd, mail->off, bytes, mail->len < sizeof(bytes) ? (size_t)mail->len : sizeof(bytes), &got);

	if (err != BS_OK)
		return err;
	d->messages++;
	if (!bs_msg_is_sealed(bytes, got))
		return BS_OK;
	err = bs_msg_prefix_parse(bytes, got, &prefix);
	if (err != BS_OK)
		return err;
	if (prefix.suite == BS_MSG_SUITE_PLAIN || memcmp(prefix.account_id, d->record.account_id, BS_ID_LEN) != 0)
		return BS_OK;
	for (size_t i = 0; i < d->count; i++)
		d->needed[i] += memcmp(prefix.key_id, d->keys[i].id, BS_ID_LEN) == 0;
	return BS_OK;
}

static void
complain(struct drop *d, const char *path, const char *text)
{
	d->unknown++;
	ctl_progress_complain(&d->progress, path, text);
}

static bool
on_file(void *ctx, size_t root, const char *path, const char *name)
{
	struct drop *d = ctx;
	enum bs_err err = BS_OK;

	(void)root;
	if (sweep_is_mail(path, name))
		err = ctl_mailfile_look(path, &d->fd, count_mail, d);
	if (err == BS_ERR_NOENT)
		complain(d, path, "was renamed or removed meanwhile");
	else if (err != BS_OK)
		complain(d, path, bs_err_text(err));
	if (ctl_progress_begin(&d->progress))
		fprintf(stderr, "%lld messages", (long long)d->messages);
	return !ctl_background_stopped();
}

static void
on_gone(void *ctx, const char *path, const char *name)
{
	if (sweep_is_mail(path, name))
		complain(ctx, path, "was renamed or removed meanwhile");
}

static void
on_failed(void *ctx, const char *path, int error)
{
	complain(ctx, path, strerror(error));
}

static int
look_at_mail(struct drop *d, char **folders, size_t n)
{
	struct ctl_walk_ops ops = { .ctx = d, .file = on_file, .gone = on_gone, .failed = on_failed };
	enum bs_err err = ctl_walk(folders, n, 0, NULL, &ops);

	ctl_progress_clear(&d->progress);
	if (ctl_background_stopped()) {
		fprintf(stderr, "basaltctl: ended by a signal; no key was dropped\n");
		return CTL_TEMPFAIL;
	}
	if (err != BS_OK)
		return ctl_fail(err, "walking the tree: %s", bs_err_text(err));
	if (d->unknown > 0)
		return ctl_fail(BS_ERR_ARG, "%lld files could not be told, and may need any key: no key was dropped. Repair them or take them out, "
		    "or run it again", (long long)d->unknown);
	return d->messages > 0 ? CTL_OK : ctl_fail(BS_ERR_ARG, "no mail was found there: name the FOLDERs where the mail of %s lies", d->address);
}

/* --- may it be? --- */

/* bs_open_account_fn */
static enum bs_err
count_sessions(void *ctx, const struct bs_open_account *account)
{
	*(unsigned *)ctx += account->sessions + account->tokens;
	return BS_OK;
}

/* A session moves mail to where we have been already, and may seal to the key that was active when it began. */
static int
check_sessions(struct drop *d)
{
	unsigned n = 0;
	enum bs_err err = bs_keyclient_sessions(d->ctl->keyd, d->address, count_sessions, &n);

	if (err != BS_OK)
		return ctl_fail(err, "sessions of %s: %s", d->address, ctl_keyd_text(err));
	return n == 0 ? CTL_OK : ctl_fail(BS_ERR_BUSY, "%s is logged in, and may move mail or store some: no key was dropped. `doveadm kick %s`, and "
	    "keep him out for that minute", d->address, d->address);
}

/* A delivery that began before the active key was made seals to the key of before when it ends. */
static int
check_age(const struct drop *d)
{
	uint64_t now = (uint64_t)time(NULL);
	int64_t settle_s = d->ctl->settings.drop_after_s;

	for (size_t i = 0; i < d->count; i++) {
		if (d->keys[i].active && d->keys[i].created + (uint64_t)settle_s > now)
			return ctl_fail(BS_ERR_BUSY, "the active key of %s is younger than %lld s (ctl.drop_after_s): mail that is on its way may still be "
			    "sealed to the one before", d->address, (long long)settle_s);
	}
	return CTL_OK;
}

static size_t
count_old(const struct drop *d, bool needed)
{
	size_t n = 0;

	for (size_t i = 0; i < d->count; i++)
		n += !d->keys[i].active && (d->needed[i] > 0) == needed;
	return n;
}

static bool
confirmed(const struct drop *d)
{
	char line[BS_ADDRESS_MAX + 2] = "";

	if ((d->ctl->args.given & CTL_YES) != 0)
		return true;
	if (isatty(STDIN_FILENO)) {
		fprintf(stderr, "%zu old keys go for ever; what is sealed to them elsewhere, in a backup say, opens no more. Type the address to go on: ",
		    count_old(d, false));
		if (fgets(line, sizeof(line), stdin) == NULL)
			line[0] = '\0';
		line[strcspn(line, "\n")] = '\0';
	}
	if (strcmp(line, d->address) == 0)
		return true;
	ctl_fail(BS_ERR_ARG, "no key of %s was dropped: what is sealed to one in a backup would open no more; --yes says that this is meant", d->address);
	return false;
}

/* --- the work --- */

static int
drop_all(struct drop *d)
{
	for (size_t i = 0; i < d->count; i++) {
		enum bs_err err;

		if (d->keys[i].active || d->needed[i] > 0)
			continue;
		err = bs_keyclient_drop_key(d->ctl->keyd, d->address, d->secret, d->keys[i].id);
		if (err != BS_OK)
			return ctl_key_failed(err, d->address, d->secret, "dropping an old key");
		d->dropped[i] = true;
		d->dropped_count++;
	}
	return CTL_OK;
}

static json_t *
report_json(const struct drop *d)
{
	json_t *dropped = json_array(), *needed = json_array();
	char id[2 * BS_ID_LEN + 1];

	for (size_t i = 0; i < d->count; i++) {
		ctl_hex(d->keys[i].id, BS_ID_LEN, id);
		if (d->dropped[i])
			json_array_append_new(dropped, json_string(id));
		else if (!d->keys[i].active && d->needed[i] > 0)
			json_array_append_new(needed, json_pack("{s:s, s:I}", "key", id, "messages", d->needed[i]));
	}
	return json_pack("{s:s, s:I, s:o, s:o}", "account", d->address, "messages", d->messages, "dropped", dropped, "needed", needed);
}

static int
report(const struct drop *d, int rc)
{
	char id[2 * BS_ID_LEN + 1];

	if ((d->ctl->args.given & CTL_JSON) != 0 && ctl_print_json(report_json(d)) != CTL_OK)
		return CTL_FAILED;
	for (size_t i = 0; i < d->count && (d->ctl->args.given & (CTL_JSON | CTL_QUIET)) == 0; i++) {
		ctl_hex(d->keys[i].id, BS_ID_LEN, id);
		if (d->dropped[i])
			printf("%s dropped\n", id);
		else if (d->needed[i] > 0 && !d->keys[i].active)
			printf("%s needed by %lld messages\n", id, (long long)d->needed[i]);
	}
	if (rc == CTL_OK && count_old(d, true) > 0)
		return ctl_fail(BS_ERR_ARG, "%zu old keys are needed and stay: `basaltctl key reseal %s` moves that mail to the active key", count_old(d, true),
		    d->address);
	return rc;
}

static int
run(struct drop *d, char **folders, size_t n)
{
	int rc = check_age(d);

	if (rc == CTL_OK)
		rc = check_sessions(d);
	/* keyd's socket is open: root alone may. */
	if (rc == CTL_OK)
		rc = ctl_become_owner(folders, n);
	if (rc != CTL_OK)
		return rc;
	ctl_background_begin(false);
	rc = look_at_mail(d, folders, n);
	if (rc == CTL_OK && count_old(d, false) > 0) {
		if (!confirmed(d))
			return CTL_FAILED;
		rc = check_sessions(d);
		if (rc == CTL_OK)
			rc = drop_all(d);
	}
	return rc;
}

static int
get_keys(struct drop *d)
{
	uint8_t bytes[BS_RECORD_MAX];
	size_t len = 0;
	enum bs_err err = bs_keyclient_keys(d->ctl->keyd, d->address, d->secret, d->keys, &d->count);

	if (err == BS_OK)
		err = bs_keyclient_record(d->ctl->keyd, d->address, bytes, &len);
	if (err == BS_OK)
		err = bs_record_parse(bytes, len, &d->record);
	return err == BS_OK ? CTL_OK : ctl_key_failed(err, d->address, d->secret, "listing the keys");
}

int
key_drop(struct ctl *ctl)
{
	struct drop d = { .ctl = ctl, .fd = -1, .progress = ctl_progress_init(ctl->args.given) };
	char home[4096], *homes[] = { home };
	size_t n = (size_t)ctl->args.n - 1;
	char **folders = n == 0 ? homes : ctl->args.words + 1;
	int rc = ctl_begin_change(ctl, d.address, &d.secret);

	if (rc != CTL_OK)
		return rc;
	home_folder(ctl, d.address, home, sizeof(home));
	rc = get_keys(&d);
	if (rc == CTL_OK) {
		if (d.count > 1)
			rc = run(&d, folders, n == 0 ? 1 : n);
		rc = report(&d, rc);
	}
	if (d.dropped_count > 0)
		ctl_notice(ctl, d.address, "Old keys that no mail needs any more were removed from your mailbox", NULL);
	bs_secret_free(d.secret);
	return rc;
}
