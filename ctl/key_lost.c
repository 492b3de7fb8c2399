/* basaltctl key reset, heal, restore: what is done when a password or a database was lost. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "confirm.h"
#include "home.h"
#include "key.h"
#include "notice.h"
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
	int rc = ctl_begin_key(ctl, address);
	enum bs_err err;

	if (rc == CTL_OK)
		rc = home_guard(ctl, address);
	if (rc != CTL_OK)
		return rc;
	if (!confirmed(ctl, address))
		return CTL_FAILED;
	rc = ctl_read_password(ctl->args.given, CTL_PASSWORD, "New password", true, &password);
	if (rc != CTL_OK)
		return rc;
	err = bs_keyclient_reset(ctl->keyd, address, password);
	bs_secret_free(password);
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
	int rc = ctl_begin_key(ctl, address);
	enum bs_err err;

	if (rc == CTL_OK)
		rc = home_guard(ctl, address);
	if (rc == CTL_OK)
		rc = ctl_read_password(ctl->args.given, CTL_OLD_PASSWORD, "Password or recovery code from before the reset", false, &earlier);
	if (rc == CTL_OK)
		rc = ctl_read_password(ctl->args.given, CTL_PASSWORD, "Today's password", false, &secret);
	if (rc == CTL_OK) {
		err = bs_keyclient_heal(ctl->keyd, address, secret, earlier, &left);
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

static enum bs_err
replace_keys(struct ctl *ctl, const char *address, const char *secret, const uint8_t *bytes, size_t len)
{
	enum bs_err err = bs_keyclient_remove(ctl->keyd, address);

	if (err != BS_OK && err != BS_ERR_NOENT)
		return err;
	return bs_keyclient_restore(ctl->keyd, address, secret, home_generation(ctl, address), bytes, len);
}

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
	rc = ctl_key_failed(err, address, secret, "restoring keys");
	if (err == BS_ERR_DENIED)
		fprintf(stderr, "basaltctl: the secret has to open the keys with the higher generation: those in %s if they are newer, else the "
		    "database's, which today's password opens\n", path);
	return rc;
}

/* One file. *done: keys were written; what is there already is CTL_OK, too. */
static int
restore_file(struct ctl *ctl, const char *address, const char *secret, const char *path, bool *done)
{
	uint8_t *bytes = NULL;
	size_t len = 0;
	enum bs_err err = home_read_file(path, BS_KEYSET_MAX, &bytes, &len);

	if (err != BS_OK)
		return ctl_fail(err, "%s: %s", path, bs_err_text(err));
	err = bs_keyclient_restore(ctl->keyd, address, secret, home_generation(ctl, address), bytes, len);
	/* Keys of a mistake, say of a login while these were lost. */
	if (err == BS_ERR_ACCOUNT && !*done && (ctl->args.given & CTL_YES) != 0)
		err = replace_keys(ctl, address, secret, bytes, len);
	free(bytes);
	if (err != BS_OK && err != BS_ERR_EXISTS)
		return restore_failed(err, address, secret, path);
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
	return done ? CTL_OK : ctl_fail(BS_ERR_EXISTS, "%s: keyd's database holds these keys: nothing to restore", address);
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
