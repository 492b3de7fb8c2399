/* basaltctl key reset, heal, restore: what is done when a password or a database was lost. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "confirm.h"
#include "home.h"
#include "key.h"
#include "notice.h"
#include "outcome.h"
#include "password.h"
#include "verbs.h"

/* --- reset, heal --- */

/* Twice, on the terminal: the address, and that the consequence was understood. */
static bool
confirmed(const struct ctl *ctl, const char *address)
{
	const struct ctl_question asked[] = {
		{ "Mail of until now will not open, by any password that is known today. Type the address to go on", address },
		{ "Without a recovery code or the old password it stays so for ever. Type `shut` to go on", "shut" },
	};

	if (ctl_confirmed(ctl->args.given, asked, 2))
		return true;
	ctl_fail(BS_ERR_ARG, "%s was not reset: its mail of until now would be shut; --yes says that this is meant. With a recovery "
	    "code or an escrow key `basaltctl account passwd` sets a new password and nothing is shut", address);
	return false;
}

int
key_reset(struct ctl *ctl)
{
	char address[BS_ADDRESS_MAX + 1], *password = NULL;
	struct outcome outcome;
	int rc = ctl_begin_key(ctl, address);
	enum bs_err err = BS_OK;

	if (rc == CTL_OK)
		rc = home_guard(ctl, address);
	if (rc != CTL_OK)
		return rc;
	if (!confirmed(ctl, address))
		return CTL_FAILED;
	rc = ctl_read_password(ctl->args.given, CTL_PASSWORD, "New password", true, &password);
	if (rc == CTL_OK)
		rc = outcome_begin(ctl, address, &outcome);
	if (rc == CTL_OK)
		err = outcome_end(ctl, &outcome, bs_keyclient_reset(ctl->keyd, address, password));
	bs_secret_free(password);
	if (rc != CTL_OK)
		return rc;
	if (err == BS_ERR_LIMIT)
		return ctl_fail(err, "%s can't be reset and healed any more: it was reset eight times, or has 64 keys. `basaltctl key heal` with an earlier secret, "
		    "or `basaltctl key drop` with today's, comes first", address);
	if (err != BS_OK)
		return ctl_fail(err, "%s: resetting the password: %s", address, ctl_keyd_text(err));
	ctl_notice(ctl, address, "Your password was reset by an administrator. Mail from before opens again after "
	    "`basaltctl key heal` with your recovery code or your old password", NULL);
	ctl_tell_escrow(ctl, address);
	return CTL_OK;
}

int
key_heal(struct ctl *ctl)
{
	char address[BS_ADDRESS_MAX + 1], *earlier = NULL, *secret = NULL;
	unsigned left = 0;
	struct outcome outcome;
	int rc = ctl_begin_key(ctl, address);
	enum bs_err err;

	if (rc == CTL_OK)
		rc = home_guard(ctl, address);
	if (rc == CTL_OK)
		rc = ctl_read_password(ctl->args.given, CTL_OLD_PASSWORD, "Password or recovery code from before the reset", false, &earlier);
	if (rc == CTL_OK)
		rc = ctl_read_password(ctl->args.given, CTL_PASSWORD, "Today's password", false, &secret);
	if (rc == CTL_OK)
		rc = outcome_begin(ctl, address, &outcome);
	if (rc == CTL_OK) {
		err = outcome_end(ctl, &outcome, bs_keyclient_heal(ctl->keyd, address, secret, earlier, &left));
		if (err == BS_ERR_NOENT)
			rc = ctl_fail(err, "%s: no such account, or nothing of it is shut away", address);
		else if (err == BS_ERR_LIMIT)
			rc = ctl_fail(err, "%s: what is shut away does not fit beside today's keys: `basaltctl key drop %s` first", address, address);
		else if (err != BS_OK)
			rc = ctl_key_failed(err, address, earlier, "healing");
	}
	bs_secret_free(earlier);
	bs_secret_free(secret);
	if (rc != CTL_OK)
		return rc;
	ctl_notice(ctl, address, "Mail from before a reset opens again", NULL);
	if (left > 0)
		printf("%u earlier keyset%s still shut\n", left, left == 1 ? " is" : "s are");
	return CTL_OK;
}

/* --- restore --- */

/* What is still shut, and by what it opens. */
static void
tell_shut(struct ctl *ctl, const char *address)
{
	struct bs_slot_list list;

	if (bs_keyclient_slots(ctl->keyd, address, &list) != BS_OK)
		return;
	if (list.kept > 0)
		printf("%u keyset%s not opened by this secret and kept: `basaltctl key heal %s` with a password or recovery code of %s own time as "
		    "the one from before opens the mail that is sealed to its keys\n", list.kept, list.kept == 1 ? " is" : "s are", address,
		    list.kept == 1 ? "its" : "their");
	bs_slot_list_clear(&list);
}

static int
restore_failed(enum bs_err err, const char *address, const char *secret, const char *path)
{
	int rc;

	if (err == BS_ERR_ACCOUNT)
		return ctl_fail(err, "%s: keyd has keys of this name that are others than those in %s. If they were made while these "
		    "were lost, --yes removes them for ever, together with whatever is sealed to them", address, path);
	if (err == BS_ERR_AUTH || err == BS_ERR_VERSION)
		return ctl_fail(err, "%s: damaged, or not made by this site's keyd for %s", path, address);
	if (err == BS_ERR_LIMIT)
		return ctl_fail(err, "%s: eight keysets are shut away already: `basaltctl key heal %s` first", address, address);
	if (err == BS_ERR_PERM)
		return ctl_fail(err, "basalt-keyd is older than this basaltctl: `systemctl reload basalt-keyd` first; nothing was changed");
	rc = ctl_key_failed(err, address, secret, "restoring keys");
	if (err == BS_ERR_DENIED)
		fprintf(stderr, "basaltctl: the secret has to open the keys with the higher generation: those in %s if they are newer, else the "
		    "database's, which today's password opens; where those are damaged, it has to open those in %s\n", path, path);
	return rc;
}

/* A file on its way to keyd. */
struct copy {
	const char *path;
	uint8_t *bytes; /* malloced */
	size_t len;
	uint64_t generation; /* 0: it can't be read, which is keyd's to say */
};

/* Of somebody else it is a mistake, for which nothing of this account's may go. */
static int
read_copy(const char *path, const char *address, struct copy *copy)
{
	struct bs_keyset ks;
	int rc = CTL_OK;
	enum bs_err err;

	*copy = (struct copy){ .path = path };
	err = home_read_file(path, BS_KEYSET_MAX, &copy->bytes, &copy->len);
	if (err != BS_OK)
		return ctl_fail(err, "%s: %s", path, bs_err_text(err));
	if (bs_keyset_parse(copy->bytes, copy->len, &ks) != BS_OK)
		return CTL_OK;
	copy->generation = ks.record.generation;
	if (strcmp(ks.record.name, address) != 0)
		rc = ctl_fail(BS_ERR_ACCOUNT, "%s: made for %s, not for %s: nothing was changed", path, ks.record.name, address);
	bs_keyset_clear(&ks);
	if (rc != CTL_OK)
		free(copy->bytes);
	return rc;
}

/* --yes says what keyd is told only where it has found that this is what it takes, and that the secret opens the copy. */
static enum bs_err
send_copy(struct ctl *ctl, const char *address, const char *secret, const struct copy *copy, bool first, struct bs_restored *out)
{
	bool yes = (ctl->args.given & CTL_YES) != 0;
	uint8_t flags = 0, more;
	enum bs_err err;

	for (;;) {
		err = bs_keyclient_restore(ctl->keyd, address, secret, home_generation(ctl, address), flags, copy->bytes, copy->len, out);
		more = 0;
		/* Keys of a mistake, say of a login while these were lost. */
		if (err == BS_ERR_ACCOUNT && first && yes)
			more = BS_RESTORE_OTHER_ACCOUNT;
		else if (err == BS_OK && out->generation == 0 && yes)
			more = BS_RESTORE_OLDER;
		if (more == 0 || (flags & more) != 0)
			return err;
		flags |= more;
	}
}

/* Keys that were written, or not, since some are lost by that. */
static int
tell_lost(const char *address, const struct copy *copy, const struct bs_restored *restored)
{
	if (restored->generation == 0)
		return ctl_fail(BS_ERR_ROLLBACK, "%s: %s holds generation %llu of its keys, and keyd saw generation %llu before the database lost that. What was changed "
		    "in between is in neither: a password, say, or a key, with the mail that is sealed to it. Nothing was changed. Look for a later copy, or a later "
		    "backup of the database, first; --yes goes on without", address, copy->path, (unsigned long long)copy->generation,
		    (unsigned long long)restored->lost);
	if (restored->lost > 0)
		printf("Generation %llu of the keys is lost or damaged: what was changed since generation %llu, the copy's, may be gone: a slot, say, or a "
		    "password, in whose place the one of then counts again\n", (unsigned long long)restored->lost, (unsigned long long)copy->generation);
	return CTL_OK;
}

/* One file. *done: keys were written; what is there already is CTL_OK, too. */
static int
restore_file(struct ctl *ctl, const char *address, const char *secret, const char *path, bool *done)
{
	struct bs_restored restored = { 0 };
	struct copy copy;
	int rc = read_copy(path, address, &copy);
	enum bs_err err;

	if (rc != CTL_OK)
		return rc;
	err = send_copy(ctl, address, secret, &copy, !*done, &restored);
	free(copy.bytes);
	if (err != BS_OK && err != BS_ERR_EXISTS)
		return restore_failed(err, address, secret, path);
	if (err == BS_OK)
		rc = tell_lost(address, &copy, &restored);
	if (rc != CTL_OK)
		return rc;
	*done |= err == BS_OK;
	home_mark_joined(path);
	return CTL_OK;
}

/* Of several files each is tried, whatever becomes of the others. */
static int
restore_files(struct ctl *ctl, const char *address, char *const *paths, size_t n)
{
	char *secret = NULL;
	bool done = false;
	int rc = ctl_read_secret(ctl->args.given, address, &secret), failed = CTL_OK;

	for (size_t i = 0; rc == CTL_OK && i < n; i++) {
		int one = restore_file(ctl, address, secret, paths[i], &done);

		failed = one != CTL_OK ? one : failed;
	}
	bs_secret_free(secret);
	if (done) {
		ctl_notice(ctl, address, "The keys of your mailbox were restored from a copy", NULL);
		tell_shut(ctl, address);
	}
	if (rc != CTL_OK || failed != CTL_OK)
		return rc != CTL_OK ? rc : failed;
	return done ? CTL_OK : ctl_fail(BS_ERR_EXISTS, "%s: keyd's database holds these keys, and this secret opens them: nothing to restore", address);
}

int
key_restore(struct ctl *ctl)
{
	char address[BS_ADDRESS_MAX + 1], **paths;
	int rc = ctl_begin_key(ctl, address);
	size_t n;

	if (rc != CTL_OK)
		return rc;
	if (ctl->args.n > 1)
		return restore_files(ctl, address, &ctl->args.words[1], 1);
	n = home_keysets(ctl, address, &paths);
	/* Without the copy what lies beside it is all there is. */
	if (n > 1 && access(paths[0], F_OK) != 0)
		rc = restore_files(ctl, address, paths + 1, n - 1);
	else
		rc = restore_files(ctl, address, paths, n);
	home_keysets_free(paths, n);
	return rc;
}
