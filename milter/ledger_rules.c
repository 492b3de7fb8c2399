#include "ledger_rules.h"

#define RENEW_S 86400 /* a row that is in use is kept alive by one write a day */

/* A clock may be behind that of the milter that wrote the row. */
static int64_t
not_before(int64_t now_s, const struct bs_ledger_row *row)
{
	return now_s < row->since ? row->since : now_s;
}

/* The row as it is to be read now: in the hour of now. */
static void
move_on(struct bs_ledger_row *row, int64_t now_s)
{
	int64_t hour = now_s - now_s % LEDGER_HOUR_S;

	if (row->since == hour)
		return;
	row->earlier = row->since == hour - LEDGER_HOUR_S ? row->n : 0;
	row->n = 0;
	row->since = hour;
}

bool
ledger_rule_fits(const struct bs_ledger_row *row, int64_t limit, int64_t now_s)
{
	struct bs_ledger_row now = *row;

	now_s = not_before(now_s, row);
	move_on(&now, now_s);
	return now.earlier * (LEDGER_HOUR_S - now_s % LEDGER_HOUR_S) + (now.n + 1) * LEDGER_HOUR_S <= limit * LEDGER_HOUR_S;
}

void
ledger_rule_add(struct bs_ledger_row *row, int64_t now_s)
{
	move_on(row, not_before(now_s, row));
	row->n++;
	row->expires = row->since + 2 * LEDGER_HOUR_S;
}

static bool
is_known(const struct bs_ledger_row *row, int64_t now_s)
{
	return row->expires != 0 && row->expires >= now_s;
}

static void
renew(struct bs_ledger_row *row, int64_t now_s, int64_t keep_s)
{
	int64_t slack_s = keep_s / 2 < RENEW_S ? keep_s / 2 : RENEW_S;

	if (row->expires < now_s + keep_s - slack_s)
		row->expires = now_s + keep_s;
}

static void
count_pass(struct bs_ledger_row *client, const struct ledger_greylist *settings, int64_t now_s)
{
	if (!is_known(client, now_s)) {
		client->since = now_s;
		client->n = 0;
	}
	client->n++;
	client->expires = now_s + settings->keep_s;
}

enum ledger_greeting
ledger_rule_greet(struct bs_ledger_row *grey, struct bs_ledger_row *client, const struct ledger_greylist *settings, int64_t now_s,
    int64_t *wait_s)
{
	*wait_s = 0;
	if (settings->passes > 0 && is_known(client, now_s) && client->n >= settings->passes) {
		renew(client, now_s, settings->keep_s);
		return LEDGER_TRUST;
	}
	if (!is_known(grey, now_s)) {
		grey->since = now_s;
		grey->n = 0;
		grey->expires = now_s + settings->delay_s + settings->window_s;
		*wait_s = settings->delay_s;
		return settings->delay_s > 0 ? LEDGER_NEW : LEDGER_PASS;
	}
	if (grey->n == 0 && now_s - grey->since < settings->delay_s) {
		*wait_s = settings->delay_s - (now_s > grey->since ? now_s - grey->since : 0);
		return LEDGER_EARLY;
	}
	grey->n = 1;
	renew(grey, now_s, settings->keep_s);
	if (settings->passes > 0)
		count_pass(client, settings, now_s);
	return LEDGER_PASS;
}
