/*
 * from: the domains of the addresses in a From: header field (RFC 5322 section 3.4, obsolete forms too).
 *
 * Own code, since a parser that decides for one reading of a broken field would let a forger choose the other: what is
 * wanted are all domains that some reader could show, not mailboxes. Display names, comments, groups and routes are passed
 * over; a quote or a comment that never ends is an ordinary character. One pass, fixed memory. Pure function.
 *
 *     err = from_domains("\"A. B\" <a@Example.net>", &domains);      // { "example.net" }
 */
#ifndef MILTER_FROM_H
#define MILTER_FROM_H

#include <stddef.h>

#include "dns.h"
#include "err.h"

#define FROM_DOMAINS_MAX 5

struct from_domains {
	size_t n;
	char name[FROM_DOMAINS_MAX][DNS_NAME_MAX + 1]; /* lower case, each once */
};

/*
 * Adds the domains of one field's value to out. BS_ERR_FORMAT: none is there, or one that can't be a domain in the DNS
 * (a literal, characters beyond ASCII); BS_ERR_LIMIT: too many. out then holds those that were read.
 */
enum bs_err from_domains(const char *value, struct from_domains *out) BS_MUST_USE;

#endif
