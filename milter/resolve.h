/*
 * resolve: what an address of ours is, and which final addresses stand behind it, asked of the policy store with a
 * deadline and remembered for a short while.
 *
 * The order is Postfix's, so that both always agree: the domain; then an alias of the address without "+extension" (the
 * extension is carried over to each target); then the account; then the domain's catch-all alias "@domain". An alias may name itself to say "and the account of this
 * name". Expansion is bounded in depth and width. Disabled targets are left out. Targets of
 * ours that do not exist stay, as long as another one does: their copy waits in the queue instead of vanishing.
 * Who may send as an address: the account of that name and nobody else, even where its mail is diverted; for an alias that
 * is no account, every enabled account that its mail reaches, but not those that a catch-all leads to.
 * A domain that was asked for before is answered from memory, however old, while the store does not answer: Postfix's
 * smtpd keeps a failed look-up of a domain for as long as it lives, and no mail is let in by a domain alone.
 * What is known and what is unknown are remembered apart, so that a dictionary attack cannot push accounts out. No
 * more look-ups run at a time than the pool has threads, and never two of one key: who asks for what somebody is being told
 * gets that answer.
 *
 * A resolution is immutable and reference counted. Any thread.
 * Errors: those of pool.h (all transient), BS_ERR_ARG (no address at all).
 *
 *     err = resolver_get(resolver, "team@example.org", bs_now_ms() + 2000, &res);
 *     if (err == BS_OK && res->state == RESOLVE_ALIAS) ...
 *     resolution_unref(res);
 */
#ifndef MILTER_RESOLVE_H
#define MILTER_RESOLVE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "cache.h"
#include "err.h"
#include "policy.h"
#include "pool.h"

#define RESOLVE_DEPTH_MAX 10
#define RESOLVE_TARGETS_MAX 200
#define RESOLVE_VISITS_MAX 500 /* addresses looked at for one resolution */

enum resolve_state {
	RESOLVE_FOREIGN,  /* the domain is not one of ours: Postfix decides */
	RESOLVE_DOMAIN,   /* asked for a domain: it is ours */
	RESOLVE_ACCOUNT,  /* one target: the address itself */
	RESOLVE_ALIAS,    /* at least one target */
	RESOLVE_UNKNOWN,  /* no such address, or an alias of which no target exists */
	RESOLVE_DISABLED, /* an account that is switched off, or an alias of such only */
	RESOLVE_BROKEN,   /* an alias loop, too deep or too wide: for the admin to mend */
};

/* A final address, and what its account wants. */
struct resolution_target {
	char *address;                  /* lower-case, with its extension */
	bool ours;                      /* an account of ours that exists and is enabled */
	const struct bs_policy *policy; /* effective; where it is not ours, its domain's, or else the site's */
};

struct resolution {
	atomic_uint refs;
	enum resolve_state state;
	const char *why; /* RESOLVE_BROKEN: a static text; else NULL */
	char *logins;    /* "a@x.org, b@x.org": the accounts that may send as this address; NULL: nobody */
	const struct bs_policy *policy; /* of the address itself: its account's, or else its domain's, or else the site's */
	unsigned ignored; /* preferences on the way that are not understood, and count as not set */
	size_t n;
	struct resolution_target targets[]; /* each address once */
};

struct resolver;

struct resolver_settings {
	int64_t known_ms;   /* how long an answer is remembered */
	int64_t unknown_ms; /* the same where there is no such address */
	size_t entries_max; /* of each of the two */
};

struct resolver_stats {
	struct cache_stats known, unknown;
	uint64_t statements; /* that look-ups cost */
};

/* pool is borrowed. NULL when out of memory. */
struct resolver *resolver_new(struct pool *pool, const struct resolver_settings *settings);
/* After pool_free(). */
void resolver_free(struct resolver *resolver);

/* key is an address, or a domain (no '@'). Waits until deadline_ms at most. *out: with a reference for the caller. */
enum bs_err resolver_get(struct resolver *resolver, const char *key, int64_t deadline_ms, struct resolution **out)
    BS_MUST_USE;
/*
 * The same without waiting: either *out is there at once and *job NULL, or *job is to be polled by pool_done() and
 * handed to resolver_take().
 */
enum bs_err resolver_begin(struct resolver *resolver, const char *key, int64_t deadline_ms, int notify_fd,
    struct resolution **out, struct pool_job **job) BS_MUST_USE;
/*
 * Ends a job with what pool_done() said, or BS_ERR_TIMEOUT when its caller's time is up; releases it. *out is there if it
 * is BS_OK, or if it failed and an old answer may be used.
 */
enum bs_err resolver_take(struct resolver *resolver, struct pool_job *job, enum bs_err result, struct resolution **out)
    BS_MUST_USE;

struct resolution *resolution_ref(struct resolution *res);
void resolution_unref(struct resolution *res); /* NULL is legal */
const char *resolve_state_text(enum resolve_state state);
void resolver_stats(struct resolver *resolver, struct resolver_stats *out);

#endif
