/*
 * zone_lines: a zone in memory (tests/unit/dns_zone.h) from lines "NAME TYPE [DATA [PREFERENCE]]": names and texts in hex,
 * "-" for an empty one, addresses as text; TYPE: A AAAA MX PTR TXT CNAME TIMEOUT NAME. For the test tools.
 */
#ifndef ZONE_LINES_H
#define ZONE_LINES_H

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/dns_zone.h"

static const struct {
	const char *name;
	enum dns_type type;
} zone_types[] = { { "A", DNS_A }, { "AAAA", DNS_AAAA }, { "MX", DNS_MX }, { "PTR", DNS_PTR }, { "TXT", DNS_TXT },
	{ "CNAME", ZONE_CNAME }, { "TIMEOUT", ZONE_TIMEOUT }, { "NAME", ZONE_NAME } };

static enum dns_type
zone_type_of(const char *name)
{
	for (size_t i = 0; i < sizeof(zone_types) / sizeof(zone_types[0]); i++)
		if (strcmp(zone_types[i].name, name) == 0)
			return zone_types[i].type;
	fprintf(stderr, "no type %s\n", name);
	exit(2);
}

/* Decodes in place; returns the length. */
static size_t
unhex(char *text)
{
	char digits[3] = "";
	size_t n = 0;

	if (strcmp(text, "-") != 0) {
		for (; text[2 * n] != '\0' && text[2 * n + 1] != '\0'; n++) {
			memcpy(digits, text + 2 * n, 2);
			text[n] = (char)strtoul(digits, NULL, 16);
		}
	}
	text[n] = '\0';
	return n;
}

static void
print_hex(const char *text)
{
	putchar(' ');
	if (*text == '\0')
		putchar('-');
	for (; *text != '\0'; text++)
		printf("%02x", (unsigned)(unsigned char)*text);
}

static void
zone_line(struct zone *zone, char *line)
{
	char *name = strtok(line, " "), *type_name = strtok(NULL, " "), *data = strtok(NULL, " ");
	char *preference = strtok(NULL, " ");
	enum dns_type type;
	size_t len = 0;

	zone_need(type_name);
	type = zone_type_of(type_name);
	(void)unhex(name);
	if (data != NULL)
		len = unhex(data);
	if (type == DNS_A || type == DNS_AAAA)
		zone_text(zone, name, type, data);
	else
		zone_bytes(zone, name, type, preference != NULL ? (uint16_t)strtoul(preference, NULL, 10) : 0, data, len);
}

#endif
