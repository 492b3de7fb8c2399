/*
 * spf_check: the SPF engines over a zone in memory, as a program: lines on standard input (tests/spf-suite writes them).
 * Names and texts are in hex, "-" for an empty one.
 *
 *   spf_check native|libspf2
 *     zone                                         forget the zone
 *     NAME TYPE [DATA [PREFERENCE]]                TYPE: A AAAA MX PTR TXT CNAME TIMEOUT NAME
 *     test CLIENT HELO SENDER                      -> RESULT EXPLANATION MECHANISM AUTHORITY REASON
 */
#include <stdio.h>
#include <stdlib.h>

#include "milter/spf.h"
#include "sock.h"
#include "tests/unit/dns_zone.h"

#define LINE_MAX_BYTES 200000

static const struct {
	const char *name;
	enum dns_type type;
} types[] = { { "A", DNS_A }, { "AAAA", DNS_AAAA }, { "MX", DNS_MX }, { "PTR", DNS_PTR }, { "TXT", DNS_TXT },
	{ "CNAME", ZONE_CNAME }, { "TIMEOUT", ZONE_TIMEOUT }, { "NAME", ZONE_NAME } };

static enum dns_type
type_of(const char *name)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i].name, name) == 0)
			return types[i].type;
	fprintf(stderr, "spf_check: no type %s\n", name);
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
run_test(enum spf_engine engine, struct zone *zone, char *rest)
{
	char *client = strtok(rest, " "), *helo = strtok(NULL, " "), *sender = strtok(NULL, " ");
	struct spf_outcome out;
	struct spf_request request = { .dns = &zone->dns, .client = client, .helo = helo, .sender = sender,
		.receiver = "receiver.example.net", .deadline_ms = bs_now_ms() + 20000 };

	zone_need(sender);
	(void)unhex(helo);
	(void)unhex(sender);
	spf_check(engine, &request, &out);
	fputs(spf_result_text(out.result), stdout);
	print_hex(out.explanation);
	print_hex(out.mechanism);
	print_hex(out.authority);
	print_hex(out.reason);
	putchar('\n');
}

static void
add_record(struct zone *zone, char *line)
{
	char *name = strtok(line, " "), *type_name = strtok(NULL, " "), *data = strtok(NULL, " ");
	char *preference = strtok(NULL, " ");
	enum dns_type type;
	size_t len = 0;

	zone_need(type_name);
	type = type_of(type_name);
	(void)unhex(name);
	if (data != NULL)
		len = unhex(data);
	if (type == DNS_A || type == DNS_AAAA)
		zone_text(zone, name, type, data);
	else
		zone_bytes(zone, name, type, preference != NULL ? (uint16_t)strtoul(preference, NULL, 10) : 0, data, len);
}

int
main(int argc, char **argv)
{
	static char line[LINE_MAX_BYTES];
	struct zone zone = ZONE_INIT;
	enum spf_engine engine;

	if (argc != 2 || (strcmp(argv[1], "native") != 0 && strcmp(argv[1], "libspf2") != 0))
		return 2;
	engine = strcmp(argv[1], "native") == 0 ? SPF_NATIVE : SPF_LIBSPF2;
	while (fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (strcmp(line, "zone") == 0)
			zone_clear(&zone);
		else if (strncmp(line, "test ", 5) == 0)
			run_test(engine, &zone, line + 5);
		else
			add_record(&zone, line);
	}
	zone_clear(&zone);
	return 0;
}
