/* basaltctl history: what became of mail, from the policy database. */
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "store_policy_history.h"
#include "trace_key.h"
#include "verbs.h"

#define LINES 50
#define LINES_MAX 100000

static void
time_of(const struct bs_history_row *row, char out[32])
{
	ctl_time((uint64_t)row->at, out);
}

struct rows {
	json_t *list; /* NULL: they are printed */
	size_t n;
};

static enum bs_err
print_row(void *ctx, const struct bs_history_row *row)
{
	struct rows *rows = ctx;
	char when[32];

	rows->n++;
	time_of(row, when);
	printf("%s  %-8s %-10s %-8s %s\n", when, row->outcome, row->by[0] != '\0' ? row->by : "-",
	    row->reply[0] != '\0' ? row->reply : "-", row->queue_id[0] != '\0' ? row->queue_id : "-");
	return BS_OK;
}

static enum bs_err
append_row(void *ctx, const struct bs_history_row *row)
{
	char when[32], account[2 * BS_HISTORY_ID_LEN + 1], sender[2 * BS_HISTORY_ID_LEN + 1];
	struct rows *rows = ctx;

	rows->n++;
	time_of(row, when);
	ctl_hex(row->account, BS_HISTORY_ID_LEN, account);
	ctl_hex(row->sender, BS_HISTORY_ID_LEN, sender);
	return json_array_append_new(rows->list, json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:s}", "time", when, "at",
	    (json_int_t)row->at, "outcome", row->outcome, "by", row->by, "reply", row->reply, "queue_id", row->queue_id,
	    "account_hash", account, "sender_hash", sender)) == 0 ? BS_OK : BS_ERR_NOMEM;
}

/* The account that is asked about, and its hash; CTL_OK, or it has been said what is wrong. */
static int
hash_account(struct ctl *ctl, const char *word, char address[BS_ADDRESS_MAX + 1], uint8_t out[BS_HISTORY_ID_LEN])
{
	char why[512];
	uint8_t key[BS_KEY_LEN];
	enum bs_err err;
	int rc = ctl_address_arg(word, address);

	if (rc != CTL_OK)
		return rc;
	if (ctl->settings.trace_key_file[0] == '\0')
		return ctl_fail(BS_ERR_CONF, "ctl.trace_key_file in %s is empty: history is found by hashes under the milter's "
		    "milter.trace_key_file", ctl->conf_path);
	err = bs_trace_key_read(ctl->settings.trace_key_file, key, why, sizeof(why));
	if (err != BS_OK)
		return ctl_fail(err, "%s", why);
	bs_address_base(address, address);
	err = bs_trace_hash(key, "history", address, "", "", out);
	bs_wipe(key, sizeof(key));
	return err == BS_OK ? CTL_OK : ctl_fail(err, "%s: %s", address, bs_err_text(err));
}

/* --limit; 0: it has been said what is wrong. */
static size_t
lines(const struct ctl_args *args)
{
	const char *text = ctl_arg(args, CTL_LIMIT);
	char *end = NULL;
	long n = text != NULL ? strtol(text, &end, 10) : LINES;

	if (text == NULL || (*text != '\0' && *end == '\0' && n > 0 && n <= LINES_MAX))
		return (size_t)n;
	(void)ctl_fail(BS_ERR_ARG, "--limit takes a number from 1 to %d", LINES_MAX);
	return 0;
}

/* A mistyped address has no history either. */
static void
explain_nothing(const struct ctl *ctl, const char *address)
{
	struct bs_account account;

	if (bs_account_get(ctl->store, address, &account) == BS_ERR_NOENT)
		fprintf(stderr, "basaltctl: there is no account %s now, and nothing in the history of that address\n", address);
	else
		fprintf(stderr, "basaltctl: nothing of %s is in the history\n", address);
}

int
history_show(struct ctl *ctl)
{
	const char *word = ctl_arg(&ctl->args, CTL_ACCOUNT);
	size_t max = lines(&ctl->args);
	char address[BS_ADDRESS_MAX + 1] = "";
	uint8_t account[BS_HISTORY_ID_LEN];
	struct rows rows = { 0 };
	enum bs_err err;
	int rc;

	if (max == 0)
		return CTL_USAGE;
	rc = ctl_begin_list(ctl, &rows.list);
	if (rc == CTL_OK && word != NULL)
		rc = hash_account(ctl, word, address, account);
	if (rc != CTL_OK)
		return rc;
	err = bs_history_list(ctl->store, word != NULL ? account : NULL, max, rows.list != NULL ? append_row : print_row, &rows);
	if (err == BS_OK && rows.n == 0 && word != NULL)
		explain_nothing(ctl, address);
	return ctl_end_list(ctl, rows.list, err, "history");
}
