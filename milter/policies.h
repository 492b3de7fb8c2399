/*
 * policies: effective policies, each kept once, however many addresses share it.
 *
 * A policy is half a kilobyte and most accounts' are alike, so what the resolver remembers points into here. What is
 * taken stays as it is until it is given back; the table goes when its owner and the last policy have gone. Any thread.
 *
 *     const struct bs_policy *kept = policies_take(table, &policy);    // NULL: out of memory
 *     policies_give(kept);
 */
#ifndef MILTER_POLICIES_H
#define MILTER_POLICIES_H

#include <stddef.h>

#include "policy.h"

struct policies;

/* NULL when out of memory. */
struct policies *policies_new(void);
void policies_free(struct policies *table);
/* The kept copy of policy. table NULL: a copy of its own. */
const struct bs_policy *policies_take(struct policies *table, const struct bs_policy *policy);
/* NULL is legal. */
void policies_give(const struct bs_policy *kept);
/* How many different ones are kept. */
size_t policies_count(struct policies *table);

#endif
