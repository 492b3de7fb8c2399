/*
 * dns_unbound: the one resolver of the process, on libunbound: a cache, a deadline for each query, counters.
 *
 * libunbound works in a thread of its own and a second one hands out what it found; a caller waits for its own query and
 * never longer than its deadline, so that a dead or hung server costs the deadline and nothing else. A query that nobody
 * waits for any more goes on and fills the cache. What is in the cache is answered without any thread. Answers are
 * remembered for their TTL (at most CACHE_S_MAX), "no such name" and "no data" too; failures are not, but libunbound asks
 * for a name that failed again only after some seconds.
 *
 * The process must not fork() after dns_unbound_new(), and should have dropped its ids before. Any thread may ask.
 * Errors of dns_unbound_new(): BS_ERR_ARG (servers), BS_ERR_NOMEM, BS_ERR_IO.
 *
 *     struct dns_unbound_settings settings = { .servers = "127.0.0.1@5353", .cache_entries = 20000, .pending_max = 2000 };
 *     err = dns_unbound_new(&settings, &resolver);
 *     status = dns_ask(dns_unbound(resolver), "example.org", DNS_MX, bs_now_ms() + 3000, &answer);
 */
#ifndef MILTER_DNS_UNBOUND_H
#define MILTER_DNS_UNBOUND_H

#include "dns.h"

struct dns_unbound;

struct dns_unbound_settings {
	/*
	 * "system": those of /etc/resolv.conf; "root": none, names are looked up from the root of the DNS down (what
	 * block lists want); else addresses, each with @PORT if it is not 53, with blanks or commas between.
	 */
	const char *servers;
	size_t cache_entries; /* small answers that are remembered; libunbound's own cache of 24 MB lies below */
	unsigned pending_max; /* queries under way, abandoned ones too; beyond, begin() gives NULL */
};

struct dns_unbound_stats {
	uint64_t queries;    /* all */
	uint64_t cache_hits; /* of them, answered at once */
	uint64_t timeouts;   /* callers that stopped waiting */
	uint64_t servfails;  /* answers that were failures */
	uint64_t refused;    /* too many under way, or no memory */
	unsigned pending;    /* now */
	size_t cached;       /* now */
};

enum bs_err dns_unbound_new(const struct dns_unbound_settings *settings, struct dns_unbound **out) BS_MUST_USE;
/* After the last finish(). NULL is legal. */
void dns_unbound_free(struct dns_unbound *resolver);
/* The resolver as everybody else sees it; lives as long as it. */
struct dns *dns_unbound(struct dns_unbound *resolver);
void dns_unbound_stats(struct dns_unbound *resolver, struct dns_unbound_stats *out);

#endif
