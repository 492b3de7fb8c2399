/* basaltctl alias */
#include <string.h>

#include "chain.h"
#include "ctl.h"
#include "verbs.h"

/* An address without extension, or "@domain": what is no account and no alias there. */
static int
alias_arg(const char *word, char out[BS_ADDRESS_MAX + 1])
{
	if (word[0] != '@')
		return ctl_address_arg(word, out);
	out[0] = '@';
	return ctl_domain_arg(word + 1, out + 1);
}

/* Parses both words and opens the store. */
static int
begin(struct ctl *ctl, char alias[BS_ADDRESS_MAX + 1], char target[BS_ADDRESS_MAX + 1])
{
	int rc = alias_arg(ctl->args.words[0], alias);

	if (rc != CTL_OK)
		return rc;
	if (bs_address_parse(ctl->args.words[1], target) != BS_OK) {
		ctl_fail(BS_ERR_ARG, "`%s` is no mail address", ctl->args.words[1]);
		return CTL_USAGE;
	}
	return ctl_open_store(ctl);
}

static enum bs_err
find_itself(void *ctx, const char *alias, const char *target)
{
	if (strcmp(alias, target) == 0)
		*(bool *)ctx = true;
	return BS_OK;
}

/* Mail for an account that is an alias, too, goes past its mailbox unless it is one of its own targets. */
static int
may_divert(struct ctl *ctl, const char *alias, const char *target)
{
	bool to_itself = strcmp(alias, target) == 0, keeps_copy = false;
	struct bs_account account;
	enum bs_err err = bs_account_get(ctl->store, alias, &account);

	if (err == BS_ERR_NOENT && to_itself)
		return ctl_fail(err, "alias %s to itself: there is no account of that name, so its mail would go nowhere", alias);
	if (err == BS_ERR_NOENT || (err == BS_OK && (to_itself || (ctl->args.given & CTL_DIVERT) != 0)))
		return CTL_OK;
	if (err == BS_OK)
		err = bs_alias_list(ctl->store, alias, find_itself, &keeps_copy);
	if (err != BS_OK)
		return ctl_fail(err, "account %s: %s", alias, ctl_store_text(ctl, err));
	if (keeps_copy)
		return CTL_OK;
	return ctl_fail(BS_ERR_EXISTS, "%s is an account: its mail would go to %s instead of its mailbox. --divert says that "
	    "this is meant; `basaltctl alias add %s %s` first has its mailbox get a copy", alias, target, alias, alias);
}

static int
may_chain(struct ctl *ctl, const char *alias, const char *target)
{
	char text[16 * (BS_ADDRESS_MAX + 5)] = "";
	enum bs_err err;

	if (strcmp(alias, target) == 0)
		return CTL_OK;
	err = ctl_chain_check(ctl->store, alias, target, text, sizeof(text));
	if (err == BS_ERR_EXISTS)
		return ctl_fail(err, "alias %s to %s would be a loop, and no mail for it could be delivered: %s", alias, target, text);
	if (err == BS_ERR_LIMIT)
		return ctl_fail(err, "alias %s to %s: %s; the milter would refuse its mail", alias, target, text);
	return err == BS_OK ? CTL_OK : ctl_fail(err, "alias %s to %s: %s", alias, target, ctl_store_text(ctl, err));
}

int
alias_add(struct ctl *ctl)
{
	char alias[BS_ADDRESS_MAX + 1], target[BS_ADDRESS_MAX + 1];
	int rc = begin(ctl, alias, target);
	enum bs_err err;

	if (rc != CTL_OK)
		return rc;
	err = bs_domain_exists(ctl->store, bs_address_domain(alias));
	if (err == BS_OK) {
		rc = may_divert(ctl, alias, target);
		if (rc == CTL_OK)
			rc = may_chain(ctl, alias, target);
		if (rc != CTL_OK)
			return rc;
		err = bs_alias_add(ctl->store, alias, target);
	}
	if (err == BS_ERR_NOENT)
		return ctl_fail(err, "domain %s is none of ours: `basaltctl domain add %s` first", bs_address_domain(alias),
		    bs_address_domain(alias));
	return err == BS_OK ? CTL_OK : ctl_fail(err, "alias %s to %s: %s", alias, target, ctl_store_text(ctl, err));
}

int
alias_remove(struct ctl *ctl)
{
	char alias[BS_ADDRESS_MAX + 1], target[BS_ADDRESS_MAX + 1];
	int rc = begin(ctl, alias, target);
	enum bs_err err;

	if (rc != CTL_OK)
		return rc;
	err = bs_alias_remove(ctl->store, alias, target);
	return err == BS_OK ? CTL_OK : ctl_fail(err, "alias %s to %s: %s", alias, target, ctl_store_text(ctl, err));
}

static enum bs_err
print_alias(void *ctx, const char *alias, const char *target)
{
	(void)ctx;
	printf("%s %s\n", alias, target);
	return BS_OK;
}

static enum bs_err
append_alias(void *ctx, const char *alias, const char *target)
{
	json_t *row = json_pack("{s:s, s:s}", "alias", alias, "target", target);

	return json_array_append_new(ctx, row) == 0 ? BS_OK : BS_ERR_NOMEM;
}

int
alias_list(struct ctl *ctl)
{
	char alias[BS_ADDRESS_MAX + 1];
	int rc = ctl->args.n > 0 ? alias_arg(ctl->args.words[0], alias) : CTL_OK;
	json_t *list;
	enum bs_err err;

	if (rc == CTL_OK)
		rc = ctl_begin_list(ctl, &list);
	if (rc != CTL_OK)
		return rc;
	err = bs_alias_list(ctl->store, ctl->args.n > 0 ? alias : NULL, list != NULL ? append_alias : print_alias, list);
	return ctl_end_list(ctl, list, err, "aliases");
}
