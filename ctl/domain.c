/* basaltctl domain, basaltctl db */
#include "ctl.h"
#include "verbs.h"

static int
domain_arg(const char *word, char out[BS_DOMAIN_MAX + 1])
{
	if (bs_domain_parse(word, out) == BS_OK)
		return CTL_OK;
	ctl_fail(BS_ERR_ARG, "`%s` is no domain name", word);
	return CTL_USAGE;
}

static enum bs_err
find_any(void *ctx, const char *alias, const char *target)
{
	(void)alias;
	(void)target;
	*(bool *)ctx = true;
	return BS_OK;
}

/* RFC 5321 section 4.5.1: a domain that takes mail takes it for postmaster. A hint only: no error of its own. */
static void
hint_postmaster(struct ctl *ctl, const char *domain)
{
	char address[BS_ADDRESS_MAX + 16];
	struct bs_account account;
	bool found = false;

	snprintf(address, sizeof(address), "postmaster@%s", domain);
	if (bs_account_get(ctl->store, address, &account) == BS_ERR_NOENT &&
	    bs_alias_list(ctl->store, address, find_any, &found) == BS_OK && !found)
		printf("there is no %s yet, which every mail domain must have (RFC 5321, 4.5.1): "
		       "`basaltctl alias add %s ADDRESS`\n", address, address);
}

int
domain_add(struct ctl *ctl)
{
	char domain[BS_DOMAIN_MAX + 1];
	int rc = domain_arg(ctl->args.words[0], domain);
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
	int rc = domain_arg(ctl->args.words[0], domain);
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
