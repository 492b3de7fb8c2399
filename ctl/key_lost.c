/* basaltctl key reset, heal, restore: what is done when a password or a database was lost. */
#include <stdlib.h>
#include <string.h>

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

int
key_restore(struct ctl *ctl)
{
	char address[BS_ADDRESS_MAX + 1], path[4096], *secret = NULL;
	uint8_t *bytes = NULL;
	size_t len = 0;
	int rc = ctl_begin_key(ctl, address);
	enum bs_err err;

	if (rc != CTL_OK)
		return rc;
	if (ctl->args.n > 1)
		(void)snprintf(path, sizeof(path), "%s", ctl->args.words[1]);
	else
		home_path(ctl, address, "keyset", path, sizeof(path));
	err = home_read_file(path, BS_KEYSET_MAX, &bytes, &len);
	if (err != BS_OK)
		return ctl_fail(err, "%s: %s", path, bs_err_text(err));
	rc = ctl_read_secret(ctl->args.given, address, &secret);
	if (rc == CTL_OK) {
		err = bs_keyclient_restore(ctl->keyd, address, secret, home_generation(ctl, address), bytes, len);
		/* Keys of a mistake, say of a login while these were lost. */
		if (err == BS_ERR_ACCOUNT && (ctl->args.given & CTL_YES) != 0)
			err = replace_keys(ctl, address, secret, bytes, len);
		if (err == BS_ERR_ACCOUNT)
			rc = ctl_fail(err, "%s: keyd has keys of this name that are others than those in %s. If they were made while these "
			    "were lost, --yes removes them for ever, together with whatever is sealed to them", address, path);
		else if (err == BS_ERR_EXISTS)
			rc = ctl_fail(err, "%s: keyd's database holds these keys or newer ones: nothing to restore", address);
		else if (err == BS_ERR_AUTH || err == BS_ERR_VERSION)
			rc = ctl_fail(err, "%s: damaged, or not made by this site's keyd for %s", path, address);
		else if (err != BS_OK)
			rc = ctl_key_failed(err, address, secret, "restoring keys");
		else
			ctl_notice(ctl, address, "The keys of your mailbox were restored from a copy", NULL);
	}
	bs_secret_free(secret);
	free(bytes);
	return rc;
}
