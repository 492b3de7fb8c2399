/*
 * chain: would one more alias close a loop? Walks from its target through the aliases that exist, breadth first.
 *
 * As basalt-milter walks: extensions aside, a domain's catch-all behind its accounts and aliases, and an alias that names
 * itself ends there ("and the account of this name"). Bounded: what is longer or wider than the milter follows is no good either. Errors: BS_ERR_EXISTS (text has the loop),
 * BS_ERR_LIMIT (text says which), the store's, BS_ERR_NOMEM. One thread.
 *
 *     err = ctl_chain_check(ctl->store, "a1@example.org", "a2@example.org", text, sizeof(text));
 */
#ifndef CTL_CHAIN_H
#define CTL_CHAIN_H

#include "store_policy.h"

#define CTL_CHAIN_DEPTH_MAX 10 /* milter/resolve.h has the same two */
#define CTL_CHAIN_VISITS_MAX 500

enum bs_err ctl_chain_check(struct bs_store_policy *store, const char *alias, const char *target, char *text,
    size_t size) BS_MUST_USE;

#endif
