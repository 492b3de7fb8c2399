/* basaltctl pref: what is wanted of the checks, for the site, a plan, a domain, an account. */
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "verbs.h"

#define WHY_MAX 256

/* Whose preferences a command is about. */
struct whose {
	enum bs_scope scope;
	char name[BS_ADDRESS_MAX + 1]; /* "" for the site */
};

static int
whose_account(struct ctl *ctl, struct whose *out)
{
	bool found = false;
	enum bs_err err;
	struct bs_account account;
	int rc = ctl_address_arg(ctl_arg(&ctl->args, CTL_OF_ACCOUNT), out->name);

	if (rc == CTL_OK)
		rc = ctl_open_store(ctl);
	if (rc != CTL_OK)
		return rc;
	err = bs_account_get(ctl->store, out->name, &account);
	if (err != BS_ERR_NOENT)
		return err == BS_OK ? CTL_OK : ctl_fail(err, "account %s: %s", out->name, ctl_store_text(ctl, err));
	err = ctl_alias_exists(ctl, out->name, &found);
	if (err == BS_OK && found)
		return ctl_fail(BS_ERR_NOENT, "%s is an alias: preferences belong to the accounts behind it "
		    "(`basaltctl alias list %s`)", out->name, out->name);
	return ctl_fail(BS_ERR_NOENT, "there is no account %s: see `basaltctl account list`", out->name);
}

static int
whose_domain(struct ctl *ctl, struct whose *out)
{
	enum bs_err err;
	int rc = ctl_domain_arg(ctl_arg(&ctl->args, CTL_OF_DOMAIN), out->name);

	if (rc == CTL_OK)
		rc = ctl_open_store(ctl);
	if (rc != CTL_OK)
		return rc;
	err = bs_domain_exists(ctl->store, out->name);
	if (err == BS_ERR_NOENT)
		return ctl_fail(err, "domain %s is none of ours: see `basaltctl domain list`", out->name);
	return err == BS_OK ? CTL_OK : ctl_fail(err, "domain %s: %s", out->name, ctl_store_text(ctl, err));
}

static int
whose_plan(struct ctl *ctl, struct whose *out)
{
	struct bs_plan plan;
	int rc = ctl_open_store(ctl);

	if (rc == CTL_OK)
		rc = ctl_plan_arg(ctl, ctl_arg(&ctl->args, CTL_OF_PLAN), &plan);
	if (rc == CTL_OK)
		snprintf(out->name, sizeof(out->name), "%s", plan.name);
	return rc;
}

/* Exactly one of --site, --plan, --domain, --account says whose; the store is open then. */
static int
begin(struct ctl *ctl, struct whose *out)
{
	static const struct {
		unsigned bit;
		enum bs_scope scope;
		int (*find)(struct ctl *ctl, struct whose *out);
	} table[] = {
		{ CTL_OF_SITE, BS_SCOPE_SITE, NULL },
		{ CTL_OF_PLAN, BS_SCOPE_PLAN, whose_plan },
		{ CTL_OF_DOMAIN, BS_SCOPE_DOMAIN, whose_domain },
		{ CTL_OF_ACCOUNT, BS_SCOPE_ACCOUNT, whose_account },
	};
	uint64_t given = ctl->args.given & CTL_OF_ANY;

	*out = (struct whose){ 0 };
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (given != table[i].bit)
			continue;
		out->scope = table[i].scope;
		return table[i].find != NULL ? table[i].find(ctl, out) : ctl_open_store(ctl);
	}
	ctl_fail(BS_ERR_ARG, "whose? One of --site, --plan NAME, --domain DOMAIN, --account ADDRESS says so");
	return CTL_USAGE;
}

/* "the site", "plan private" */
static const char *
whose_text(enum bs_scope scope, const char *name, char out[BS_ADDRESS_MAX + 16])
{
	if (scope == BS_SCOPE_SITE)
		snprintf(out, BS_ADDRESS_MAX + 16, "the site");
	else
		snprintf(out, BS_ADDRESS_MAX + 16, "%s %s", bs_scope_name(scope), name);
	return out;
}

/* --- items --- */

static void
print_item(const struct bs_policy_item *item)
{
	char takes[BS_POLICY_TAKES_MAX];

	bs_policy_takes(item, takes);
	printf("%s (%s)\n    %s\n    takes %s\n", item->name, item->def, item->help, takes);
}

static json_t *
item_json(const struct bs_policy_item *item)
{
	char takes[BS_POLICY_TAKES_MAX];

	bs_policy_takes(item, takes);
	return json_pack("{s:s, s:s, s:s, s:s}", "item", item->name, "default", item->def, "takes", takes, "help", item->help);
}

int
pref_items(struct ctl *ctl)
{
	json_t *list = (ctl->args.given & CTL_JSON) != 0 ? json_array() : NULL;

	for (size_t i = 0; i < bs_policy_n_items; i++) {
		if (list != NULL)
			json_array_append_new(list, item_json(&bs_policy_items[i]));
		else
			print_item(&bs_policy_items[i]);
	}
	return list != NULL ? ctl_print_json(list) : CTL_OK;
}

/* --- set, unset --- */

int
pref_set(struct ctl *ctl)
{
	const char *item = ctl->args.words[0], *value = ctl->args.words[1];
	char text[BS_ADDRESS_MAX + 16], why[WHY_MAX] = "";
	struct whose whose;
	struct bs_policy scratch;
	enum bs_err err;
	int rc;

	bs_policy_defaults(&scratch);
	err = bs_policy_set(&scratch, item, value, why, sizeof(why));
	if (err != BS_OK) { /* before anything is opened: it is the command line that is wrong */
		ctl_fail(err, "%s%s", why, err == BS_ERR_NOENT ? "; `basaltctl pref items` lists them" : "");
		return CTL_USAGE;
	}
	rc = begin(ctl, &whose);
	if (rc != CTL_OK)
		return rc;
	err = bs_preference_set(ctl->store, whose.scope, whose.name, item, value, why, sizeof(why));
	return err == BS_OK ? CTL_OK : ctl_fail(err, "preference %s of %s: %s", item,
	    whose_text(whose.scope, whose.name, text), ctl_store_text(ctl, err));
}

int
pref_unset(struct ctl *ctl)
{
	const char *item = ctl->args.words[0];
	char text[BS_ADDRESS_MAX + 16];
	struct whose whose;
	enum bs_err err;
	int rc = begin(ctl, &whose);

	if (rc != CTL_OK)
		return rc;
	err = bs_preference_unset(ctl->store, whose.scope, whose.name, item);
	whose_text(whose.scope, whose.name, text);
	if (err == BS_ERR_NOENT)
		return ctl_fail(err, "preference %s is not set for %s: `basaltctl pref list` shows what is", item, text);
	return err == BS_OK ? CTL_OK : ctl_fail(err, "preference %s of %s: %s", item, text, ctl_store_text(ctl, err));
}

/* --- list --- */

/* Which item of the table it is; bs_policy_n_items: none, or not with this value. policy gets the value. */
static size_t
apply(struct bs_policy *policy, const struct bs_preference *preference)
{
	size_t i = 0;

	if (bs_policy_set(policy, preference->item, preference->value, NULL, 0) != BS_OK)
		return bs_policy_n_items;
	while (i < bs_policy_n_items && strcmp(bs_policy_items[i].name, preference->item) != 0)
		i++;
	return i;
}

static enum bs_err
print_row(void *ctx, const struct bs_preference *preference)
{
	char text[BS_ADDRESS_MAX + 16];
	struct bs_policy scratch;

	(void)ctx;
	bs_policy_defaults(&scratch);
	printf("%-40s %s ", whose_text(preference->scope, preference->name, text), preference->item);
	ctl_print_path(stdout, preference->value);
	printf("%s\n", apply(&scratch, preference) < bs_policy_n_items ? "" : "   (not understood: counts as not set)");
	return BS_OK;
}

static json_t *
row_json(const struct bs_preference *preference, bool understood)
{
	return json_pack("{s:s, s:s, s:s, s:o, s:b}", "scope", bs_scope_name(preference->scope), "name", preference->name,
	    "item", preference->item, "value", ctl_json_path(preference->value), "understood", understood);
}

static enum bs_err
append_row(void *ctx, const struct bs_preference *preference)
{
	struct bs_policy scratch;

	bs_policy_defaults(&scratch);
	return json_array_append_new(ctx, row_json(preference, apply(&scratch, preference) < bs_policy_n_items)) == 0
	    ? BS_OK : BS_ERR_NOMEM;
}

int
pref_list(struct ctl *ctl)
{
	struct whose whose = { 0 };
	bool all = (ctl->args.given & CTL_OF_ANY) == 0;
	enum bs_err err = BS_OK;
	json_t *list;
	int rc = all ? CTL_OK : begin(ctl, &whose);

	if (rc == CTL_OK)
		rc = ctl_begin_list(ctl, &list);
	if (rc != CTL_OK)
		return rc;
	for (int scope = 0; err == BS_OK && scope < BS_SCOPE_COUNT; scope++)
		if (all || (enum bs_scope)scope == whose.scope)
			err = bs_preference_list(ctl->store, (enum bs_scope)scope, all ? NULL : whose.name,
			    list != NULL ? append_row : print_row, list);
	return ctl_end_list(ctl, list, err, "preferences");
}

/* --- show --- */

struct shown {
	struct bs_policy policy;
	struct bs_preference *from; /* of each item; what nobody has set has an empty item */
	json_t *not_understood;
};

static enum bs_err
take_row(void *ctx, const struct bs_preference *preference)
{
	struct shown *shown = ctx;
	size_t i = apply(&shown->policy, preference);

	if (i == bs_policy_n_items)
		return json_array_append_new(shown->not_understood, row_json(preference, false)) == 0 ? BS_OK : BS_ERR_NOMEM;
	shown->from[i] = *preference;
	return BS_OK;
}

static void
print_shown(const struct shown *shown)
{
	char value[BS_POLICY_VALUE_MAX + 1], text[BS_ADDRESS_MAX + 16];
	const json_t *row;
	size_t i;

	for (i = 0; i < bs_policy_n_items; i++) {
		const struct bs_preference *from = &shown->from[i];

		bs_policy_get(&shown->policy, &bs_policy_items[i], value);
		printf("%-18s %-12s %s\n", bs_policy_items[i].name, value,
		    from->item[0] == '\0' ? "default" : whose_text(from->scope, from->name, text));
	}
	json_array_foreach(shown->not_understood, i, row)
		printf("%s: not understood, counts as not set (%s %s)\n", json_string_value(json_object_get(row, "item")),
		    json_string_value(json_object_get(row, "scope")), json_string_value(json_object_get(row, "name")));
}

static json_t *
shown_json(const struct shown *shown)
{
	char value[BS_POLICY_VALUE_MAX + 1];
	json_t *items = json_array();

	for (size_t i = 0; i < bs_policy_n_items; i++) {
		const struct bs_preference *from = &shown->from[i];

		bs_policy_get(&shown->policy, &bs_policy_items[i], value);
		json_array_append_new(items, json_pack("{s:s, s:o, s:s, s:s}", "item", bs_policy_items[i].name, "value",
		    ctl_json_path(value), "from", from->item[0] == '\0' ? "default" : bs_scope_name(from->scope), "name", from->name));
	}
	return json_pack("{s:o, s:O}", "preferences", items, "not_understood", shown->not_understood);
}

/* The plan and the domain that bear on it, beside itself; "" for none. */
static enum bs_err
bearing(struct ctl *ctl, const struct whose *whose, struct shown *shown)
{
	struct bs_account account = { 0 };
	enum bs_err err;

	if (whose->scope != BS_SCOPE_ACCOUNT)
		return bs_preference_bearing(ctl->store, whose->scope == BS_SCOPE_PLAN ? whose->name : "",
		    whose->scope == BS_SCOPE_DOMAIN ? whose->name : "", "", take_row, shown);
	err = bs_account_get(ctl->store, whose->name, &account);
	return err != BS_OK ? err : bs_preference_bearing(ctl->store, account.plan, bs_address_domain(whose->name),
	    whose->name, take_row, shown);
}

int
pref_show(struct ctl *ctl)
{
	char text[BS_ADDRESS_MAX + 16];
	struct shown shown = { 0 };
	struct whose whose;
	int rc = begin(ctl, &whose);
	enum bs_err err = BS_ERR_NOMEM;

	if (rc != CTL_OK)
		return rc;
	bs_policy_defaults(&shown.policy);
	shown.from = calloc(bs_policy_n_items, sizeof(*shown.from));
	shown.not_understood = json_array();
	if (shown.from != NULL && shown.not_understood != NULL)
		err = bearing(ctl, &whose, &shown);
	if (err != BS_OK)
		rc = ctl_fail(err, "preferences of %s: %s", whose_text(whose.scope, whose.name, text), ctl_store_text(ctl, err));
	else if ((ctl->args.given & CTL_JSON) != 0)
		rc = ctl_print_json(shown_json(&shown));
	else
		print_shown(&shown);
	json_decref(shown.not_understood);
	free(shown.from);
	return rc;
}
