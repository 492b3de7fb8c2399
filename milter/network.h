/*
 * network: addresses of clients: their binary form, which network they stand in, and lists of networks. Pure functions,
 * any thread; a list is immutable once it is read.
 *
 *     if (network_addr("192.0.2.7", &addr) && !network_is_private(&addr) && !networks_hold(&settings->trusted, &addr)) ...
 */
#ifndef MILTER_NETWORK_H
#define MILTER_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define NETWORK_TEXT_MAX 52 /* of network_text(), with its NUL */
#define NETWORKS_MAX 1000

struct network_addr {
	uint8_t bytes[16]; /* network order; zeros behind len */
	size_t len;        /* 4 or 16 */
};

struct network {
	struct network_addr addr; /* host bits are zero */
	unsigned bits;
};

struct networks {
	struct network *of;
	size_t n;
};

/* False: text is no address. An IPv4-mapped one is IPv4. */
bool network_addr(const char *text, struct network_addr *out);
/* Loopback, private, shared, link-local, unspecified, multicast: an address that means nothing to the rest of the world. */
bool network_is_private(const struct network_addr *addr);
/* "192.0.2.0/24", "2001:db8:1:2::/64": the network that stands for a client in limits and in the greylist. */
void network_text(const struct network_addr *addr, char out[NETWORK_TEXT_MAX]);

/* Reads "10.0.0.0/8, 2001:db8::1"; blanks or commas between, without "/" one address. BS_ERR_ARG: bad, host bits too. */
enum bs_err networks_read(const char *text, struct networks *out) BS_MUST_USE;
void networks_clear(struct networks *networks);
bool networks_hold(const struct networks *networks, const struct network_addr *addr);

#endif
