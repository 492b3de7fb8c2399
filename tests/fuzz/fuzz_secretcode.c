/*
 * fuzz_secretcode: what people and mail programs type as a code. What is taken is in its one form, and taken again as
 * the same; what is named wrong has such a group.
 */
#include <stdlib.h>
#include <string.h>

#include "common/secretcode.h"
#include "keyd/escrow.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
need(bool ok)
{
	if (!ok)
		abort();
}

/* The other text of keyd's that a person writes: a line of the escrow file. */
static void
try_escrow(const uint8_t *data, size_t size)
{
	char line[512];
	struct escrow_key key;

	if (size >= sizeof(line))
		return;
	memcpy(line, data, size);
	line[size] = '\0';
	if (!escrow_parse_line(line, &key))
		return;
	need(key.domain[0] != '\0' && strchr(key.domain, '@') == NULL && strlen(key.domain) <= BS_ACCOUNT_NAME_MAX);
	need(key.name[0] != '\0' && strlen(key.name) <= BS_SLOT_LABEL_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bs_code code, again;
	unsigned group = 0;
	enum bs_err err = bs_code_read((const char *)data, size, &code, &group);

	try_escrow(data, size);
	need(err == BS_OK || err == BS_ERR_ARG || err == BS_ERR_FORMAT);
	if (err == BS_ERR_ARG)
		need(group >= 1 && group <= BS_CODE_GROUPS);
	if (err != BS_OK || code.kind == BS_CODE_ESCROW)
		return 0;
	need(code.secret_len == BS_CODE_CHARS && code.hint < 1u << 15);
	need(bs_code_read((const char *)code.secret, code.secret_len, &again, &group) == BS_OK);
	need(again.kind == code.kind && again.hint == code.hint && memcmp(again.secret, code.secret, BS_CODE_CHARS) == 0);
	return 0;
}
