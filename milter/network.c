#include "network.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ITEM_MAX 64

bool
network_addr(const char *text, struct network_addr *out)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct network_addr addr = { .len = 4 };

	if (inet_pton(AF_INET, text, addr.bytes) != 1) {
		if (inet_pton(AF_INET6, text, addr.bytes) != 1)
			return false;
		addr.len = 16;
		if (memcmp(addr.bytes, mapped, sizeof(mapped)) == 0) {
			memcpy(addr.bytes, addr.bytes + sizeof(mapped), 4);
			memset(addr.bytes + 4, 0, sizeof(addr.bytes) - 4);
			addr.len = 4;
		}
	}
	*out = addr;
	return true;
}

static bool
holds(const struct network *network, const struct network_addr *addr)
{
	size_t whole = network->bits / 8;
	unsigned rest = network->bits % 8;

	if (network->addr.len != addr->len || memcmp(network->addr.bytes, addr->bytes, whole) != 0)
		return false;
	return rest == 0 || ((network->addr.bytes[whole] ^ addr->bytes[whole]) >> (8 - rest)) == 0;
}

bool
network_is_private(const struct network_addr *addr)
{
	static const struct network networks[] = {
		{ { { 0 }, 4 }, 8 }, { { { 10 }, 4 }, 8 }, { { { 100, 64 }, 4 }, 10 }, { { { 127 }, 4 }, 8 },
		{ { { 169, 254 }, 4 }, 16 }, { { { 172, 16 }, 4 }, 12 }, { { { 192, 168 }, 4 }, 16 }, { { { 224 }, 4 }, 3 },
		{ { { 0 }, 16 }, 127 }, { { { 0xfc }, 16 }, 7 }, { { { 0xfe, 0x80 }, 16 }, 10 }, { { { 0xff }, 16 }, 8 },
	};

	for (size_t i = 0; i < sizeof(networks) / sizeof(networks[0]); i++)
		if (holds(&networks[i], addr))
			return true;
	return false;
}

/* Clears the bits behind the first so many; true if some were set. */
static bool
cut(struct network_addr *addr, unsigned bits)
{
	uint8_t lost = 0;

	for (unsigned i = bits; i < addr->len * 8; i++) {
		uint8_t bit = (uint8_t)(0x80U >> (i % 8));

		lost |= addr->bytes[i / 8] & bit;
		addr->bytes[i / 8] &= (uint8_t)~bit;
	}
	return lost != 0;
}

void
network_text(const struct network_addr *addr, char out[NETWORK_TEXT_MAX])
{
	struct network_addr net = *addr;
	unsigned bits = addr->len == 4 ? 24 : 64;
	char text[INET6_ADDRSTRLEN];

	(void)cut(&net, bits);
	(void)inet_ntop(addr->len == 4 ? AF_INET : AF_INET6, net.bytes, text, sizeof(text));
	(void)snprintf(out, NETWORK_TEXT_MAX, "%s/%u", text, bits);
}

static bool
read_bits(const char *text, size_t addr_len, unsigned *out)
{
	char *end;
	unsigned long bits = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || bits > addr_len * 8)
		return false;
	*out = (unsigned)bits;
	return true;
}

static enum bs_err
read_one(char *text, struct network *out)
{
	char *slash = strchr(text, '/');
	struct network network;

	if (slash != NULL)
		*slash++ = '\0';
	if (!network_addr(text, &network.addr))
		return BS_ERR_ARG;
	network.bits = (unsigned)network.addr.len * 8;
	if (slash != NULL && !read_bits(slash, network.addr.len, &network.bits))
		return BS_ERR_ARG;
	if (cut(&network.addr, network.bits))
		return BS_ERR_ARG;
	*out = network;
	return BS_OK;
}

static enum bs_err
add(struct networks *networks, char *text)
{
	struct network *more;

	if (networks->n == NETWORKS_MAX)
		return BS_ERR_LIMIT;
	more = realloc(networks->of, (networks->n + 1) * sizeof(*more));
	if (more == NULL)
		return BS_ERR_NOMEM;
	networks->of = more;
	return read_one(text, &networks->of[networks->n++]);
}

enum bs_err
networks_read(const char *text, struct networks *out)
{
	struct networks networks = { 0 };
	char item[ITEM_MAX];
	size_t len;
	enum bs_err err = BS_OK;

	for (const char *p = text + strspn(text, " ,\t\r\n"); err == BS_OK && *p != '\0'; p += len + strspn(p + len, " ,\t\r\n")) {
		len = strcspn(p, " ,\t\r\n");
		if (len >= sizeof(item)) {
			err = BS_ERR_ARG;
			break;
		}
		memcpy(item, p, len);
		item[len] = '\0';
		err = add(&networks, item);
	}
	if (err == BS_OK)
		*out = networks;
	else
		networks_clear(&networks);
	return err;
}

void
networks_clear(struct networks *networks)
{
	free(networks->of);
	*networks = (struct networks){ 0 };
}

bool
networks_hold(const struct networks *networks, const struct network_addr *addr)
{
	for (size_t i = 0; i < networks->n; i++)
		if (holds(&networks->of[i], addr))
			return true;
	return false;
}
