/* basaltctl domain, basaltctl db */
#include "ctl.h"
#include "verbs.h"

/* RFC 5321 section 4.5.1: a domain that takes mail takes it for postmaster. A hint only: no error of its own. */
static void
hint_postmaster(struct ctl *ctl, const char *domain)
{
	char address[BS_ADDRESS_MAX + 16];
	struct bs_account account;
	bool found = false;

	snprintf(address, sizeof(address), "postmaster@%s", domain);
	if (bs_account_get(ctl->store, address, &account) == BS_ERR_NOENT &&
	    ctl_alias_exists(ctl, address, &found) == BS_OK && !found)
		printf("there is no %s yet, which every mail domain must have (RFC 5321, 4.5.1): "
		       "`basaltctl alias add %s ADDRESS`\n", address, address);
}

int
domain_add(struct ctl *ctl)
{
	char domain[BS_DOMAIN_MAX + 1];
	int rc = ctl_domain_arg(ctl->args.words[0], domain);
	enum bs_err err;

	if (rc == CTL_OK)
		rc = ctl_open_store(ctl);
	if (rc != CTL_OK)
		return rc;
	err = bs_domain_add(ctl->store, domain);
	if (err != BS_OK)
		return ctl_fail(err, "domain %s: %s", domain, ctl_store_text(ctl, err));
	hint_postmaster(ctl, domain);
	return CTL_OK;
}

int
domain_remove(struct ctl *ctl)
{
	char domain[BS_DOMAIN_MAX + 1];
	int rc = ctl_domain_arg(ctl->args.words[0], domain);
	enum bs_err err;

	if (rc == CTL_OK)
		rc = ctl_open_store(ctl);
	if (rc != CTL_OK)
		return rc;
	err = bs_domain_remove(ctl->store, domain);
	if (err == BS_ERR_CONFLICT) {
		ctl_fail(err, "domain %s still has accounts or aliases: remove them first "
		              "(basaltctl account list --domain %s, basaltctl alias list)", domain, domain);
		return CTL_FAILED;
	}
	return err == BS_OK ? CTL_OK : ctl_fail(err, "domain %s: %s", domain, ctl_store_text(ctl, err));
}

/* --- show --- */

static enum bs_err
count_account(void *ctx, const struct bs_account *account)
{
	(void)account;
	(*(json_int_t *)ctx)++;
	return BS_OK;
}

static enum bs_err
take_target(void *ctx, const char *alias, const char *target)
{
	(void)alias;
	return json_array_append_new(ctx, json_string(target)) == 0 ? BS_OK : BS_ERR_NOMEM;
}

static enum bs_err
look_at(struct ctl *ctl, const char *domain, json_int_t *accounts, json_t *targets, json_t *preferences)
{
	char catch_all[BS_DOMAIN_MAX + 2];
	enum bs_err err = bs_domain_exists(ctl->store, domain);

	snprintf(catch_all, sizeof(catch_all), "@%s", domain);
	if (err == BS_OK)
		err = bs_account_list(ctl->store, domain, count_account, accounts);
	if (err == BS_OK)
		err = bs_alias_list(ctl->store, catch_all, take_target, targets);
	if (err == BS_OK)
		err = bs_preference_list(ctl->store, BS_SCOPE_DOMAIN, domain, ctl_append_preference, preferences);
	return err;
}

static void
print_shown(const char *domain, json_int_t accounts, json_t *targets, json_t *preferences)
{
	const json_t *value;
	const char *item;
	size_t i;

	printf("domain:      %s\naccounts:    %lld\n", domain, (long long)accounts);
	json_array_foreach(targets, i, value)
		printf("stray mail:  to %s\n", json_string_value(value));
	json_object_foreach(preferences, item, value)
		printf("preference:  %s=%s\n", item, json_string_value(value));
}

int
domain_show(struct ctl *ctl)
{
	char domain[BS_DOMAIN_MAX + 1];
	json_t *targets = json_array(), *preferences = json_object();
	json_int_t accounts = 0;
	enum bs_err err;
	int rc = ctl_domain_arg(ctl->args.words[0], domain);

	if (rc == CTL_OK)
		rc = ctl_open_store(ctl);
	if (rc != CTL_OK)
		goto out;
	err = look_at(ctl, domain, &accounts, targets, preferences);
	if (err != BS_OK)
		rc = ctl_fail(err, "domain %s: %s", domain, ctl_store_text(ctl, err));
	else if ((ctl->args.given & CTL_JSON) != 0)
		rc = ctl_print_json(json_pack("{s:s, s:I, s:O, s:O}", "domain", domain, "accounts", accounts, "catch_all", targets,
		    "preferences", preferences));
	else
		print_shown(domain, accounts, targets, preferences);
out:
	json_decref(targets);
	json_decref(preferences);
	return rc;
}

/* --- list --- */

static enum bs_err
print_domain(void *ctx, const char *domain)
{
	(void)ctx;
	printf("%s\n", domain);
	return BS_OK;
}

static enum bs_err
append_domain(void *ctx, const char *domain)
{
	return json_array_append_new(ctx, json_string(domain)) == 0 ? BS_OK : BS_ERR_NOMEM;
}

int
domain_list(struct ctl *ctl)
{
	json_t *list;
	int rc = ctl_begin_list(ctl, &list);
	enum bs_err err;

	if (rc != CTL_OK)
		return rc;
	err = bs_domain_list(ctl->store, list != NULL ? append_domain : print_domain, list);
	return ctl_end_list(ctl, list, err, "domains");
}

int
db_migrate(struct ctl *ctl)
{
	int rc = ctl_open_store(ctl); /* which migrates */

	if (rc == CTL_OK)
		printf("policy database: schema is up to date\n");
	return rc;
}
