/* basaltctl status */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "milterclient.h"
#include "verbs.h"

static json_t *
trouble(const char *text)
{
	return json_pack("{s:b, s:s}", "ok", 0, "error", text);
}

static enum bs_err
count_domain(void *ctx, const char *domain)
{
	(void)domain;
	++*(json_int_t *)ctx;
	return BS_OK;
}

static enum bs_err
count_account(void *ctx, const struct bs_account *account)
{
	(void)account;
	++*(json_int_t *)ctx;
	return BS_OK;
}

/* Looks only: a status never changes a schema. */
static json_t *
database_status(struct ctl *ctl)
{
	json_int_t domains = 0, accounts = 0;
	enum bs_err err = bs_store_policy_open(ctl->settings.database, ctl->settings.database_password_file,
	    (int)ctl->settings.database_timeout_ms, false, &ctl->store);

	if (err == BS_OK)
		err = bs_domain_list(ctl->store, count_domain, &domains);
	if (err == BS_OK)
		err = bs_account_list(ctl->store, NULL, count_account, &accounts);
	if (err != BS_OK)
		return trouble(bs_store_policy_errmsg(ctl->store));
	return json_pack("{s:b, s:I, s:I}", "ok", 1, "domains", domains, "accounts", accounts);
}

/* A keyd that can't read or write its database serves nobody for long. */
static json_t *
with_keys_database(json_t *json)
{
	const char *database = json_string_value(json_object_get(json, "database"));
	char text[256];

	if (database == NULL || strcmp(database, "ok") == 0)
		return json;
	(void)snprintf(text, sizeof(text), "the keys database can't be read, or the last change could not be written (%s); keyd's log says why", database);
	json_object_set_new(json, "ok", json_false());
	json_object_set_new(json, "error", json_string(text));
	return json;
}

static json_t *
keyd_status(struct ctl *ctl)
{
	char path[512], text[2048];
	char *answer = NULL;
	json_t *json;
	enum bs_err err;

	snprintf(path, sizeof(path), "%s/%s", ctl->settings.keyd, BS_SOCKET_CONTROL);
	err = bs_keyclient_connect(path, (int)ctl->settings.timeout_ms, &ctl->keyd);
	if (err == BS_OK)
		err = bs_keyclient_status(ctl->keyd, &answer);
	if (err != BS_OK) {
		snprintf(text, sizeof(text), "%s: %s; does basalt-keyd run, and is its keyd.run_dir what ctl.keyd in %.500s says?",
		    path, bs_err_text(err), ctl->conf_path);
		return trouble(text);
	}
	json = milterclient_parse(answer, strlen(answer));
	free(answer);
	return with_keys_database(json);
}

/* name: "milter" of basalt-milter and milter_control. */
static json_t *
daemon_status(const struct ctl *ctl, const char *name, const char *path)
{
	struct milterclient *client = NULL;
	json_t *json = NULL;
	enum bs_err err = milterclient_open(path, (int)ctl->settings.timeout_ms, &client);

	if (err == BS_OK)
		err = milterclient_ask(client, json_pack("{s:s}", "op", "status"), &json);
	milterclient_close(client);
	if (err == BS_OK)
		return json;
	return json_pack("{s:b, s:o}", "ok", 0, "error", milterclient_trouble(ctl, name, path, err));
}

/* "  key: value" for every member but "ok"; objects one level further in. */
static void
print_members(json_t *json, int indent)
{
	const char *key;
	json_t *value;

	json_object_foreach(json, key, value) {
		char *text;

		if (strcmp(key, "ok") == 0)
			continue;
		printf("%*s%s:", indent, "", key);
		if (json_is_object(value)) {
			printf("\n");
			print_members(value, indent + 2);
			continue;
		}
		text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);
		printf(" ");
		ctl_print_path(stdout, text != NULL ? text : json_is_string(value) ? json_string_value(value) : "?");
		printf("\n");
		free(text);
	}
}

static void
print_part(const char *name, json_t *json)
{
	printf("%s: %s\n", name, json_is_true(json_object_get(json, "ok")) ? "ok" : "NOT AVAILABLE");
	print_members(json, 2);
}

int
status_show(struct ctl *ctl)
{
	int rc = ctl_load_settings(ctl);
	json_t *all, *part;
	const char *name;

	if (rc != CTL_OK)
		return rc;
	all = json_object();
	json_object_set_new(all, "database", database_status(ctl));
	json_object_set_new(all, "keyd", keyd_status(ctl));
	if (ctl->settings.milter_control[0] != '\0')
		json_object_set_new(all, "milter", daemon_status(ctl, "milter", ctl->settings.milter_control));
	if (ctl->settings.lmtp_control[0] != '\0')
		json_object_set_new(all, "lmtp", daemon_status(ctl, "lmtp", ctl->settings.lmtp_control));
	json_object_foreach(all, name, part) {
		if (!json_is_true(json_object_get(part, "ok")))
			rc = CTL_TEMPFAIL;
		if ((ctl->args.given & CTL_JSON) == 0)
			print_part(name, part);
	}
	if ((ctl->args.given & CTL_JSON) == 0) {
		json_decref(all);
		return rc;
	}
	return ctl_print_json(all) == CTL_OK ? rc : CTL_FAILED;
}
