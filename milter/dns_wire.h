/*
 * dns_wire: names and record data between the text of dns.h and what a DNS library takes and gives.
 *
 * The data comes from strangers. Pure functions, any thread.
 *
 *     dns_wire_escape("a b.example.org", text);             // a\032b.example.org
 *     err = dns_wire_add(answer, DNS_MX, rdata, rdata_len); // BS_ERR_FORMAT: left out
 */
#ifndef MILTER_DNS_WIRE_H
#define MILTER_DNS_WIRE_H

#include "dns.h"

#define DNS_ESCAPED_MAX (4 * DNS_NAME_MAX + 2)

/* Zone-file spelling (RFC 1035 section 5.1) of a name that dns_name_ok() likes: all but letters, digits, - and _ as \DDD. */
void dns_wire_escape(const char *name, char out[DNS_ESCAPED_MAX]);
/*
 * Adds one record from its uncompressed RDATA; needs at most len bytes of the answer's room. BS_ERR_FORMAT: malformed, or
 * a name that dns.h can't say.
 */
enum bs_err dns_wire_add(struct dns_answer *answer, enum dns_type type, const uint8_t *rdata, size_t len) BS_MUST_USE;

#endif
