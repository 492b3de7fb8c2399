/* basaltctl alias */
#include "ctl.h"
#include "verbs.h"

/* Parses both words and opens the store. */
static int
begin(struct ctl *ctl, char alias[BS_ADDRESS_MAX + 1], char target[BS_ADDRESS_MAX + 1])
{
	int rc = ctl_address_arg(ctl->args.words[0], alias);

	if (rc != CTL_OK)
		return rc;
	if (bs_address_parse(ctl->args.words[1], target) != BS_OK) {
		ctl_fail(BS_ERR_ARG, "`%s` is no mail address", ctl->args.words[1]);
		return CTL_USAGE;
	}
	return ctl_open_store(ctl);
}

int
alias_add(struct ctl *ctl)
{
	char alias[BS_ADDRESS_MAX + 1], target[BS_ADDRESS_MAX + 1];
	int rc = begin(ctl, alias, target);
	enum bs_err err;

	if (rc != CTL_OK)
		return rc;
	err = bs_alias_add(ctl->store, alias, target);
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
	bool json = (ctl->args.given & CTL_JSON) != 0;
	char alias[BS_ADDRESS_MAX + 1];
	int rc = ctl->args.n > 0 ? ctl_address_arg(ctl->args.words[0], alias) : CTL_OK;
	json_t *list;
	enum bs_err err;

	if (rc == CTL_OK)
		rc = ctl_open_store(ctl);
	if (rc != CTL_OK)
		return rc;
	list = json ? json_array() : NULL;
	err = bs_alias_list(ctl->store, ctl->args.n > 0 ? alias : NULL, json ? append_alias : print_alias, list);
	if (err == BS_OK)
		return json ? ctl_print_json(list) : CTL_OK;
	json_decref(list);
	return ctl_fail(err, "listing aliases: %s", ctl_store_text(ctl, err));
}
