/*
 * spf_check: the SPF engines over a zone in memory, as a program: lines on standard input (tests/spf-suite writes them).
 * Names and texts are in hex, "-" for an empty one.
 *
 *   spf_check native|libspf2
 *     zone                                         forget the zone
 *     NAME TYPE [DATA [PREFERENCE]]                zone_lines.h
 *     test CLIENT HELO SENDER                      -> RESULT EXPLANATION MECHANISM AUTHORITY REASON
 */
#include <stdio.h>

#include "milter/spf.h"
#include "sock.h"
#include "tests/tools/zone_lines.h"

#define LINE_MAX_BYTES 200000

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
			zone_line(&zone, line);
	}
	zone_clear(&zone);
	return 0;
}
