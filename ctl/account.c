/* basaltctl account: an account is a row of the policy database and a keyset of keyd. */
#include <stdlib.h>
#include <string.h>

#include "confirm.h"
#include "ctl.h"
#include "home.h"
#include "key.h"
#include "keyclient_slots.h"
#include "notice.h"
#include "outcome.h"
#include "password.h"
#include "record.h"
#include "verbs.h"

static uint32_t
plan_flags(const struct bs_plan *plan)
{
	return (plan->sealed ? BS_RECORD_FLAG_SEALED : 0) | (plan->compress ? 0 : BS_RECORD_FLAG_NOCOMPRESS);
}

/* The address of word 0, and the store. */
static int
begin(struct ctl *ctl, char address[BS_ADDRESS_MAX + 1])
{
	int rc = ctl_address_arg(ctl->args.words[0], address);

	return rc == CTL_OK ? ctl_open_store(ctl) : rc;
}

/* --- add --- */

/* Domain and plan are there, the row is not. */
static int
may_add(struct ctl *ctl, const char *address, const char *plan_name, struct bs_plan *plan)
{
	const char *domain = bs_address_domain(address);
	struct bs_account account;
	enum bs_err err = bs_domain_exists(ctl->store, domain);

	if (err == BS_ERR_NOENT)
		return ctl_fail(err, "domain %s is none of ours: `basaltctl domain add %s` first", domain, domain);
	if (err != BS_OK)
		return ctl_fail(err, "domain %s: %s", domain, ctl_store_text(ctl, err));
	err = bs_account_get(ctl->store, address, &account);
	if (err == BS_OK)
		return ctl_fail(BS_ERR_EXISTS, "account %s exists already", address);
	if (err != BS_ERR_NOENT)
		return ctl_fail(err, "account %s: %s", address, ctl_store_text(ctl, err));
	return ctl_plan_arg(ctl, plan_name, plan);
}

/*
 * Keys first, row last: without a row no mail comes in. Keys that exist already are what a crash between the two left,
 * if the password opens them; keyd, not we, judges that, and gives them the plan's flags at once.
 */
static int
make_keys(struct ctl *ctl, const char *address, const char *password, uint32_t flags)
{
	uint8_t id[BS_ID_LEN];
	enum bs_err err = bs_keyclient_enrol(ctl->keyd, address, password, flags, id);

	if (err == BS_ERR_EXISTS) {
		err = bs_keyclient_set_flags(ctl->keyd, address, password, flags);
		if (err == BS_ERR_DENIED)
			return ctl_fail(err, "account %s has keys already, and this password does not open them. With the right "
			    "password the same command takes them over; if its mail is not needed any more, "
			    "`basaltctl account remove %s` first", address, address);
	}
	if (bs_err_is_transient(err))
		return ctl_fail(err, "making keys for %s: %s; run the same command again", address, ctl_keyd_text(err));
	return err == BS_OK ? CTL_OK : ctl_fail(err, "making keys for %s: %s", address, ctl_keyd_text(err));
}

static int
add_row(struct ctl *ctl, const char *address, const char *plan, enum bs_err (*add)(struct bs_store_policy *, const struct bs_account *))
{
	struct bs_account account = { .enabled = true };
	enum bs_err err;

	snprintf(account.address, sizeof(account.address), "%s", address);
	snprintf(account.plan, sizeof(account.plan), "%s", plan);
	err = add(ctl->store, &account);
	if (err == BS_OK)
		return CTL_OK;
	return ctl_fail(err, "account %s has no row in the policy database yet: %s; run the same command again", address,
	    ctl_store_text(ctl, err));
}

/* What both begin with. */
static int
begin_add(struct ctl *ctl, char address[BS_ADDRESS_MAX + 1], struct bs_plan *plan)
{
	int rc = begin(ctl, address);

	/* Programs that are given it would take it for an option. */
	if (rc == CTL_OK && address[0] == '-') {
		ctl_fail(BS_ERR_ARG, "`%s`: an account's name can't begin with -", address);
		rc = CTL_USAGE;
	}
	return rc != CTL_OK ? rc : may_add(ctl, address, (ctl->args.given & CTL_PLAN) != 0 ? ctl_arg(&ctl->args, CTL_PLAN) : "private", plan);
}

/* Whose keys a first login makes, behind a passdb of the site's own. keyd is not asked: it knows nothing yet. */
int
account_expect(struct ctl *ctl)
{
	char address[BS_ADDRESS_MAX + 1];
	struct bs_plan plan = { 0 };
	int rc = begin_add(ctl, address, &plan);

	return rc == CTL_OK ? add_row(ctl, address, plan.name, bs_account_expect) : rc;
}

/* Keys of a mail home that is still there may be those of whoever had the name before: they are nobody else's to get. */
static int
guard_add(struct ctl *ctl, const char *address)
{
	char home[4096];
	const char *what = NULL;
	enum bs_err err = home_finding(ctl, address, &what, NULL);

	if (err != BS_OK)
		return ctl_fail(err, "keys of %s: %s", address, ctl_keyd_text(err));
	if (what == NULL)
		return CTL_OK;
	home_folder(ctl, address, home, sizeof(home));
	ctl_fail(BS_ERR_ROLLBACK, "%s: %s: nothing was made. For somebody new move %s away first, mail and keys; if it is the same person again, "
	    "`basaltctl key restore %s` with the password of then brings the keys back, and then the same command the account", address, what, home, address);
	return CTL_OTHER_KEYS;
}

int
account_add(struct ctl *ctl)
{
	char address[BS_ADDRESS_MAX + 1];
	char *password = NULL;
	struct bs_plan plan = { 0 };
	int rc = begin_add(ctl, address, &plan);

	if (rc == CTL_OK)
		rc = ctl_open_keyd(ctl);
	if (rc == CTL_OK)
		rc = guard_add(ctl, address);
	if (rc == CTL_OK)
		rc = ctl_read_password(ctl->args.given, CTL_PASSWORD, "Password", true, &password);
	if (rc == CTL_OK)
		rc = make_keys(ctl, address, password, plan_flags(&plan));
	if (rc == CTL_OK)
		rc = add_row(ctl, address, plan.name, bs_account_add);
	bs_secret_free(password);
	if (rc == CTL_OK)
		ctl_tell_escrow(ctl, address);
	if (rc == CTL_OK && (ctl->args.given & CTL_JSON) != 0)
		rc = ctl_print_json(json_pack("{s:s, s:s, s:b}", "address", address, "plan", plan.name, "sealed", plan.sealed));
	return rc;
}

/* --- list, show --- */

static enum bs_err
print_account(void *ctx, const struct bs_account *account)
{
	char when[32];

	(void)ctx;
	ctl_time(account->created, when);
	printf("%-40s %-16s %-8s %s\n", account->address, account->plan, account->enabled ? "enabled" : "disabled", when);
	return BS_OK;
}

static json_t *
account_json(const struct bs_account *account)
{
	return json_pack("{s:s, s:s, s:b, s:I}", "address", account->address, "plan", account->plan, "enabled",
	    account->enabled, "created", (json_int_t)account->created);
}

static enum bs_err
append_account(void *ctx, const struct bs_account *account)
{
	return json_array_append_new(ctx, account_json(account)) == 0 ? BS_OK : BS_ERR_NOMEM;
}

int
account_list(struct ctl *ctl)
{
	const char *only = ctl_arg(&ctl->args, CTL_DOMAIN);
	char domain[BS_DOMAIN_MAX + 1];
	json_t *list;
	enum bs_err err;
	int rc;

	rc = only != NULL ? ctl_domain_arg(only, domain) : CTL_OK;
	if (rc == CTL_OK)
		rc = ctl_begin_list(ctl, &list);
	if (rc != CTL_OK)
		return rc;
	err = bs_account_list(ctl->store, only != NULL ? domain : NULL,
	    list != NULL ? append_account : print_account, list);
	return ctl_end_list(ctl, list, err, "accounts");
}

/* keyd's public record. It is shown, nothing is decided by it: the signature is the mail server's to verify. */
static enum bs_err
get_record(struct ctl *ctl, const char *address, struct bs_record *out)
{
	uint8_t bytes[BS_RECORD_MAX];
	size_t len = 0;
	enum bs_err err = bs_keyclient_record(ctl->keyd, address, bytes, &len);

	return err == BS_OK ? bs_record_parse(bytes, len, out) : err;
}

static json_t *
record_json(const struct bs_record *rec)
{
	char account_id[2 * BS_ID_LEN + 1], key_id[2 * BS_ID_LEN + 1];

	ctl_hex(rec->account_id, BS_ID_LEN, account_id);
	ctl_hex(rec->key_id, BS_ID_LEN, key_id);
	return json_pack("{s:s, s:s, s:I, s:b, s:b, s:I}", "account_id", account_id, "key_id", key_id, "generation",
	    (json_int_t)rec->generation, "sealed", (rec->flags & BS_RECORD_FLAG_SEALED) != 0, "compress",
	    (rec->flags & BS_RECORD_FLAG_NOCOMPRESS) == 0, "created", (json_int_t)rec->created);
}

static void
print_record(const struct bs_record *rec)
{
	char account_id[2 * BS_ID_LEN + 1], key_id[2 * BS_ID_LEN + 1], when[32];

	ctl_hex(rec->account_id, BS_ID_LEN, account_id);
	ctl_hex(rec->key_id, BS_ID_LEN, key_id);
	ctl_time(rec->created, when);
	printf("sealed:      %s\ncompress:    %s\naccount id:  %s\nkey id:      %s\ngeneration:  %llu\nkeys made:   %s\n",
	    rec->flags & BS_RECORD_FLAG_SEALED ? "yes" : "no", rec->flags & BS_RECORD_FLAG_NOCOMPRESS ? "no" : "yes",
	    account_id, key_id, (unsigned long long)rec->generation, when);
}

int
account_show(struct ctl *ctl)
{
	char address[BS_ADDRESS_MAX + 1], when[32];
	struct bs_account account = { 0 };
	struct bs_record rec = { 0 };
	int rc = begin(ctl, address);
	enum bs_err err;

	if (rc != CTL_OK)
		return rc;
	err = bs_account_get(ctl->store, address, &account);
	if (err != BS_OK)
		return ctl_fail(err, "account %s: %s", address, ctl_store_text(ctl, err));
	rc = ctl_open_keyd(ctl);
	if (rc != CTL_OK)
		return rc;
	err = get_record(ctl, address, &rec);
	if (err == BS_ERR_NOENT)
		return ctl_fail(err, "account %s has no keys: it can't log in, unless its first login is to make them; "
		    "`basaltctl account remove %s` and add it again, or restore keyd's database if it had keys", address, address);
	if (err != BS_OK)
		return ctl_fail(err, "keys of %s: %s", address, ctl_keyd_text(err));
	if ((ctl->args.given & CTL_JSON) != 0) {
		json_t *json = account_json(&account);

		json_object_set_new(json, "keys", record_json(&rec));
		return ctl_print_json(json);
	}
	ctl_time(account.created, when);
	printf("address:     %s\nplan:        %s\nenabled:     %s\ncreated:     %s\n", account.address, account.plan,
	    account.enabled ? "yes" : "no", when);
	print_record(&rec);
	return CTL_OK;
}

/* --- passwd, plan --- */

int
account_passwd(struct ctl *ctl)
{
	uint8_t flags = (uint8_t)((ctl->args.given & CTL_COMPROMISED) != 0 ? BS_CHANGE_COMPROMISED : 0);
	char address[BS_ADDRESS_MAX + 1];
	char *old_password = NULL, *new_password = NULL;
	bool rotated = false;
	struct outcome outcome;
	int rc = ctl_address_arg(ctl->args.words[0], address);
	enum bs_err err;

	if (rc == CTL_OK)
		rc = ctl_open_keyd(ctl);
	if (rc == CTL_OK)
		rc = home_guard(ctl, address);
	if (rc == CTL_OK)
		rc = ctl_read_password(ctl->args.given, CTL_OLD_PASSWORD, "Old password, or a recovery code", false, &old_password);
	if (rc == CTL_OK)
		rc = ctl_read_password(ctl->args.given, CTL_PASSWORD, "New password", true, &new_password);
	if (rc == CTL_OK)
		rc = outcome_begin(ctl, address, &outcome);
	if (rc == CTL_OK) {
		err = outcome_end(ctl, &outcome, bs_keyclient_change_password(ctl->keyd, address, old_password, new_password, flags, &rotated));
		if (err == BS_ERR_DENIED)
			rc = ctl_refused_secret(address, old_password);
		else if (err == BS_ERR_LIMIT && flags != 0)
			rc = ctl_ring_is_full(address);
		else if (err != BS_OK)
			rc = ctl_fail(err, "changing the password of %s: %s", address, ctl_keyd_text(err));
		else
			ctl_notice(ctl, address, flags != 0 ? "Your password was changed, and your keys with it" : "Your password was changed",
			    NULL);
	}
	bs_secret_free(new_password);
	bs_secret_free(old_password);
	return rc;
}

/* Asks for the password and has keyd change what the record says. */
static int
change_flags(struct ctl *ctl, const char *address, uint32_t flags)
{
	char *password = NULL;
	struct outcome outcome;
	int rc = home_guard(ctl, address);
	enum bs_err err = BS_OK;

	if (rc == CTL_OK)
		rc = ctl_read_password(ctl->args.given, CTL_PASSWORD, "Password of the account", false, &password);
	if (rc == CTL_OK)
		rc = outcome_begin(ctl, address, &outcome);
	if (rc == CTL_OK)
		err = outcome_end(ctl, &outcome, bs_keyclient_set_flags(ctl->keyd, address, password, flags));
	bs_secret_free(password);
	if (rc != CTL_OK)
		return rc;
	if (err == BS_ERR_DENIED)
		return ctl_fail(err, "%s: the password is wrong; its plan was not changed", address);
	if (err != BS_OK)
		return ctl_fail(err, "changing the keys of %s: %s", address, ctl_keyd_text(err));
	ctl_notice(ctl, address, (flags & BS_RECORD_FLAG_SEALED) != 0 ? "New mail is stored sealed from now on" : "New mail is stored without encryption "
	    "from now on", NULL);
	return CTL_OK;
}

int
account_plan(struct ctl *ctl)
{
	char address[BS_ADDRESS_MAX + 1];
	struct bs_account account = { 0 };
	struct bs_record rec = { 0 };
	struct bs_plan plan = { 0 };
	int rc = begin(ctl, address);
	enum bs_err err;

	if (rc == CTL_OK)
		rc = ctl_plan_arg(ctl, ctl->args.words[1], &plan);
	if (rc != CTL_OK)
		return rc;
	err = bs_account_get(ctl->store, address, &account);
	if (err != BS_OK)
		return ctl_fail(err, "account %s: %s", address, ctl_store_text(ctl, err));
	rc = ctl_open_keyd(ctl);
	if (rc != CTL_OK)
		return rc;
	err = get_record(ctl, address, &rec);
	if (err != BS_OK)
		return ctl_fail(err, "keys of %s: %s", address, ctl_keyd_text(err));
	if (rec.flags != plan_flags(&plan))
		rc = change_flags(ctl, address, plan_flags(&plan));
	if (rc != CTL_OK)
		return rc;
	snprintf(account.plan, sizeof(account.plan), "%s", plan.name);
	err = bs_account_set(ctl->store, &account);
	return err == BS_OK ? CTL_OK
	                    : ctl_fail(err, "account %s: %s; run the same command again", address, ctl_store_text(ctl, err));
}

/* --- enable, disable --- */

static int
set_enabled(struct ctl *ctl, bool enabled)
{
	char address[BS_ADDRESS_MAX + 1];
	struct bs_account account = { 0 };
	int rc = begin(ctl, address);
	enum bs_err err;

	if (rc != CTL_OK)
		return rc;
	err = bs_account_get(ctl->store, address, &account);
	if (err == BS_OK) {
		account.enabled = enabled;
		err = bs_account_set(ctl->store, &account);
	}
	return err == BS_OK ? CTL_OK : ctl_fail(err, "account %s: %s", address, ctl_store_text(ctl, err));
}

int
account_enable(struct ctl *ctl)
{
	return set_enabled(ctl, true);
}

int
account_disable(struct ctl *ctl)
{
	return set_enabled(ctl, false);
}

/* --- remove --- */

static bool
confirmed(const struct ctl *ctl, const char *address)
{
	char prompt[BS_ADDRESS_MAX + 128];
	const struct ctl_question asked[] = { { prompt, address } };

	snprintf(prompt, sizeof(prompt), "The keys of %s go for ever: its sealed mail can't be read by anybody then.\nType the address to go on", address);
	if (ctl_confirmed(ctl->args.given, asked, 1))
		return true;
	ctl_fail(BS_ERR_ARG, "%s was not removed: its sealed mail would be lost for ever; --yes says that this is meant", address);
	return false;
}

/* The row first: from then on no mail comes in, and a second run finishes the rest. */
int
account_remove(struct ctl *ctl)
{
	char address[BS_ADDRESS_MAX + 1];
	int rc = begin(ctl, address);
	enum bs_err row, keys;

	if (rc == CTL_OK)
		rc = ctl_open_keyd(ctl);
	if (rc != CTL_OK)
		return rc;
	if (!confirmed(ctl, address))
		return CTL_FAILED;
	row = bs_account_remove(ctl->store, address);
	if (row != BS_OK && row != BS_ERR_NOENT)
		return ctl_fail(row, "account %s: %s", address, ctl_store_text(ctl, row));
	keys = bs_keyclient_remove(ctl->keyd, address);
	if (keys == BS_ERR_NOENT && row == BS_ERR_NOENT)
		return ctl_fail(keys, "account %s does not exist", address);
	if (keys != BS_OK && keys != BS_ERR_NOENT)
		return ctl_fail(keys, "account %s gets no mail any more, but its keys may still be there: %s; run the same command again",
		    address, ctl_keyd_text(keys));
	return CTL_OK;
}
