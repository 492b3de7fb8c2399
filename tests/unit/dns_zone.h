/*
 * dns_zone: a DNS in memory for tests: the answerer behind milter/dns.h.
 *
 * Names are compared whatever their case. A name that is not there is DNS_NO_NAME; ZONE_TIMEOUT at a name makes every type
 * that it does not have fail; a CNAME is followed, a loop fails. zone_clear() frees all.
 *
 *     struct zone zone = ZONE_INIT;
 *     zone_text(&zone, "example.org", DNS_TXT, "v=spf1 -all");
 *     status = dns_ask(&zone.dns, "example.org", DNS_TXT, 0, &answer);
 */
#ifndef DNS_ZONE_H
#define DNS_ZONE_H

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "milter/dns.h"

#define ZONE_CNAME ((enum dns_type)5)
#define ZONE_TIMEOUT ((enum dns_type)1001)
#define ZONE_NAME ((enum dns_type)1002) /* the name is there, with nothing */
#define ZONE_CNAMES_MAX 8

struct zone_record {
	struct zone_record *next;
	enum dns_type type;
	uint16_t preference;
	size_t len;
	char *name;
	uint8_t *data;
};

struct zone {
	struct dns dns; /* first */
	struct zone_record *first;
	struct zone_record **last; /* NULL: nothing yet */
	unsigned asked;            /* queries so far */
};

struct dns_query {
	enum dns_status status;
	struct dns_answer *answer;
};

static void
zone_need(const void *p)
{
	if (p == NULL)
		abort();
}

static size_t
zone_name_len(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && name[len - 1] == '.' ? len - 1 : len;
}

static bool
zone_same_name(const char *a, const char *b)
{
	size_t len = zone_name_len(a);

	return len == zone_name_len(b) && strncasecmp(a, b, len) == 0;
}

static enum dns_status
zone_collect(struct zone *zone, const char *name, enum dns_type type, struct dns_answer **out)
{
	size_t n = 0, bytes = 0;

	for (struct zone_record *r = zone->first; r != NULL; r = r->next) {
		if (r->type == type && zone_same_name(r->name, name)) {
			n++;
			bytes += r->len;
		}
	}
	if (n == 0)
		return DNS_NO_DATA;
	*out = dns_answer_new(n, bytes);
	zone_need(*out);
	for (struct zone_record *r = zone->first; r != NULL; r = r->next)
		if (r->type == type && zone_same_name(r->name, name))
			dns_answer_add(*out, r->data, r->len, r->preference);
	return DNS_FOUND;
}

static enum dns_status
zone_look(struct zone *zone, const char *name, enum dns_type type, struct dns_answer **out)
{
	for (int hops = 0; hops < ZONE_CNAMES_MAX; hops++) {
		enum dns_status status = zone_collect(zone, name, type, out);
		const char *alias = NULL;
		bool there = false;

		if (status == DNS_FOUND)
			return status;
		for (struct zone_record *r = zone->first; r != NULL; r = r->next) {
			if (!zone_same_name(r->name, name))
				continue;
			there = true;
			if (r->type == ZONE_TIMEOUT)
				return DNS_TEMPORARY;
			if (r->type == ZONE_CNAME)
				alias = (const char *)r->data;
		}
		if (alias == NULL)
			return there ? DNS_NO_DATA : DNS_NO_NAME;
		name = alias;
	}
	return DNS_TEMPORARY;
}

static struct dns_query *
zone_begin(struct dns *dns, const char *name, enum dns_type type, int64_t deadline_ms)
{
	struct zone *zone = (struct zone *)dns;
	struct dns_query *query = calloc(1, sizeof(*query));

	(void)deadline_ms;
	zone_need(query);
	zone->asked++;
	query->status = dns_name_ok(name) ? zone_look(zone, name, type, &query->answer) : DNS_NO_NAME;
	return query;
}

static enum dns_status
zone_finish(struct dns *dns, struct dns_query *query, struct dns_answer **out)
{
	enum dns_status status = query->status;

	(void)dns;
	if (status == DNS_FOUND)
		*out = query->answer;
	free(query);
	return status;
}

#define ZONE_INIT { .dns = { zone_begin, zone_finish } }

static void
zone_bytes(struct zone *zone, const char *name, enum dns_type type, uint16_t preference, const void *data, size_t len)
{
	struct zone_record *r = calloc(1, sizeof(*r));

	zone_need(r);
	*r = (struct zone_record){ .type = type, .preference = preference, .len = len, .name = strdup(name),
		.data = calloc(1, len + 1) };
	zone_need(r->name);
	zone_need(r->data);
	if (len > 0)
		memcpy(r->data, data, len);
	if (zone->last == NULL)
		zone->last = &zone->first;
	*zone->last = r;
	zone->last = &r->next;
}

/* text: the address, the name, the text; nothing for ZONE_TIMEOUT and ZONE_NAME. */
static void
zone_text(struct zone *zone, const char *name, enum dns_type type, const char *text)
{
	uint8_t addr[16];

	if (type == DNS_A || type == DNS_AAAA) {
		if (inet_pton(type == DNS_A ? AF_INET : AF_INET6, text, addr) != 1)
			abort();
		zone_bytes(zone, name, type, 0, addr, type == DNS_A ? 4 : 16);
		return;
	}
	zone_bytes(zone, name, type, 0, text, strlen(text));
}

static void
zone_clear(struct zone *zone)
{
	struct zone_record *r;

	while ((r = zone->first) != NULL) {
		zone->first = r->next;
		free(r->name);
		free(r->data);
		free(r);
	}
	zone->last = NULL;
	zone->asked = 0;
}

#endif
