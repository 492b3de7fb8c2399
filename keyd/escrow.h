/*
 * escrow: the organisations whose offline key opens their domain's accounts, from a file that root owns. Without the file,
 * which is the default, there is no escrow.
 *
 * One line a domain: its name, the 64 hex digits of an X25519 public key, and who holds the private one (UTF-8, shown to
 * every user of the domain). Empty lines and those that begin with # are left out. Immutable once loaded.
 * Errors: BS_ERR_CONF with a sentence in errbuf.
 *
 *     err = escrow_load("/etc/basalt/escrow", &escrow, errbuf, sizeof(errbuf));
 *     key = escrow_find(escrow, "alice@example.org");       // NULL: none
 */
#ifndef KEYD_ESCROW_H
#define KEYD_ESCROW_H

#include "keyset.h"

#define ESCROW_DOMAINS_MAX 1000

struct escrow_key {
	char domain[BS_ACCOUNT_NAME_MAX + 1];
	uint8_t public_key[BS_KEY_LEN];
	char name[BS_SLOT_LABEL_MAX + 1];
};

struct escrow;

/* An empty path: none. Refuses a file that others than its owner, root or the caller, may write. */
enum bs_err escrow_load(const char *path, struct escrow **out, char *errbuf, size_t errbuf_size) BS_MUST_USE;
/* One line without its newline; false: it is none. For escrow_load() and the fuzzer. */
bool escrow_parse_line(const char *line, struct escrow_key *out);
void escrow_free(struct escrow *escrow);
/* The key of an address's domain. escrow may be NULL. */
const struct escrow_key *escrow_find(const struct escrow *escrow, const char *address);

#endif
