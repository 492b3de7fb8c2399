/*
 * dmarc_walk: RFC 9989 section 4.10: the DMARC records of a domain and of the domains above it, and what follows from
 * them: the organisational domain, and whether another domain belongs to the same organisation.
 *
 *     dmarc_walk(dns, "mail.example.com", deadline_ms, &walk);
 *     org = dmarc_walk_organisation(&walk, suffixes);
 */
#ifndef MILTER_DMARC_WALK_H
#define MILTER_DMARC_WALK_H

#include "dmarc.h"

struct dmarc_step {
	const char *name;        /* inside walk.start */
	enum dns_status status;  /* DNS_FOUND: there is one record, in record */
	struct dmarc_record record;
};

struct dmarc_walk {
	char start[DNS_NAME_MAX + 1];
	size_t n;
	struct dmarc_step steps[DMARC_WALK_MAX]; /* the start first, then upwards */
};

/* Lower-cases name. */
void dmarc_walk(struct dns *dns, const char *name, int64_t deadline_ms, struct dmarc_walk *out);
/* Inside walk. Where the records say that a public suffix is an organisation, its owner's registrant is taken instead. */
const char *dmarc_walk_organisation(const struct dmarc_walk *walk, const struct suffix_list *suffixes);
/* Some name of the walk could not be asked for. */
bool dmarc_walk_failed(const struct dmarc_walk *walk);
/* name is other, or below it. */
bool dmarc_is_below(const char *name, const char *other);

#endif
