/* basaltctl passwd, also called basalt-passwd: a panel's way to change a password, with an exit status for each answer. */
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "home.h"
#include "keyclient_slots.h"
#include "notice.h"
#include "outcome.h"
#include "password.h"
#include "verbs.h"

static int
panel_status(enum bs_err err)
{
	return err == BS_ERR_DENIED ? CTL_DENIED : err == BS_ERR_WEAK ? CTL_WEAK : ctl_exit_status(err);
}

/* The second word: false: it is none. */
static bool
read_flags(const struct ctl *ctl, uint8_t *out)
{
	const char *word = ctl->args.n > 1 ? ctl->args.words[1] : "";

	*out = strcmp(word, "pending") == 0 ? BS_CHANGE_PENDING : strcmp(word, "undo") == 0 ? BS_CHANGE_UNDO : 0;
	return *out != 0 || word[0] == '\0';
}

static const char *
refusal(enum bs_err err, uint8_t flags)
{
	if (err == BS_ERR_DENIED && flags == BS_CHANGE_UNDO)
		return "this is neither the password from before nor a recovery code, or there is no such account: nothing was taken back";
	if (err == BS_ERR_DENIED)
		return "the old password is wrong, or there is no such account";
	if (err == BS_ERR_NOENT && flags == BS_CHANGE_UNDO)
		return "no password is pending: there is nothing to take back";
	if (err == BS_ERR_LIMIT && flags == BS_CHANGE_PENDING)
		return "two changes of this password have not come to an end: `undo` takes back the newest";
	return ctl_keyd_text(err);
}

static int
change(struct ctl *ctl, const char *address, const char *old_password, const char *new_password, uint8_t flags)
{
	struct outcome outcome;
	bool rotated;
	int rc = outcome_begin(ctl, address, &outcome);
	enum bs_err err;

	if (rc != CTL_OK)
		return rc;
	err = outcome_end(ctl, &outcome, bs_keyclient_change_password(ctl->keyd, address, old_password, new_password, flags, &rotated));
	if (err != BS_OK) {
		ctl_fail(err, "%s: %s", address, refusal(err, flags));
		return panel_status(err);
	}
	ctl_notice(ctl, address, flags == BS_CHANGE_UNDO ? "A password change was taken back" : "Your password was changed", NULL);
	return CTL_OK;
}

static int
read_password(uint64_t option, const char *what, int none, char **out)
{
	/* A person who tries it is not to see the passwords on his screen. */
	uint64_t given = isatty(STDIN_FILENO) ? 0 : CTL_PASSWORD | CTL_OLD_PASSWORD;
	int rc = ctl_read_password(given, option, what, false, out);

	return rc == CTL_FAILED ? none : rc;
}

int
panel_passwd(struct ctl *ctl)
{
	char address[BS_ADDRESS_MAX + 1], *old_password = NULL, *new_password = NULL;
	uint8_t flags;
	int rc = ctl_address_arg(ctl->args.words[0], address);

	if (rc == CTL_OK && !read_flags(ctl, &flags)) {
		ctl_fail(BS_ERR_ARG, "`%s` is neither pending nor undo", ctl->args.words[1]);
		rc = CTL_USAGE;
	}
	if (rc == CTL_OK)
		rc = ctl_open_keyd(ctl);
	if (rc == CTL_OK)
		rc = home_guard(ctl, address);
	/* What can be no password is a wrong one, or one that is not good. */
	if (rc == CTL_OK)
		rc = read_password(CTL_OLD_PASSWORD, "Old password", CTL_DENIED, &old_password);
	if (rc == CTL_OK && flags != BS_CHANGE_UNDO)
		rc = read_password(CTL_PASSWORD, "New password", CTL_WEAK, &new_password);
	if (rc == CTL_OK)
		rc = change(ctl, address, old_password, new_password == NULL ? "" : new_password, flags);
	bs_secret_free(old_password);
	bs_secret_free(new_password);
	return rc;
}
