/*
 * fuzz_dkim: a message of any bytes, and what the DNS says of its keys, from the input: the first line is a key's record (the
 * first byte its status), fields follow as lines up to an empty one, then the body, in chunks of the second byte's size.
 * Whatever comes out is bounded and printable; a message without signatures asks nothing.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "milter/dkim.h"
#include "sock.h"
#include "tests/fuzz/dns_query.h"

#define NOW_S 1900000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct source {
	struct dns dns; /* first */
	enum dns_status status;
	const uint8_t *record;
	size_t record_len;
	size_t records;
	unsigned asked;
};

static void
need(bool ok)
{
	if (!ok)
		abort();
}

static struct dns_query *
begin(struct dns *dns, const char *name, enum dns_type type, int64_t deadline_ms)
{
	struct source *source = (struct source *)dns;
	struct dns_query *query = calloc(1, sizeof(*query));

	(void)deadline_ms;
	need(query != NULL && type == DNS_TXT && strlen(name) < 1000 && ++source->asked <= AUTH_SIGNATURES_MAX);
	query->status = source->status;
	if (query->status != DNS_FOUND)
		return query;
	query->answer = dns_answer_new(source->records, source->records * source->record_len);
	need(query->answer != NULL);
	for (size_t i = 0; i < source->records; i++)
		dns_answer_add(query->answer, source->record, source->record_len, 0);
	return query;
}

static size_t
next_line(const uint8_t **data, size_t *size, const uint8_t **line)
{
	const uint8_t *end = memchr(*data, '\n', *size);
	size_t len = end != NULL ? (size_t)(end - *data) : *size, step = len + (end != NULL ? 1 : 0);

	*line = *data;
	*data += step;
	*size -= step;
	return len;
}

/* True when it was a signature. A tab in a line of the input is a fold. */
static bool
give_field(struct dkim_msg *msg, const uint8_t *line, size_t len)
{
	char *name = calloc(1, len + 2), *value;
	bool signature;

	need(name != NULL);
	memcpy(name, line, len);
	for (char *c = name; *c != '\0'; c++)
		if (*c == '\t')
			*c = '\n';
	value = strchr(name, ':');
	if (value != NULL)
		*value++ = '\0';
	dkim_msg_header(msg, name, value != NULL ? value : "");
	signature = strncasecmp(name, "DKIM-Signature", 14) == 0;
	free(name);
	return signature;
}

static void
need_printable(const char *text, size_t size)
{
	size_t len = strnlen(text, size);

	need(len < size);
	for (size_t i = 0; i < len; i++)
		need(text[i] >= 0x20 && text[i] < 0x7f && strchr("\"()<>\\", text[i]) == NULL);
}

static void
need_sane(const struct auth *auth)
{
	need(auth->dkim_done && auth->n_dkim <= AUTH_SIGNATURES_MAX);
	for (size_t i = 0; i < auth->n_dkim; i++) {
		const struct auth_dkim *dkim = &auth->dkim[i];

		need(dkim->result != AUTH_DKIM_NONE && dkim->result <= AUTH_DKIM_PERMERROR);
		need(dkim->result == AUTH_DKIM_PASS || dkim->reason[0] != '\0');
		need_printable(dkim->domain, sizeof(dkim->domain));
		need_printable(dkim->selector, sizeof(dkim->selector));
		need_printable(dkim->algorithm, sizeof(dkim->algorithm));
		need_printable(dkim->b, sizeof(dkim->b));
		need_printable(dkim->reason, sizeof(dkim->reason));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct dkim_engine *engine;
	struct source source = { .dns = { begin, query_finish }, .records = 1 };
	struct dkim_request request = { .dns = &source.dns, .now_s = NOW_S, .deadline_ms = bs_now_ms() + 60000 };
	struct auth auth = { 0 };
	struct dkim_msg *msg;
	const uint8_t *line;
	size_t chunk, len;
	bool signed_ = false;

	if (engine == NULL)
		need(dkim_engine_new(&engine) == BS_OK);
	if (size < 2)
		return 0;
	source.status = data[0] % 8 < 4 ? (enum dns_status)(data[0] % 4) : DNS_FOUND;
	source.records = 1 + (data[0] >> 3) % 32 / 31;
	chunk = 1 + data[1];
	data += 2;
	size -= 2;
	source.record_len = next_line(&data, &size, &source.record);
	need(dkim_msg_new(engine, &msg) == BS_OK);
	while (size > 0 && (len = next_line(&data, &size, &line)) > 0)
		signed_ = give_field(msg, line, len) || signed_;
	for (; size > 0; data += len, size -= len) {
		len = size < chunk ? size : chunk;
		dkim_msg_body(msg, &request, data, len);
	}
	dkim_msg_end(msg, &request, &auth);
	need_sane(&auth);
	need(signed_ || (auth.n_dkim == 0 && source.asked == 0));
	dkim_msg_free(msg);
	return 0;
}
