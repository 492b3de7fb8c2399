/* fuzz_milter_wire: each packet of the input through every reader; what is accepted must stay inside it. */
#include <stdlib.h>
#include <string.h>

#include "milter/milter_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
need(bool ok)
{
	if (!ok)
		abort();
}

/* A string of the packet, with its NUL. */
static void
need_inside(const struct milter_packet *packet, const char *text)
{
	const uint8_t *p = (const uint8_t *)text;

	need(p >= packet->data && p + strlen(text) + 1 <= packet->data + packet->len);
}

static void
read_all_ways(const struct milter_packet *packet)
{
	char *args[MILTER_ARGS_MAX + 1];
	const char *a, *b;
	struct milter_offer offer;
	struct milter_client client;
	const uint8_t *pairs;
	uint8_t command;
	size_t len;

	if (milter_wire_offer(packet, &offer) == BS_OK)
		need(packet->len >= 12 && offer.version >= MILTER_VERSION_MIN);
	if (milter_wire_client(packet, &client) == BS_OK)
		need_inside(packet, client.name);
	if (milter_wire_string(packet, &a) == BS_OK)
		need_inside(packet, a);
	if (milter_wire_pair(packet, &a, &b) == BS_OK) {
		need_inside(packet, a);
		need_inside(packet, b);
	}
	if (milter_wire_strings(packet, args) == BS_OK)
		for (size_t i = 0; args[i] != NULL; i++)
			need_inside(packet, args[i]);
	if (milter_wire_macros(packet, &command, &pairs, &len) == BS_OK) {
		a = milter_wire_macro(pairs, len, "{auth_authen}");
		if (a != NULL)
			need_inside(packet, a);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct milter_packet packet;
	size_t used = 0;

	while (milter_wire_next(data, size, &packet, &used) == BS_OK) {
		need(used > 0 && used <= size && packet.data + packet.len == data + used);
		read_all_ways(&packet);
		data += used;
		size -= used;
	}
	return 0;
}
