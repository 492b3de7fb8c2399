/* basaltctl key notify: tells by mail whose keys a first login made. keyd has no network, and Dovecot's auth makes them. */
#include <stdio.h>

#include "ctl.h"
#include "key.h"
#include "keyclient_slots.h"
#include "notice.h"
#include "verbs.h"

#define PAGE 100

struct notify {
	struct ctl *ctl;
	unsigned told, failed;
};

static bool
tell(const struct notify *n, const char *address, const struct bs_slot_list *list)
{
	bool sealed = (list->record.flags & BS_RECORD_FLAG_SEALED) != 0;
	bool told = ctl_notice(n->ctl, address, sealed ? "Keys were made for your mailbox when you logged in: mail that comes from now on is stored sealed, and "
	    "your password opens it. Should you forget it, a recovery code opens it, too: your administrator makes one with you"
	    : "Keys were made for your mailbox when you logged in", NULL);

	return told && ctl_tell_escrow(n->ctl, address);
}

/* A transient error ends the run; all others are one account's. Told twice, after a kill between the two, is better than never. */
static enum bs_err
notify_one(struct notify *n, const char *address)
{
	struct bs_slot_list list;
	enum bs_err err = bs_keyclient_slots(n->ctl->keyd, address, &list);

	if (err == BS_ERR_NOENT)
		return BS_OK; /* has not logged in yet */
	if (err == BS_OK) {
		bool told = tell(n, address, &list);

		bs_slot_list_clear(&list);
		if (told)
			err = bs_account_told(n->ctl->store, address);
		else
			n->failed++;
		n->told += told ? 1 : 0;
		return err == BS_ERR_NOENT ? BS_OK : err;
	}
	if (!bs_err_is_transient(err)) {
		fprintf(stderr, "basaltctl: warning: keys of %s: %s\n", address, ctl_keyd_text(err));
		n->failed++;
		return BS_OK;
	}
	return err;
}

static int
notify_all(struct notify *n)
{
	char page[PAGE][BS_ADDRESS_MAX + 1], after[BS_ADDRESS_MAX + 1] = "";
	size_t found = PAGE;
	enum bs_err err = BS_OK;

	while (err == BS_OK && found == PAGE) {
		err = bs_account_untold(n->ctl->store, after, page, PAGE, &found);
		if (err != BS_OK)
			return ctl_fail(err, "who has not been told: %s", ctl_store_text(n->ctl, err));
		for (size_t i = 0; i < found && err == BS_OK; i++) {
			(void)snprintf(after, sizeof(after), "%s", page[i]);
			err = notify_one(n, page[i]);
		}
	}
	return err == BS_OK ? CTL_OK : ctl_fail(err, "telling %s: %s", after, bs_err_text(err));
}

int
key_notify(struct ctl *ctl)
{
	struct notify n = { .ctl = ctl };
	int rc = ctl_open_store(ctl);

	if (rc == CTL_OK && ctl->settings.notify[0] == '\0')
		return ctl_fail(BS_ERR_CONF, "ctl.notify in %s is empty, and nobody can be told by mail: say \"/usr/sbin/sendmail -i\"", ctl->conf_path);
	if (rc == CTL_OK)
		rc = ctl_open_keyd(ctl);
	if (rc == CTL_OK)
		rc = notify_all(&n);
	if ((ctl->args.given & CTL_QUIET) == 0 && rc == CTL_OK)
		printf("%u told\n", n.told);
	return rc == CTL_OK && n.failed > 0 ? CTL_FAILED : rc;
}
