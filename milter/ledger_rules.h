/*
 * ledger_rules: what a row of the ledger means, and how it goes on. Pure functions.
 *
 *     if (ledger_rule_fits(row, 100, now_s)) ledger_rule_add(row, now_s);
 *     greeting = ledger_rule_greet(grey, client, &settings, now_s, &wait_s);
 */
#ifndef MILTER_LEDGER_RULES_H
#define MILTER_LEDGER_RULES_H

#include "ledger.h"

/* A counter: since is the beginning of the hour by the clock in which n were counted, earlier the count of the hour before it. */
bool ledger_rule_fits(const struct bs_ledger_row *row, int64_t limit, int64_t now_s);
void ledger_rule_add(struct bs_ledger_row *row, int64_t now_s);

/*
 * The greylist. grey: since when it is known, n whether it has passed. client: n times a message of it passed. Both are changed as
 * what is said asks for.
 */
enum ledger_greeting ledger_rule_greet(struct bs_ledger_row *grey, struct bs_ledger_row *client,
    const struct ledger_greylist *settings, int64_t now_s, int64_t *wait_s);

#endif
