/* basaltctl key: the slots of an account and its keys. All is keyd's to do; the owner is told by mail. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "ctl.h"
#include "home.h"
#include "key.h"
#include "notice.h"
#include "outcome.h"
#include "password.h"
#include "verbs.h"

static const char *const kinds[] = { [BS_SLOT_PASSWORD] = "password", [BS_SLOT_APP] = "app-password",
	[BS_SLOT_RECOVERY] = "recovery", [BS_SLOT_MEMBER] = "member", [BS_SLOT_ESCROW] = "escrow" };

static const char *
kind_name(uint8_t kind)
{
	return kind < sizeof(kinds) / sizeof(kinds[0]) && kinds[kind] != NULL ? kinds[kind] : "unknown";
}

int
ctl_begin_key(struct ctl *ctl, char address[BS_ADDRESS_MAX + 1])
{
	int rc = ctl_address_arg(ctl->args.words[0], address);

	return rc == CTL_OK ? ctl_open_keyd(ctl) : rc;
}

int
ctl_begin_change(struct ctl *ctl, char address[BS_ADDRESS_MAX + 1], char **secret)
{
	int rc = ctl_begin_key(ctl, address);

	if (rc == CTL_OK)
		rc = home_guard(ctl, address);
	return rc == CTL_OK ? ctl_read_secret(ctl->args.given, address, secret) : rc;
}

bool
ctl_has_slot(const struct bs_slot_list *list, enum bs_slot_kind kind)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->slots[i].kind == kind)
			return true;
	return false;
}

int
ctl_key_failed(enum bs_err err, const char *address, const char *secret, const char *what)
{
	if (err == BS_ERR_DENIED)
		return ctl_refused_secret(address, secret);
	return ctl_fail(err, "%s: %s: %s", address, what, ctl_keyd_text(err));
}

bool
ctl_tell_escrow(const struct ctl *ctl, const char *address)
{
	struct bs_slot_list list;
	bool told = true;

	if (ctl->settings.notify[0] == '\0')
		return true;
	if (bs_keyclient_slots(ctl->keyd, address, &list) != BS_OK)
		return false;
	for (size_t i = 0; i < list.count; i++)
		if (list.slots[i].kind == BS_SLOT_ESCROW)
			told = ctl_notice(ctl, address, "Your organisation's escrow key can open your mailbox", list.slots[i].label) && told;
	bs_slot_list_clear(&list);
	return told;
}

int
ctl_ring_is_full(const char *address)
{
	return ctl_fail(BS_ERR_LIMIT, "%s has as many keys as an account may have: `basaltctl key drop %s` takes out old ones that no mail needs any more, "
	    "`basaltctl key heal %s` comes first where something is shut away; nothing was changed", address, address, address);
}

/* --- show --- */

static json_t *
slot_json(const struct bs_slot_info *slot)
{
	char id[2 * BS_ID_LEN + 1];

	ctl_hex(slot->id, BS_ID_LEN, id);
	return json_pack("{s:s, s:s, s:s, s:b, s:I, s:I, s:I}", "id", id, "kind", kind_name(slot->kind), "label", slot->label,
	    "pending", (slot->flags & BS_SLOT_PENDING) != 0, "generation", (json_int_t)slot->generation, "created",
	    (json_int_t)slot->created, "last_used", (json_int_t)slot->used);
}

static int
show_json(const char *address, const struct bs_slot_list *list)
{
	char key_id[2 * BS_ID_LEN + 1];
	json_t *slots = json_array();

	ctl_hex(list->record.key_id, BS_ID_LEN, key_id);
	for (size_t i = 0; i < list->count; i++)
		json_array_append_new(slots, slot_json(&list->slots[i]));
	return ctl_print_json(json_pack("{s:s, s:I, s:s, s:s, s:i, s:o}", "address", address, "generation",
	    (json_int_t)list->record.generation, "active_key", key_id, "escrow", list->escrow, "kept", (int)list->kept, "slots",
	    slots));
}

static void
print_time(uint64_t seconds, const char *unknown, char out[32])
{
	if (seconds == 0)
		snprintf(out, 32, "%s", unknown);
	else
		ctl_time(seconds, out);
}

static void
print_list(const struct bs_slot_list *list)
{
	char id[2 * BS_ID_LEN + 1], made[32], used[32];

	ctl_hex(list->record.key_id, BS_ID_LEN, id);
	printf("generation:  %llu\nactive key:  %s\nescrow:      %s\n", (unsigned long long)list->record.generation, id,
	    list->escrow[0] == '\0' ? "none for this domain" : list->escrow);
	if (list->kept > 0)
		printf("shut away:   %u earlier keyset%s, until `basaltctl key heal`\n", list->kept, list->kept == 1 ? "" : "s");
	printf("\n%-8s  %-12s  %-19s  %-19s  %s\n", "SLOT", "KIND", "MADE", "LAST USED", "LABEL");
	for (size_t i = 0; i < list->count; i++) {
		const struct bs_slot_info *slot = &list->slots[i];

		ctl_hex(slot->id, 4, id);
		print_time(slot->created, "before version 2", made);
		print_time(slot->used, "-", used);
		printf("%-8s  %-12s  %-19s  %-19s  %s%s\n", id, kind_name(slot->kind), made, used, slot->label,
		    (slot->flags & BS_SLOT_PENDING) != 0 ? "(new, has not logged in yet)" : "");
	}
}

int
key_show(struct ctl *ctl)
{
	char address[BS_ADDRESS_MAX + 1];
	struct bs_slot_list list;
	int rc = ctl_begin_key(ctl, address);
	enum bs_err err;

	if (rc != CTL_OK)
		return rc;
	err = bs_keyclient_slots(ctl->keyd, address, &list);
	if (err != BS_OK)
		return ctl_fail(err, "keys of %s: %s", address, ctl_keyd_text(err));
	if ((ctl->args.given & CTL_JSON) != 0)
		rc = show_json(address, &list);
	else
		print_list(&list);
	bs_slot_list_clear(&list);
	return rc;
}

/* --- add --- */

/* The new secret is nowhere else: where it can't be shown its slot must not stay. */
static int
show_code(struct ctl *ctl, const char *address, const char *secret, const uint8_t id[BS_ID_LEN], const char *code)
{
	char slot[2 * BS_ID_LEN + 1];
	bool rotated;
	enum bs_err err;

	(void)signal(SIGPIPE, SIG_IGN);
	if (printf("%s\n", code) > 0 && fflush(stdout) == 0)
		return CTL_OK;
	err = bs_keyclient_remove_slot(ctl->keyd, address, secret, id, &rotated);
	if (err == BS_OK)
		return ctl_fail(BS_ERR_IO, "%s: writing the new secret to standard output failed: its slot was removed again, and it opens nothing", address);
	ctl_hex(id, BS_ID_LEN, slot);
	return ctl_fail(err, "%s: writing the new secret to standard output failed, and removing its slot did, too (%s): `basaltctl key remove %s %s`",
	    address, ctl_keyd_text(err), address, slot);
}

/* The reply that had the new secret did not come. */
static int
lost_code(const char *address)
{
	return ctl_fail(BS_ERR_TIMEOUT, "%s: a slot was added whose secret nobody knows: `basaltctl key show %s` has it last, and `basaltctl key remove` "
	    "takes it away", address, address);
}

static int
add(struct ctl *ctl, enum bs_slot_kind kind, const char *member, const char *what)
{
	const char *label = ctl_arg(&ctl->args, CTL_LABEL);
	char address[BS_ADDRESS_MAX + 1], *secret = NULL, code[BS_CODE_TEXT_SIZE] = "";
	uint8_t id[BS_ID_LEN];
	bool shown = kind == BS_SLOT_APP || kind == BS_SLOT_RECOVERY, lost;
	struct outcome outcome;
	enum bs_err err;
	int rc;

	if (shown && (ctl->args.given & CTL_STDOUT) == 0 && !isatty(STDOUT_FILENO)) {
		ctl_fail(BS_ERR_ARG, "the new secret is shown once, on standard output, which is no terminal: give --stdout if it "
		    "is kept safe there");
		return CTL_USAGE;
	}
	rc = ctl_begin_change(ctl, address, &secret);
	if (rc == CTL_OK)
		rc = outcome_begin(ctl, address, &outcome);
	if (rc != CTL_OK) {
		bs_secret_free(secret);
		return rc;
	}
	err = outcome_end(ctl, &outcome, bs_keyclient_add_slot(ctl->keyd, address, secret, kind, label == NULL ? "" : label, member, id, code));
	lost = err == BS_OK && shown && code[0] == '\0';
	if (err == BS_ERR_ARG)
		rc = ctl_fail(err, "%s: the label is longer than 64 bytes, or has characters that break a line or change the direction of writing, or the member is the account itself", address);
	else if (err == BS_ERR_NOENT && kind == BS_SLOT_MEMBER)
		rc = ctl_fail(err, "account %s does not exist", member);
	else if (err == BS_ERR_NOENT)
		rc = ctl_fail(err, "%s: keyd knows no escrow for this domain (keyd.escrow)", address);
	else if (err == BS_ERR_EXISTS)
		rc = ctl_fail(err, "%s: that is there already", address);
	else if (err != BS_OK)
		rc = ctl_key_failed(err, address, secret, "adding a slot");
	else if (shown)
		rc = lost ? lost_code(address) : show_code(ctl, address, secret, id, code);
	if (rc == CTL_OK || lost)
		ctl_notice(ctl, address, what, kind == BS_SLOT_MEMBER ? member : label);
	bs_wipe(code, sizeof(code));
	bs_secret_free(secret);
	return rc;
}

int
key_add_app_password(struct ctl *ctl)
{
	return add(ctl, BS_SLOT_APP, "", "An app password was added to your mailbox");
}

int
key_add_recovery(struct ctl *ctl)
{
	return add(ctl, BS_SLOT_RECOVERY, "", "A recovery code was added to your mailbox");
}

int
key_add_escrow(struct ctl *ctl)
{
	return add(ctl, BS_SLOT_ESCROW, "", "Your organisation's escrow key can open your mailbox from now on");
}

int
key_add_member(struct ctl *ctl)
{
	char member[BS_ADDRESS_MAX + 1];
	int rc = ctl_address_arg(ctl->args.words[1], member);

	return rc == CTL_OK ? add(ctl, BS_SLOT_MEMBER, member, "A member was added to this shared mailbox") : rc;
}

/* --- remove, rotate --- */

/* The one slot whose id begins with these hex digits. */
static int
find_slot(struct ctl *ctl, const char *address, const char *word, struct bs_slot_info *out)
{
	struct bs_slot_list list;
	char id[2 * BS_ID_LEN + 1];
	size_t len = strlen(word), found = 0;
	enum bs_err err = bs_keyclient_slots(ctl->keyd, address, &list);

	if (err != BS_OK)
		return ctl_fail(err, "keys of %s: %s", address, ctl_keyd_text(err));
	for (size_t i = 0; i < list.count; i++) {
		ctl_hex(list.slots[i].id, BS_ID_LEN, id);
		if (len < 4 || len > sizeof(id) - 1 || strncasecmp(id, word, len) != 0)
			continue;
		*out = list.slots[i];
		found++;
	}
	bs_slot_list_clear(&list);
	if (found == 1)
		return CTL_OK;
	return ctl_fail(BS_ERR_ARG, "%s has %s slot `%s`: see `basaltctl key show %s`", address, found == 0 ? "no" : "more than one",
	    word, address);
}

/* After a change that could not make a new active key. */
static void
warn_full(const char *address)
{
	fprintf(stderr, "basaltctl: warning: %s has as many keys as an account may have: new mail is still sealed to the key of before. "
	    "`basaltctl key drop %s` first takes out old keys that no mail needs any more\n", address, address);
}

int
key_remove(struct ctl *ctl)
{
	char address[BS_ADDRESS_MAX + 1], what[64], *secret = NULL;
	struct bs_slot_info slot = { .kind = 0 };
	bool rotated = true; /* if the reply was lost, too */
	struct outcome outcome;
	int rc = ctl_begin_key(ctl, address);
	enum bs_err err;

	if (rc == CTL_OK)
		rc = home_guard(ctl, address);
	if (rc == CTL_OK)
		rc = find_slot(ctl, address, ctl->args.words[1], &slot);
	if (rc == CTL_OK)
		rc = ctl_read_secret(ctl->args.given, address, &secret);
	if (rc == CTL_OK)
		rc = outcome_begin(ctl, address, &outcome);
	if (rc != CTL_OK) {
		bs_secret_free(secret);
		return rc;
	}
	err = outcome_end(ctl, &outcome, bs_keyclient_remove_slot(ctl->keyd, address, secret, slot.id, &rotated));
	if (err == BS_ERR_ARG)
		rc = ctl_fail(err, "%s: the last password can't be removed (`account passwd` changes it), nor the slot of the secret "
		    "that was given: give another one", address);
	else if (err != BS_OK)
		rc = ctl_key_failed(err, address, secret, "removing the slot");
	bs_secret_free(secret);
	if (rc != CTL_OK)
		return rc;
	if (!rotated)
		warn_full(address);
	snprintf(what, sizeof(what), "Removed from your mailbox: %s", kind_name(slot.kind));
	ctl_notice(ctl, address, what, slot.label);
	return CTL_OK;
}

int
key_rotate(struct ctl *ctl)
{
	uint8_t flags = (uint8_t)((ctl->args.given & CTL_COMPROMISED) != 0 ? BS_ROTATE_AMK : 0);
	char address[BS_ADDRESS_MAX + 1], *secret = NULL;
	int rc = ctl_begin_change(ctl, address, &secret);
	struct outcome outcome;
	enum bs_err err;

	if (rc == CTL_OK)
		rc = outcome_begin(ctl, address, &outcome);
	if (rc != CTL_OK) {
		bs_secret_free(secret);
		return rc;
	}
	err = outcome_end(ctl, &outcome, bs_keyclient_rotate(ctl->keyd, address, secret, flags));
	if (err == BS_ERR_LIMIT)
		rc = ctl_ring_is_full(address);
	else if (err != BS_OK)
		rc = ctl_key_failed(err, address, secret, "making a new active key");
	else
		ctl_notice(ctl, address, "New mail is sealed to a new key; older mail opens as before", NULL);
	bs_secret_free(secret);
	return rc;
}
