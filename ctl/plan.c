/* basaltctl plan */
#include <string.h>

#include "ctl.h"
#include "verbs.h"

/* Rows come while the store is busy, so that their preferences are asked for afterwards. */
static enum bs_err
append_plan(void *ctx, const struct bs_plan *plan)
{
	json_t *linger = plan->linger_s == BS_LINGER_DEFAULT ? json_null() : json_integer(plan->linger_s);
	json_t *row = json_pack("{s:s, s:b, s:b, s:o, s:{}}", "name", plan->name, "sealed", plan->sealed, "compress",
	    plan->compress, "linger_s", linger, "preferences");

	return json_array_append_new(ctx, row) == 0 ? BS_OK : BS_ERR_NOMEM;
}

static enum bs_err
add_preferences(struct ctl *ctl, json_t *list)
{
	enum bs_err err = BS_OK;
	json_t *row;
	size_t i;

	json_array_foreach(list, i, row) {
		if (err == BS_OK)
			err = bs_preference_list(ctl->store, BS_SCOPE_PLAN, json_string_value(json_object_get(row, "name")),
			    ctl_append_preference, json_object_get(row, "preferences"));
	}
	return err;
}

static void
print_plan(const json_t *row)
{
	json_t *value = json_object_get(row, "linger_s");
	const char *item;

	printf("%-16s sealed=%s compress=%s linger_s=", json_string_value(json_object_get(row, "name")),
	    json_is_true(json_object_get(row, "sealed")) ? "yes" : "no",
	    json_is_true(json_object_get(row, "compress")) ? "yes" : "no");
	if (json_is_null(value))
		printf("default");
	else
		printf("%lld", (long long)json_integer_value(value));
	json_object_foreach(json_object_get(row, "preferences"), item, value)
		printf(" %s=%s", item, json_string_value(value));
	printf("\n");
}

int
plan_list(struct ctl *ctl)
{
	json_t *list, *row;
	size_t i;
	enum bs_err err;
	int rc = ctl_open_store(ctl);

	if (rc != CTL_OK)
		return rc;
	list = json_array();
	err = bs_plan_list(ctl->store, append_plan, list);
	if (err == BS_OK)
		err = add_preferences(ctl, list);
	if (err != BS_OK || (ctl->args.given & CTL_JSON) != 0)
		return ctl_end_list(ctl, list, err, "plans");
	json_array_foreach(list, i, row)
		print_plan(row);
	json_decref(list);
	return CTL_OK;
}

int
plan_remove(struct ctl *ctl)
{
	const char *name = ctl->args.words[0];
	struct bs_plan plan = { 0 };
	enum bs_err err;
	int rc = ctl_open_store(ctl);

	if (rc == CTL_OK)
		rc = ctl_plan_arg(ctl, name, &plan);
	if (rc != CTL_OK)
		return rc;
	err = bs_plan_remove(ctl->store, plan.name);
	if (err == BS_ERR_CONFLICT) {
		ctl_fail(err, "plan %s still has accounts: give them another one first (basaltctl account list, basaltctl account "
		              "plan ADDRESS PLAN)", name);
		return CTL_FAILED;
	}
	return err == BS_OK ? CTL_OK : ctl_fail(err, "plan %s: %s", name, ctl_store_text(ctl, err));
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

static bool
parse_linger(const char *text, int64_t *out)
{
	uint32_t seconds = 0;
	bool own = strcmp(text, "default") != 0;

	if (own && !ctl_args_seconds(text, &seconds))
		return false;
	*out = own ? (int64_t)seconds : BS_LINGER_DEFAULT;
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
		return parse_linger(word + 9, &plan->linger_s);
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
	struct bs_plan plan = { .sealed = true, .compress = true, .linger_s = BS_LINGER_DEFAULT };
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
			ctl_fail(BS_ERR_ARG, "`%s`: use sealed=yes|no, compress=yes|no, linger_s=SECONDS|default", ctl->args.words[i]);
			return CTL_USAGE;
		}
	}
	err = bs_plan_set(ctl->store, &plan);
	return err == BS_OK ? CTL_OK : ctl_fail(err, "plan %s: %s", name, ctl_store_text(ctl, err));
}
