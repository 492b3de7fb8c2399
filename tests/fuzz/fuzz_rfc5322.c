/* fuzz_rfc5322: a message in pieces comes out as in one piece; nothing in a name or value can begin another field. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "milter/rfc5322.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	uint64_t hash;
	size_t body;
};

static void
need(bool ok)
{
	if (!ok)
		abort();
}

static void
mix(struct seen *seen, const void *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		seen->hash = (seen->hash ^ ((const uint8_t *)data)[i]) * 0x100000001b3;
}

static void
on_header(void *ctx, const char *name, const char *value)
{
	need(name[0] != '\0' && strpbrk(name, "\r\n:") == NULL && ((struct seen *)ctx)->body == 0);
	for (const char *p = value; (p = strchr(p, '\n')) != NULL; p++)
		need(p[1] == ' ' || p[1] == '\t');
	mix(ctx, name, strlen(name) + 1);
	mix(ctx, value, strlen(value) + 1);
}

static void
on_body(void *ctx, const uint8_t *data, size_t len)
{
	((struct seen *)ctx)->body += len;
	mix(ctx, data, len);
}

static struct seen
run(const uint8_t *data, size_t size, size_t step)
{
	struct seen seen = { 0 };
	struct rfc5322 *split = rfc5322_new(&(struct rfc5322_sink){ .ctx = &seen, .header = on_header, .body = on_body });
	enum bs_err err = BS_OK;

	need(split != NULL);
	for (size_t i = 0; i < size && err == BS_OK; i += step)
		err = rfc5322_feed(split, data + i, size - i < step ? size - i : step);
	if (err == BS_OK)
		err = rfc5322_end(split);
	if (err != BS_OK)
		seen = (struct seen){ 0 };
	rfc5322_free(split);
	return seen;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole = run(data, size, size + 1), pieces = run(data, size, 7);

	need(whole.hash == pieces.hash && whole.body == pieces.body);
	return 0;
}
