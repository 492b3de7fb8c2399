#include "dns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dns_query *
dns_begin(struct dns *dns, const char *name, enum dns_type type, int64_t deadline_ms)
{
	return dns->begin(dns, name, type, deadline_ms);
}

enum dns_status
dns_finish(struct dns *dns, struct dns_query *query, struct dns_answer **out)
{
	return query != NULL ? dns->finish(dns, query, out) : DNS_TEMPORARY;
}

void
dns_drop(struct dns *dns, struct dns_query *query)
{
	struct dns_answer *answer = NULL;

	if (query == NULL)
		return;
	if (dns->drop != NULL)
		dns->drop(dns, query);
	else if (dns->finish(dns, query, &answer) == DNS_FOUND)
		dns_answer_unref(answer);
}

static struct dns_query *
begin_nothing(struct dns *dns, const char *name, enum dns_type type, int64_t deadline_ms)
{
	(void)dns;
	(void)name;
	(void)type;
	(void)deadline_ms;
	return NULL;
}

struct dns *
dns_none(void)
{
	static struct dns none = { .begin = begin_nothing }; /* nothing is ever begun, so nothing is finished */

	return &none;
}

enum dns_status
dns_ask(struct dns *dns, const char *name, enum dns_type type, int64_t deadline_ms, struct dns_answer **out)
{
	return dns_finish(dns, dns_begin(dns, name, type, deadline_ms), out);
}

/* The records' data stands behind them; records[n].data, one past the last, is where the next goes. */
struct dns_answer *
dns_answer_new(size_t n, size_t data_max)
{
	size_t head = sizeof(struct dns_answer) + (n + 1) * sizeof(struct dns_record);
	struct dns_answer *answer = calloc(1, head + n + data_max);

	if (answer == NULL)
		return NULL;
	atomic_init(&answer->refs, 1);
	answer->records[0].data = (uint8_t *)answer + head;
	return answer;
}

void
dns_answer_add(struct dns_answer *answer, const void *data, size_t len, uint16_t preference)
{
	struct dns_record *record = &answer->records[answer->n++];
	uint8_t *to = (uint8_t *)answer + (record->data - (const uint8_t *)answer);

	if (len > 0)
		memcpy(to, data, len);
	to[len] = 0;
	record->len = len;
	record->preference = preference;
	record[1].data = to + len + 1;
}

struct dns_answer *
dns_answer_ref(struct dns_answer *answer)
{
	atomic_fetch_add(&answer->refs, 1);
	return answer;
}

void
dns_answer_unref(struct dns_answer *answer)
{
	if (answer != NULL && atomic_fetch_sub(&answer->refs, 1) == 1)
		free(answer);
}

bool
dns_name_ok(const char *name)
{
	size_t len = strlen(name), label = 0;

	if (len > 0 && name[len - 1] == '.')
		len--;
	if (len == 0 || len > DNS_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		label = name[i] == '.' ? 0 : label + 1;
		if (label > DNS_LABEL_MAX || (label == 0 && (i == 0 || name[i - 1] == '.')))
			return false;
	}
	return label > 0;
}

void
dns_reverse(const uint8_t *addr, size_t addr_len, char out[DNS_REVERSE_MAX])
{
	size_t n = 0;

	if (addr_len == 4) {
		(void)snprintf(out, DNS_REVERSE_MAX, "%u.%u.%u.%u.in-addr.arpa", addr[3], addr[2], addr[1], addr[0]);
		return;
	}
	for (size_t i = addr_len; i-- > 0;) {
		(void)snprintf(out + n, DNS_REVERSE_MAX - n, "%x.%x.", addr[i] & 15U, addr[i] >> 4);
		n += 4;
	}
	(void)snprintf(out + n, DNS_REVERSE_MAX - n, "ip6.arpa");
}

const char *
dns_status_text(enum dns_status status)
{
	static const char *const texts[] = { "found", "no such name", "no data", "temporary failure" };

	return (size_t)status < sizeof(texts) / sizeof(texts[0]) ? texts[status] : "unknown";
}
