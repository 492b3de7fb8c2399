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

#include "buf.h"
#include "milter/dkim.h"
#include "milter/dkim_keys.h"
#include "milter/rfc5322.h"
#include "sock.h"
#include "tests/tools/zone_lines.h"

#define LINE_MAX_BYTES 200000
#define CHUNK 65535 /* as Postfix sends a body */

/* A message, taken apart. */
struct mail {
	struct bs_buf *header; /* name, NUL, value, NUL; and so on */
	struct bs_buf *body;
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
	struct mail *mail = ctx;

	need(bs_buf_append(mail->header, name, strlen(name) + 1) == BS_OK);
	need(bs_buf_append(mail->header, value, strlen(value) + 1) == BS_OK);
}

static void
on_body(void *ctx, const uint8_t *data, size_t len)
{
	struct mail *mail = ctx;

	need(bs_buf_append(mail->body, data, len) == BS_OK);
}

static void
mail_read(struct mail *mail, const char *path)
{
	struct rfc5322 *split = rfc5322_new(&(struct rfc5322_sink){ .ctx = mail, .header = on_header, .body = on_body });
	size_t len, skip = 0;
	uint8_t *data = read_file(path, &len);

	if (len > 5 && memcmp(data, "From ", 5) == 0)
		skip = strcspn((const char *)data, "\n") + 1; /* an mbox's own line */
	mail->header = bs_buf_new(2 * len + 16);
	mail->body = bs_buf_new(2 * len + 16);
	need(split != NULL && mail->header != NULL && mail->body != NULL);
	need(rfc5322_feed(split, data + skip, len - skip) == BS_OK && rfc5322_end(split) == BS_OK);
	rfc5322_free(split);
	free(data);
}

static void
mail_clear(struct mail *mail)
{
	bs_buf_free(mail->header);
	bs_buf_free(mail->body);
}

static void
verify(struct dkim_engine *engine, struct zone *zone, const struct mail *mail, int64_t now_s, struct auth *out)
{
	struct dkim_request request = { .dns = &zone->dns, .now_s = now_s, .deadline_ms = bs_now_ms() + 20000 };
	const char *header = (const char *)bs_buf_data(mail->header), *end = header + bs_buf_len(mail->header);
	struct dkim_msg *msg;

	need(dkim_msg_new(engine, &msg) == BS_OK);
	while (header < end) {
		const char *value = header + strlen(header) + 1;

		dkim_msg_header(msg, header, value);
		header = value + strlen(value) + 1;
	}
	for (size_t i = 0, len = bs_buf_len(mail->body); i < len; i += CHUNK)
		dkim_msg_body(msg, &request, bs_buf_data(mail->body) + i, len - i < CHUNK ? len - i : CHUNK);
	dkim_msg_end(msg, &request, out);
	dkim_msg_free(msg);
}

static void
run_test(struct dkim_engine *engine, struct zone *zone, char *rest)
{
	char *path = strchr(rest, ' ');
	struct auth auth = { 0 };
	struct mail mail;

	need(path != NULL);
	mail_read(&mail, path + 1);
	verify(engine, zone, &mail, strtoll(rest, NULL, 10), &auth);
	printf("%zu", auth.n_dkim);
	for (size_t i = 0; i < auth.n_dkim; i++) {
		printf(" %s", auth_dkim_result_text(auth.dkim[i].result));
		print_hex(auth.dkim[i].domain);
		print_hex(auth.dkim[i].selector);
		print_hex(auth.dkim[i].algorithm);
		print_hex(auth.dkim[i].reason);
	}
	putchar('\n');
	mail_clear(&mail);
}

static void
run_time(struct dkim_engine *engine, struct zone *zone, char *rest)
{
	char *path = strchr(rest, ' ');
	long rounds = strtol(rest, NULL, 10);
	struct auth auth = { 0 };
	struct mail mail;
	clock_t start;

	need(path != NULL);
	mail_read(&mail, path + 1);
	start = clock();
	for (long i = 0; i < rounds; i++)
		verify(engine, zone, &mail, time(NULL), &auth);
	printf("%.1f %s\n", (double)(clock() - start) * 1e6 / CLOCKS_PER_SEC / (double)rounds,
	    auth.n_dkim > 0 ? auth_dkim_result_text(auth.dkim[0].result) : "none");
	mail_clear(&mail);
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
	(void)fprintf(stderr, "%llu keys were remembered\n", (unsigned long long)dkim_keys_remembered());
	dkim_engine_free(engine);
	return 0;
}
