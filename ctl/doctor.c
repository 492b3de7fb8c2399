/* basaltctl doctor: which accounts' keys need a person. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "home.h"
#include "key.h"
#include "keyclient_slots.h"
#include "mdbox_place.h"
#include "verbs.h"

struct doctor {
	struct ctl *ctl;
	json_t *list; /* or NULL: lines are printed */
	unsigned found; /* advice does not count */
	unsigned keyed, homes; /* accounts with keys, and mail homes */
};

/* What somebody may well have meant so is no reason to wake a person every day. */
static bool
is_advice(const char *what)
{
	return strcmp(what, "no-recovery") == 0 || strcmp(what, "no-notices") == 0;
}

static void
finding(struct doctor *d, const char *address, const char *what, const char *text)
{
	d->found += is_advice(what) ? 0 : 1;
	if (d->list != NULL)
		json_array_append_new(d->list, json_pack("{s:s, s:s, s:s}", "account", address, "finding", what, "text", text));
	else
		printf("%-40s %s\n", address, text);
}

static void
examine_home(struct doctor *d, const char *address)
{
	char text[256], folder[4096];
	const char *what = NULL;
	bool forged = false;

	home_folder(d->ctl, address, folder, sizeof(folder));
	d->keyed++;
	d->homes += access(folder, F_OK) == 0 ? 1 : 0;
	if (mdbox_place_is_shut(folder))
		finding(d, address, "shut-folder", "its mail folder is shut, and deliveries wait: a conversion is at its end, or was killed there, and "
		    "`basaltctl convert` goes on");
	if (home_finding(d->ctl, address, &what, &forged) == BS_OK && what != NULL) {
		(void)snprintf(text, sizeof(text), "%s: `basaltctl key restore`", what);
		finding(d, address, "older-than-mail", text);
	}
	if (forged)
		finding(d, address, "bad-copy", "the record in its mail home (basalt/record) is damaged or forged, and deliveries wait: remove that file, once it is "
		    "known who wrote it");
}

/* A copy that the site key signed, of the same generation as keyd's and with other bytes: nobody can say without a secret which of them is sound. */
static bool
copy_differs(struct doctor *d, const char *address)
{
	char path[4096];
	uint8_t site_pub[BS_SIGN_PUB_LEN], held[BS_HASH_LEN] = { 0 }, digest[BS_HASH_LEN], *bytes = NULL;
	uint64_t generation;
	size_t len = 0;
	struct bs_keyset ks;
	bool differs = false;

	home_path(d->ctl, address, "keyset", path, sizeof(path));
	if (home_site_key(d->ctl, site_pub) != BS_OK || home_read_file(path, BS_KEYSET_MAX, &bytes, &len) != BS_OK)
		return false;
	if (bs_keyset_parse_without_kept(bytes, len, &ks) == BS_OK) {
		differs = bs_keyset_verify(&ks, site_pub, address) == BS_OK && bs_keyclient_keyset_digest(d->ctl->keyd, address, &generation, held) == BS_OK
		    && generation == ks.record.generation;
		bs_keyset_clear(&ks);
	}
	bs_sha256(bytes, len, digest);
	free(bytes);
	return differs && memcmp(digest, held, BS_HASH_LEN) != 0;
}

static enum bs_err
examine(void *ctx, const struct bs_account *account)
{
	struct doctor *d = ctx;
	const char *address = account->address;
	struct bs_slot_list list;
	enum bs_err err = bs_keyclient_slots(d->ctl->keyd, address, &list);

	if (err == BS_ERR_NOENT)
		finding(d, address, "no-keys", "has no keys: its first login makes them, if enrolment is on, else nobody gets in; `basaltctl key restore` if it had some");
	else if (err == BS_ERR_AUTH || err == BS_ERR_ROLLBACK || err == BS_ERR_VERSION)
		finding(d, address, "bad-record", "its keys are damaged, forged or older than before: keyd's log says which");
	if (err != BS_OK)
		return bs_err_is_transient(err) ? err : BS_OK;
	examine_home(d, address);
	if (copy_differs(d, address))
		finding(d, address, "bad-record", "its keys in the database and their copy in its mail home are of one generation and differ: one of them is damaged; "
		    "`basaltctl key restore` takes the sound one, which its secret opens");
	if (list.kept > 0)
		finding(d, address, "shut", "mail from before a reset is shut: `basaltctl key heal`");
	if ((list.record.flags & BS_RECORD_FLAG_SEALED) != 0 && !ctl_has_slot(&list, BS_SLOT_RECOVERY) && !ctl_has_slot(&list, BS_SLOT_ESCROW))
		finding(d, address, "no-recovery", "has no recovery code: a forgotten password loses its mail");
	bs_slot_list_clear(&list);
	return BS_OK;
}

int
doctor_run(struct ctl *ctl)
{
	struct doctor d = { .ctl = ctl };
	int rc = ctl_open_store(ctl);
	enum bs_err err;

	if (rc == CTL_OK)
		rc = ctl_open_keyd(ctl);
	if (rc != CTL_OK)
		return rc;
	if ((ctl->args.given & CTL_JSON) != 0)
		d.list = json_array();
	if (ctl->settings.notify[0] == '\0')
		finding(&d, "-", "no-notices", "ctl.notify is empty: nobody is told by mail when keys are changed");
	err = bs_account_list(ctl->store, NULL, examine, &d);
	if (err != BS_OK) {
		json_decref(d.list);
		return ctl_fail(err, "looking at the accounts: %s", bs_err_text(err));
	}
	if (d.keyed > 0 && d.homes == 0)
		finding(&d, "-", "no-homes", "no account has a mail home where ctl.mail_home says: what is looked for in mail homes is not found, newer keys too");
	if (d.list != NULL)
		rc = ctl_print_json(d.list);
	return rc != CTL_OK ? rc : d.found > 0 ? CTL_FAILED : CTL_OK;
}
