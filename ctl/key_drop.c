/* basaltctl key drop: old private keys that no mail needs any more leave the account's ring. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "background.h"
#include "confirm.h"
#include "home.h"
#include "key.h"
#include "keyclient_sessions.h"
#include "keyuse.h"
#include "notice.h"
#include "outcome.h"
#include "owner.h"
#include "verbs.h"

struct drop {
	struct ctl *ctl;
	char address[BS_ADDRESS_MAX + 1], home[4096];
	char **folders; /* of the arguments, and the mail home in front */
	size_t n;
	char *secret;
	struct bs_record record;
	struct bs_key_info keys[BS_RING_MAX];
	size_t count;
	uint64_t used; /* when the account was last opened, as of the beginning */
	struct keyuse use;
	char shared[BS_RING_MAX][BS_ADDRESS_MAX + 1]; /* a shared mailbox that the key opens for its member, or "" */
	bool dropped[BS_RING_MAX];
	size_t dropped_count;
};

/* --- the mail --- */

/* Into use. A mail that is none of this account's says nothing of whether its own were found. */
static int
look(struct drop *d, struct keyuse *use)
{
	int rc;

	*use = (struct keyuse){ .record = &d->record, .keys = d->keys, .count = d->count, .fd = -1, .progress = ctl_progress_init(d->ctl->args.given) };
	rc = keyuse_look(use, d->folders, d->n);
	if (rc != CTL_OK)
		return rc;
	if (use->unknown > 0)
		return ctl_fail(BS_ERR_ARG, "%lld files could not be told, and may need any key: no key was dropped. Repair them or take them out, "
		    "or run it again", (long long)use->unknown);
	return use->own > 0 ? CTL_OK : ctl_fail(BS_ERR_ARG, "no mail was found there that is sealed to %s: name the FOLDERs where it lies", d->address);
}

/* Somebody without a session (doveadm) moves mail from where we have not been to where we have. */
static int
look_again(struct drop *d)
{
	struct keyuse first = d->use;
	int rc = look(d, &d->use);

	for (size_t i = 0; rc == CTL_OK && i < d->count; i++) {
		if (first.needed[i] == 0 && d->use.needed[i] > 0 && !d->keys[i].active)
			rc = ctl_fail(BS_ERR_BUSY, "mail of %s was moved meanwhile: no key was dropped; run it again", d->address);
	}
	return rc;
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
check_sessions(const struct drop *d)
{
	unsigned n = 0;
	enum bs_err err = bs_keyclient_sessions(d->ctl->keyd, d->address, count_sessions, &n);

	if (err != BS_OK)
		return ctl_fail(err, "sessions of %s: %s", d->address, ctl_keyd_text(err));
	return n == 0 ? CTL_OK : ctl_fail(BS_ERR_BUSY, "%s is logged in, and may move mail or store some: no key was dropped. `doveadm kick %s`, and "
	    "keep him out for that minute", d->address, d->address);
}

/* When a slot last opened the account; 0: not since keyd started. Its keys are still those that were listed, or BUSY. */
static enum bs_err
last_use(const struct drop *d, uint64_t *out)
{
	struct bs_slot_list list;
	enum bs_err err = bs_keyclient_slots(d->ctl->keyd, d->address, &list);

	if (err != BS_OK)
		return err;
	*out = 0;
	for (size_t i = 0; i < list.count; i++)
		*out = list.slots[i].used > *out ? list.slots[i].used : *out;
	if (list.record.generation != d->record.generation)
		err = BS_ERR_BUSY;
	bs_slot_list_clear(&list);
	return err;
}

/* A session that came and went meanwhile is as bad as one that is there. */
static int
check_undisturbed(const struct drop *d)
{
	uint64_t used = 0;
	enum bs_err err = last_use(d, &used);

	if (err == BS_ERR_BUSY || (err == BS_OK && used != d->used))
		return ctl_fail(BS_ERR_BUSY, "somebody logged in as %s meanwhile, or changed its keys: no key was dropped; run it again", d->address);
	return err == BS_OK ? check_sessions(d) : ctl_fail(err, "keys of %s: %s", d->address, ctl_keyd_text(err));
}

/* The home is looked at whatever is named, and a wrong one says nothing. */
static int
check_home(const struct drop *d)
{
	struct bs_record record;

	if (home_record(d->ctl, d->address, &record) != BS_OK || memcmp(record.account_id, d->record.account_id, BS_ID_LEN) != 0)
		return ctl_fail(BS_ERR_ARG, "%s is not the mail home of %s, or no mail came yet: no key was dropped (setting ctl.mail_home in %s)", d->home,
		    d->address, d->ctl->conf_path);
	if (record.generation > d->record.generation)
		return ctl_fail(BS_ERR_ROLLBACK, "%s: the mail home knows newer keys than the database: `basaltctl key restore` first", d->address);
	return CTL_OK;
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

/* --- the shared mailboxes --- */

static void
mark_member(struct drop *d, const char *mailbox, const struct bs_slot_info *slot)
{
	uint8_t id[BS_ID_LEN];

	bs_msg_key_id(BS_MSG_SUITE_X25519, slot->public_key, id);
	for (size_t i = 0; i < d->count; i++) {
		if (memcmp(d->keys[i].id, id, BS_ID_LEN) == 0)
			(void)snprintf(d->shared[i], sizeof(d->shared[i]), "%s", mailbox);
	}
}

/* bs_account_fn. The slot of a member is sealed to the key that was the member's active one on that day. */
static enum bs_err
look_at_members(void *ctx, const struct bs_account *account)
{
	struct drop *d = ctx;
	struct bs_slot_list list;
	enum bs_err err = bs_keyclient_slots(d->ctl->keyd, account->address, &list);

	if (err == BS_ERR_NOENT)
		return BS_OK;
	if (err != BS_OK) {
		ctl_fail(err, "%s may be shared with %s, and its keys can't be read: no key was dropped", account->address, d->address);
		return err;
	}
	for (size_t i = 0; i < list.count; i++) {
		if (list.slots[i].kind == BS_SLOT_MEMBER)
			mark_member(d, account->address, &list.slots[i]);
	}
	bs_slot_list_clear(&list);
	return BS_OK;
}

static int
find_shared(struct drop *d)
{
	int rc = ctl_open_store(d->ctl);
	enum bs_err err;

	if (rc != CTL_OK)
		return rc;
	err = bs_account_list(d->ctl->store, NULL, look_at_members, d);
	return err == BS_OK ? CTL_OK : ctl_fail(err, "looking for shared mailboxes: %s", bs_err_text(err));
}

static bool
is_needed(const struct drop *d, size_t i)
{
	return d->use.needed[i] > 0 || d->shared[i][0] != '\0';
}

static size_t
count_old(const struct drop *d, bool needed)
{
	size_t n = 0;

	for (size_t i = 0; i < d->count; i++)
		n += !d->keys[i].active && is_needed(d, i) == needed;
	return n;
}

static size_t
count_members(const struct drop *d)
{
	size_t n = 0;

	for (size_t i = 0; i < d->count; i++)
		n += !d->keys[i].active && d->use.needed[i] == 0 && d->shared[i][0] != '\0';
	return n;
}

static bool
confirmed(const struct drop *d)
{
	char prompt[512];
	const struct ctl_question asked[] = {
		{ prompt, d->address },
		{ "Nothing brings them back but a copy of keyd's database from before. Type `drop` to go on", "drop" },
	};

	(void)snprintf(prompt, sizeof(prompt), "%zu old keys of %s go for ever. Mail in a backup from before, or anywhere else, that is sealed to them "
	    "can't be opened any more.\nType the address to go on", count_old(d, false), d->address);
	if (ctl_confirmed(d->ctl->args.given, asked, 2))
		return true;
	ctl_fail(BS_ERR_ARG, "no key of %s was dropped: what is sealed to one in a backup from before could not be opened any more; --yes says that this "
	    "is meant", d->address);
	return false;
}

/* --- the work --- */

static int
drop_one(struct drop *d, size_t i)
{
	struct outcome outcome;
	int rc = outcome_begin(d->ctl, d->address, &outcome);
	enum bs_err err;

	if (rc != CTL_OK)
		return rc;
	err = outcome_end(d->ctl, &outcome, bs_keyclient_drop_key(d->ctl->keyd, d->address, d->secret, d->keys[i].id));
	if (err != BS_OK)
		return ctl_key_failed(err, d->address, d->secret, "dropping an old key");
	d->dropped[i] = true;
	d->dropped_count++;
	return CTL_OK;
}

static int
drop_all(struct drop *d)
{
	int rc = CTL_OK;

	for (size_t i = 0; rc == CTL_OK && i < d->count; i++)
		if (!d->keys[i].active && !is_needed(d, i))
			rc = drop_one(d, i);
	return rc;
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
		else if (!d->keys[i].active && is_needed(d, i))
			json_array_append_new(needed, json_pack("{s:s, s:I, s:s*}", "key", id, "messages", d->use.needed[i], "member_of",
			    d->shared[i][0] == '\0' ? NULL : d->shared[i]));
	}
	return json_pack("{s:s, s:I, s:o, s:o}", "account", d->address, "messages", d->use.messages, "dropped", dropped, "needed", needed);
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
		else if (d->use.needed[i] > 0 && !d->keys[i].active)
			printf("%s needed by %lld messages\n", id, (long long)d->use.needed[i]);
		if (d->shared[i][0] != '\0' && !d->keys[i].active)
			printf("%s opens %s for its member\n", id, d->shared[i]);
	}
	if (rc == CTL_OK && count_members(d) > 0)
		return ctl_fail(BS_ERR_ARG, "%zu old keys open shared mailboxes for %s and stay: add the member anew there (`basaltctl key remove`, then `key "
		    "add-member`)", count_members(d), d->address);
	if (rc == CTL_OK && count_old(d, true) > 0)
		return ctl_fail(BS_ERR_ARG, "%zu old keys are needed and stay: `basaltctl key reseal %s` moves that mail to the active key", count_old(d, true),
		    d->address);
	return rc;
}

static int
run(struct drop *d)
{
	int rc = check_home(d);

	if (rc == CTL_OK)
		rc = check_age(d);
	if (rc == CTL_OK)
		rc = check_sessions(d);
	if (rc == CTL_OK)
		rc = find_shared(d);
	/* keyd's socket is open: root alone may. */
	if (rc == CTL_OK)
		rc = ctl_become_owner(d->folders, d->n);
	if (rc != CTL_OK)
		return rc;
	ctl_background_begin(false);
	rc = look(d, &d->use);
	if (rc != CTL_OK || count_old(d, false) == 0)
		return rc;
	if (!confirmed(d))
		return CTL_FAILED;
	rc = look_again(d);
	if (rc == CTL_OK)
		rc = check_undisturbed(d);
	return rc == CTL_OK ? drop_all(d) : rc;
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
	if (err == BS_OK)
		err = last_use(d, &d->used);
	return err == BS_OK ? CTL_OK : ctl_key_failed(err, d->address, d->secret, "listing the keys");
}

/* The mail home, and what was named beside it. */
static int
set_folders(struct drop *d)
{
	const struct ctl_args *args = &d->ctl->args;

	home_folder(d->ctl, d->address, d->home, sizeof(d->home));
	d->folders = calloc((size_t)args->n, sizeof(char *));
	if (d->folders == NULL)
		return ctl_fail(BS_ERR_NOMEM, "%s", bs_err_text(BS_ERR_NOMEM));
	d->folders[d->n++] = d->home;
	for (int i = 1; i < args->n; i++)
		if (!keyuse_lies_below(args->words[i], d->home))
			d->folders[d->n++] = args->words[i];
	return CTL_OK;
}

int
key_drop(struct ctl *ctl)
{
	struct drop d = { .ctl = ctl };
	int rc = ctl_begin_change(ctl, d.address, &d.secret);

	if (rc == CTL_OK)
		rc = set_folders(&d);
	if (rc == CTL_OK)
		rc = get_keys(&d);
	if (rc == CTL_OK)
		rc = report(&d, d.count > 1 ? run(&d) : CTL_OK);
	if (d.dropped_count > 0)
		ctl_notice(ctl, d.address, "Old keys that no mail needs any more were removed from your mailbox. Backups from before hold mail that can't be "
		    "opened any more", NULL);
	free(d.folders);
	bs_secret_free(d.secret);
	return rc;
}
