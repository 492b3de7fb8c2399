/* fuzz_socketmap: the bytes of a client, frame after frame, as the server would take them. */
#include <stdlib.h>
#include <string.h>

#include "milter/netstring.h"
#include "milter/socketmap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
need(bool ok)
{
	if (!ok)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t start = 0, len = 0, used = 0;

	while (netstring_parse(data, size, SOCKETMAP_PAYLOAD_MAX, &start, &len, &used) == BS_OK) {
		struct socketmap_query query;

		need(used <= size && used > 0 && len <= SOCKETMAP_PAYLOAD_MAX && start + len + 1 == used);
		if (socketmap_parse(data + start, len, &query) == BS_OK)
			need(strlen(query.key) < len && query.name <= SOCKETMAP_ALIASES);
		data += used;
		size -= used;
	}
	return 0;
}
