/*
 * dmarc: does the author's domain vouch for a message, and what does it ask for if not (RFC 9989, and RFC 7489 where it
 * still holds)? docs/DMARC.md says which rule comes from where.
 *
 * The records of the author's domain and of the domains above it are asked for at once (RFC 9989 section 4.10, at most
 * DMARC_WALK_MAX names); domains that SPF or DKIM vouch for are looked at only where they are not the author's own. All
 * within one deadline. Alignment counts what session's auth says of SPF and DKIM, and asks for neither. Any thread.
 *
 *     struct dmarc_request request = { .dns = dns, .suffixes = list, .auth = &auth, .sample = 42, .deadline_ms = ... };
 *     dmarc_check(&request, "example.net", &outcome);
 *     if (outcome.result == AUTH_DMARC_FAIL && outcome.policy == AUTH_DMARC_P_REJECT) ...
 */
#ifndef MILTER_DMARC_H
#define MILTER_DMARC_H

#include "auth.h"
#include "dmarc_record.h"
#include "dns.h"
#include "suffix.h"

#define DMARC_WALK_MAX 8 /* RFC 9989 section 4.10 */

struct dmarc_request {
	struct dns *dns;
	const struct suffix_list *suffixes;
	const struct auth *auth; /* mailfrom and dkim[] */
	unsigned sample;         /* 0 to 99: the message's place among those that pct divides */
	int64_t deadline_ms;
};

struct dmarc_outcome {
	enum auth_dmarc_result result;
	enum auth_dmarc_policy policy;    /* asked for, for this message: after sp, np, t and pct */
	enum auth_dmarc_policy published; /* the same before t and pct */
	bool eased;                       /* t or pct made it milder */
	bool spf_aligned, dkim_aligned;   /* and pass */
	bool found;                       /* record and where are set */
	struct dmarc_record record;
	char where[DNS_NAME_MAX + 1];     /* the domain whose record it is */
	char reason[AUTH_REASON_MAX + 1];
};

/* domain: of From:, lower case. */
void dmarc_check(const struct dmarc_request *request, const char *domain, struct dmarc_outcome *out);
/*
 * Of several authors' domains, whether a counts rather than b: who fails with p=reject, then with p=quarantine; who could not be
 * asked for, who might have been one of these; and after them whoever asks for nothing: a fail with p=none, permerror, pass, none.
 */
bool dmarc_outweighs(const struct dmarc_outcome *a, const struct dmarc_outcome *b);

#endif
