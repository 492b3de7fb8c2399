/* fuzz_dns_wire: record data of any type. What is taken is one record within its bounds, and a name can be asked for again. */
#include <stdlib.h>
#include <string.h>

#include "milter/dns_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
need(bool ok)
{
	if (!ok)
		abort();
}

static void
check_name(const struct dns_record *record)
{
	char text[DNS_ESCAPED_MAX];

	need(strlen((const char *)record->data) == record->len && record->len <= DNS_NAME_MAX);
	if (record->len == 0)
		return;
	need(dns_name_ok((const char *)record->data));
	dns_wire_escape((const char *)record->data, text);
	need(strlen(text) >= record->len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum dns_type types[] = { DNS_A, DNS_AAAA, DNS_MX, DNS_PTR, DNS_TXT };
	struct dns_answer *answer = dns_answer_new(1, size);
	enum dns_type type = size > 0 ? types[data[0] % 5] : DNS_A;

	need(answer != NULL);
	if (size > 0 && dns_wire_add(answer, type, data + 1, size - 1) == BS_OK) {
		need(answer->n == 1 && answer->records[0].len < size && answer->records[0].data[answer->records[0].len] == 0);
		if (type == DNS_MX || type == DNS_PTR)
			check_name(&answer->records[0]);
	}
	dns_answer_unref(answer);
	return 0;
}
