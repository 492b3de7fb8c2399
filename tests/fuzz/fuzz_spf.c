/* fuzz_spf: who asks, and what the DNS says to each question, both from the input: lines with a byte of kind in front.
 * The questions are bounded, and whatever comes out is printable. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "milter/spf.h"
#include "sock.h"
#include "tests/fuzz/dns_query.h"

/* The records themselves (first one, includes, redirects), an answer and 10 hosts for each of 10 terms, PTR, exp=. */
#define QUESTIONS_MAX (11 + 10 * 11 + 11 + 1)
#define RECORDS_MAX 12

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct source {
	struct dns dns; /* first */
	const uint8_t *data;
	size_t size;
	unsigned asked;
};

static void
need(bool ok)
{
	if (!ok)
		abort();
}

/* Up to the next line end. */
static size_t
next_line(struct source *source, const uint8_t **line)
{
	const uint8_t *end = memchr(source->data, '\n', source->size);
	size_t len = end != NULL ? (size_t)(end - source->data) : source->size;

	*line = source->data;
	source->data += len + (end != NULL ? 1 : 0);
	source->size -= len + (end != NULL ? 1 : 0);
	return len;
}

static char *
next_text(struct source *source)
{
	const uint8_t *line;
	size_t len = next_line(source, &line);
	char *text = malloc(len + 1);

	need(text != NULL);
	memcpy(text, line, len);
	text[len] = '\0';
	return text;
}

/* A line of the input as a record; addresses and names are cut to what can be one. */
static void
add_line(struct dns_answer *answer, enum dns_type type, const uint8_t *line, size_t len)
{
	uint8_t addr[16] = { 192, 0, 2, 1 };
	size_t want = type == DNS_A ? 4 : 16;

	if (type == DNS_TXT) {
		dns_answer_add(answer, line, len, 0);
	} else if (type == DNS_A || type == DNS_AAAA) {
		memcpy(addr, line, len < want ? len : want);
		dns_answer_add(answer, addr, want, 0);
	} else {
		dns_answer_add(answer, line, len > DNS_NAME_MAX || memchr(line, 0, len) != NULL ? 0 : len, 1);
	}
}

static struct dns_query *
begin(struct dns *dns, const char *name, enum dns_type type, int64_t deadline_ms)
{
	struct source *source = (struct source *)dns;
	struct dns_query *query = calloc(1, sizeof(*query));
	const uint8_t *line;
	size_t len = next_line(source, &line), n = 1;

	(void)deadline_ms;
	need(query != NULL && dns_name_ok(name));
	need(++source->asked <= QUESTIONS_MAX);
	query->status = len == 0 ? DNS_FOUND : (enum dns_status)(line[0] % 8 < 3 ? line[0] % 8 + 1 : DNS_FOUND);
	if (query->status != DNS_FOUND)
		return query;
	if (len > 0)
		n = 1 + line[0] / 8 % RECORDS_MAX;
	query->answer = dns_answer_new(n, source->size + len + n * 16);
	need(query->answer != NULL);
	if (len > 0)
		add_line(query->answer, type, line + 1, len - 1);
	while (query->answer->n < n) {
		len = next_line(source, &line);
		add_line(query->answer, type, line, len);
	}
	return query;
}

static void
need_printable(const char *text, size_t size)
{
	size_t len = strnlen(text, size);

	need(len < size);
	for (size_t i = 0; i < len; i++)
		need(text[i] >= 0x20 && text[i] < 0x7f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct source source = { .dns = { begin, query_finish }, .data = data, .size = size };
	char *client = next_text(&source), *helo = next_text(&source), *sender = next_text(&source);
	struct spf_request request = { .dns = &source.dns, .client = client, .helo = helo, .sender = sender,
		.receiver = "mx.example.com", .deadline_ms = bs_now_ms() + 60000 };
	struct spf_outcome out;

	spf_check(SPF_NATIVE, &request, &out);
	need(out.result <= SPF_PERMERROR && out.reason[0] != '\0');
	need(out.explanation[0] == '\0' || out.result == SPF_FAIL);
	need(out.lookups <= SPF_LOOKUPS_MAX + 1 && out.voids <= SPF_VOIDS_MAX + 1);
	need_printable(out.domain, sizeof(out.domain));
	need_printable(out.authority, sizeof(out.authority));
	need_printable(out.mechanism, sizeof(out.mechanism));
	need_printable(out.reason, sizeof(out.reason));
	need_printable(out.explanation, sizeof(out.explanation));
	free(client);
	free(helo);
	free(sender);
	return 0;
}
