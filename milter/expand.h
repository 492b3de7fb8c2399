/*
 * expand: the walk from an address through aliases to accounts, with one store handle, on the thread that owns it.
 *
 * Reads the store only; bounded by RESOLVE_DEPTH_MAX, RESOLVE_TARGETS_MAX and RESOLVE_VISITS_MAX, and by the deadline,
 * which is looked at between two statements, of which each address on the way costs one. Errors: the store's, BS_ERR_TIMEOUT, BS_ERR_NOMEM.
 *
 *     err = expand_address(store, policies, "team+x@example.org", deadline_ms, &res);
 */
#ifndef MILTER_EXPAND_H
#define MILTER_EXPAND_H

#include "policies.h"
#include "resolve.h"
#include "store_policy.h"

/* *out has one reference. policies keeps what each address's account wants. An address that bs_address_parse() refuses is
 * unknown if the domain is ours. */
enum bs_err expand_address(struct bs_store_policy *store, struct policies *policies, const char *address,
    int64_t deadline_ms, struct resolution **out) BS_MUST_USE;
enum bs_err expand_domain(struct bs_store_policy *store, struct policies *policies, const char *domain,
    struct resolution **out) BS_MUST_USE;

/* A resolution without targets, with the policy that nobody has set; NULL when out of memory. */
struct resolution *resolution_new(enum resolve_state state, const char *why);

#endif
