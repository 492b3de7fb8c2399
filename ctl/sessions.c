/* basaltctl session: whose keys are open in keyd, and how to shut them. */
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "key.h"
#include "keyclient_sessions.h"
#include "verbs.h"

static json_t *
sessions_json(const struct bs_open_account *account)
{
	json_t *all = json_array();

	for (size_t i = 0; i < account->listed_count; i++) {
		const struct bs_open_session *one = &account->listed[i];
		char since[32];

		ctl_time(one->since, since);
		json_array_append_new(all, json_pack("{s:s, s:s, s:I}", "service", one->service, "since", since, "pid", (json_int_t)one->pid));
	}
	return all;
}

static enum bs_err
append(void *ctx, const struct bs_open_account *account)
{
	char since[32], used[32];
	json_t *row;

	ctl_time(account->since, since);
	ctl_time(account->used, used);
	row = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:o}", "address", account->user, "unlocked", since, "used", used, "linger_left_s",
	    (json_int_t)account->linger_left_s, "tokens", (json_int_t)account->tokens, "sessions", (json_int_t)account->sessions, "list",
	    sessions_json(account));
	return json_array_append_new(ctx, row) == 0 ? BS_OK : BS_ERR_NOMEM;
}

/* " imap 3, pop3 1": services in the order of their first session. */
static void
print_services(const struct bs_open_account *account)
{
	const struct bs_open_session *all = account->listed;
	const char *comma = "";

	for (size_t i = 0; i < account->listed_count; i++) {
		size_t before = 0, n = 0;

		for (size_t k = 0; k < account->listed_count; k++) {
			bool same = strcmp(all[k].service, all[i].service) == 0;

			n += same;
			before += same && k < i;
		}
		if (before > 0)
			continue;
		printf("%s ", comma);
		ctl_print_path(stdout, all[i].service);
		printf(" %zu", n);
		comma = ",";
	}
}

static enum bs_err
print(void *ctx, const struct bs_open_account *account)
{
	char since[32], used[32];

	(void)ctx;
	ctl_time(account->since, since);
	ctl_time(account->used, used);
	printf("%s unlocked %s, used %s:", account->user, since, used);
	if (account->sessions == 0)
		printf(" no session");
	if (account->sessions == 0 && account->tokens == 0)
		printf(", keys stay %u s more", account->linger_left_s);
	print_services(account);
	if (account->tokens > 0)
		printf(", %u hibernated or on their way", account->tokens);
	printf("\n");
	return BS_OK;
}

int
session_list(struct ctl *ctl)
{
	json_t *list = (ctl->args.given & CTL_JSON) != 0 ? json_array() : NULL;
	char address[BS_ADDRESS_MAX + 1] = "";
	int rc = ctl->args.n > 0 ? ctl_begin_key(ctl, address) : ctl_open_keyd(ctl);
	enum bs_err err;

	if (rc == CTL_OK) {
		err = bs_keyclient_sessions(ctl->keyd, address, list != NULL ? append : print, list);
		if (err != BS_OK)
			rc = ctl_fail(err, "listing sessions: %s", ctl_keyd_text(err));
	}
	if (rc == CTL_OK && list != NULL)
		return ctl_print_json(list);
	json_decref(list);
	return rc;
}

int
session_end(struct ctl *ctl)
{
	char address[BS_ADDRESS_MAX + 1];
	int rc = ctl_begin_key(ctl, address);
	uint8_t record[BS_RECORD_MAX];
	size_t len = 0;
	unsigned ended = 0;
	enum bs_err err;

	if (rc != CTL_OK)
		return rc;
	err = bs_keyclient_end_sessions(ctl->keyd, address, &ended);
	if (err != BS_OK)
		return ctl_fail(err, "ending the sessions of %s: %s", address, ctl_keyd_text(err));
	/* Asked last: who is there is put out even while the database is away. */
	if (ended == 0 && bs_keyclient_record(ctl->keyd, address, record, &len) == BS_ERR_NOENT)
		return ctl_fail(BS_ERR_NOENT, "account %s does not exist", address);
	printf("%u ended\n", ended);
	return CTL_OK;
}
