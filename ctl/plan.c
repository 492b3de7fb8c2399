/* basaltctl plan */
#include <string.h>

#include "ctl.h"
#include "verbs.h"

static enum bs_err
print_plan(void *ctx, const struct bs_plan *plan)
{
	(void)ctx;
	printf("%-16s sealed=%s compress=%s linger_s=%u\n", plan->name, plan->sealed ? "yes" : "no",
	    plan->compress ? "yes" : "no", plan->linger_s);
	return BS_OK;
}

static enum bs_err
append_plan(void *ctx, const struct bs_plan *plan)
{
	json_t *row = json_pack("{s:s, s:b, s:b, s:I}", "name", plan->name, "sealed", plan->sealed, "compress",
	    plan->compress, "linger_s", (json_int_t)plan->linger_s);

	return json_array_append_new(ctx, row) == 0 ? BS_OK : BS_ERR_NOMEM;
}

int
plan_list(struct ctl *ctl)
{
	json_t *list;
	int rc = ctl_begin_list(ctl, &list);
	enum bs_err err;

	if (rc != CTL_OK)
		return rc;
	err = bs_plan_list(ctl->store, list != NULL ? append_plan : print_plan, list);
	return ctl_end_list(ctl, list, err, "plans");
}

static bool
parse_bool(const char *text, bool *out)
{
	bool yes = strcmp(text, "yes") == 0;

	if (!yes && strcmp(text, "no") != 0)
		return false;
	*out = yes;
	return true;
}

/* One KEY=VALUE. */
static bool
set_one(struct bs_plan *plan, const char *word)
{
	if (strncmp(word, "sealed=", 7) == 0)
		return parse_bool(word + 7, &plan->sealed);
	if (strncmp(word, "compress=", 9) == 0)
		return parse_bool(word + 9, &plan->compress);
	if (strncmp(word, "linger_s=", 9) == 0)
		return ctl_args_seconds(word + 9, &plan->linger_s);
	return false;
}

static bool
name_ok(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len <= BS_PLAN_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

int
plan_set(struct ctl *ctl)
{
	struct bs_plan plan = { .sealed = true, .compress = true, .linger_s = 900 };
	const char *name = ctl->args.words[0];
	enum bs_err err;
	int rc;

	if (!name_ok(name)) {
		ctl_fail(BS_ERR_ARG, "plan names are 1 to %d of a-z, 0-9, _ and -", BS_PLAN_NAME_MAX);
		return CTL_USAGE;
	}
	rc = ctl_open_store(ctl);
	if (rc != CTL_OK)
		return rc;
	err = bs_plan_get(ctl->store, name, &plan);
	if (err != BS_OK && err != BS_ERR_NOENT)
		return ctl_fail(err, "plan %s: %s", name, ctl_store_text(ctl, err));
	snprintf(plan.name, sizeof(plan.name), "%s", name);
	for (int i = 1; i < ctl->args.n; i++) {
		if (!set_one(&plan, ctl->args.words[i])) {
			ctl_fail(BS_ERR_ARG, "`%s`: use sealed=yes|no, compress=yes|no, linger_s=SECONDS", ctl->args.words[i]);
			return CTL_USAGE;
		}
	}
	err = bs_plan_set(ctl->store, &plan);
	return err == BS_OK ? CTL_OK : ctl_fail(err, "plan %s: %s", name, ctl_store_text(ctl, err));
}
