/*
 * dkim_check: the DKIM verifier over a zone in memory, as a program: lines on standard input.
 *
 *     zone                            forget the zone
 *     NAME TYPE [DATA]                zone_lines.h
 *     test AT FILE                    a message on disk at AT (seconds since 1970)
 *                                     -> N, then for each signature RESULT DOMAIN SELECTOR ALGORITHM REASON, all but RESULT in hex
 *     time ROUNDS FILE                CPU microseconds of one verification: MICROSECONDS RESULT
 */
#include <stdio.h>
#include <time.h>

#include "milter/dkim.h"
#include "milter/rfc5322.h"
#include "sock.h"
#include "tests/tools/zone_lines.h"

#define LINE_MAX_BYTES 200000
struct run {
	struct dkim_msg *msg;
	struct dkim_request request;
};

static void
need(bool ok)
{
	if (!ok)
		abort();
}

static uint8_t *
read_file(const char *path, size_t *len)
{
	FILE *fp = fopen(path, "rb");
	uint8_t *data;

	need(fp != NULL && fseek(fp, 0, SEEK_END) == 0);
	*len = (size_t)ftell(fp);
	rewind(fp);
	data = malloc(*len + 1);
	need(data != NULL && fread(data, 1, *len, fp) == *len);
	data[*len] = '\0';
	(void)fclose(fp);
	return data;
}

static void
on_header(void *ctx, const char *name, const char *value)
{
	struct run *run = ctx;

	dkim_msg_header(run->msg, name, value);
}

static void
on_body(void *ctx, const uint8_t *data, size_t len)
{
	struct run *run = ctx;

	dkim_msg_body(run->msg, &run->request, data, len);
}

static void
verify(struct dkim_engine *engine, struct zone *zone, const uint8_t *data, size_t len, int64_t now_s, struct auth *out)
{
	struct run run = { .request = { .dns = &zone->dns, .now_s = now_s, .deadline_ms = bs_now_ms() + 20000 } };
	struct rfc5322 *split = rfc5322_new(&(struct rfc5322_sink){ .ctx = &run, .header = on_header, .body = on_body });

	if (len > 5 && memcmp(data, "From ", 5) == 0) {
		size_t line = strcspn((const char *)data, "\n") + 1; /* an mbox's own line; read_file() ends the data with NUL */

		data += line;
		len -= line;
	}
	need(split != NULL && dkim_msg_new(engine, &run.msg) == BS_OK);
	need(rfc5322_feed(split, data, len) == BS_OK && rfc5322_end(split) == BS_OK);
	dkim_msg_end(run.msg, &run.request, out);
	dkim_msg_free(run.msg);
	rfc5322_free(split);
}

static void
run_test(struct dkim_engine *engine, struct zone *zone, char *rest)
{
	char *path = strchr(rest, ' ');
	struct auth auth = { 0 };
	uint8_t *data;
	size_t len;

	need(path != NULL);
	data = read_file(path + 1, &len);
	verify(engine, zone, data, len, strtoll(rest, NULL, 10), &auth);
	printf("%zu", auth.n_dkim);
	for (size_t i = 0; i < auth.n_dkim; i++) {
		printf(" %s", auth_dkim_result_text(auth.dkim[i].result));
		print_hex(auth.dkim[i].domain);
		print_hex(auth.dkim[i].selector);
		print_hex(auth.dkim[i].algorithm);
		print_hex(auth.dkim[i].reason);
	}
	putchar('\n');
	free(data);
}

static void
run_time(struct dkim_engine *engine, struct zone *zone, char *rest)
{
	char *path = strchr(rest, ' ');
	long rounds = strtol(rest, NULL, 10);
	struct auth auth = { 0 };
	uint8_t *data;
	size_t len;
	clock_t start;

	need(path != NULL);
	data = read_file(path + 1, &len);
	start = clock();
	for (long i = 0; i < rounds; i++)
		verify(engine, zone, data, len, time(NULL), &auth);
	printf("%.1f %s\n", (double)(clock() - start) * 1e6 / CLOCKS_PER_SEC / (double)rounds,
	    auth.n_dkim > 0 ? auth_dkim_result_text(auth.dkim[0].result) : "none");
	free(data);
}

int
main(void)
{
	static char line[LINE_MAX_BYTES];
	struct zone zone = ZONE_INIT;
	struct dkim_engine *engine;

	if (dkim_engine_new(&engine) != BS_OK)
		return 1;
	while (fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (strcmp(line, "zone") == 0)
			zone_clear(&zone);
		else if (strncmp(line, "test ", 5) == 0)
			run_test(engine, &zone, line + 5);
		else if (strncmp(line, "time ", 5) == 0)
			run_time(engine, &zone, line + 5);
		else
			zone_line(&zone, line);
	}
	zone_clear(&zone);
	dkim_engine_free(engine);
	return 0;
}
