/*
 * address: which mail addresses and domains Basalt takes, and their one spelling: lower-case ASCII.
 *
 * RFC 5321 4.1.2 dot-strings with lengths of 4.5.3.1; not taken, though legal, are quoted local parts and the characters
 * that a path, a shell or a mail router reads otherwise: / % ! ` | $ { } ^ * ?. Pure functions, any thread.
 *
 *     char address[BS_ADDRESS_MAX + 1], base[BS_ADDRESS_MAX + 1];
 *     err = bs_address_parse("Alice+shop@Example.org", address);    // alice+shop@example.org
 *     bs_address_base(address, base);                               // alice@example.org
 */
#ifndef BS_ADDRESS_H
#define BS_ADDRESS_H

#include "err.h"

#define BS_ADDRESS_MAX 254
#define BS_DOMAIN_MAX 253

/* Lower-cases and checks an address; out holds BS_ADDRESS_MAX + 1. "+extension" is kept. BS_ERR_ARG. */
enum bs_err bs_address_parse(const char *text, char *out) BS_MUST_USE;
/* The same for a domain alone. out holds BS_DOMAIN_MAX + 1. */
enum bs_err bs_domain_parse(const char *text, char *out) BS_MUST_USE;
/* A checked address without "+extension"; out holds BS_ADDRESS_MAX + 1. A local part that begins with + stays. */
void bs_address_base(const char *address, char *out);
/* The domain of a checked address, inside it. */
const char *bs_address_domain(const char *address);

#endif
