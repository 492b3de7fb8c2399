/* fuzz_authres: header values. What we write for any login is ours again; and our name in front of anything is never
 * taken for another's. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "milter/authres.h"

#define ID "mx.example.org"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
need(bool ok)
{
	if (!ok)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char front[] = " (c)" ID " ;";
	char *text = malloc(size + sizeof(front)), out[AUTHRES_MAX];

	if (text == NULL || size > 100000)
		goto out;
	memcpy(text, data, size);
	text[size] = '\0';
	(void)authres_claims(text, ID);
	if (authres_write(ID, text, text, out, sizeof(out)) == BS_OK) {
		need(authres_claims(out, ID) && !authres_claims(out, "other.example"));
		need(strchr(out, '\r') == NULL && strlen(out) < sizeof(out));
	}
	memcpy(text, front, sizeof(front) - 1);
	memcpy(text + sizeof(front) - 1, data, size);
	text[size + sizeof(front) - 1] = '\0';
	need(authres_claims(text, ID));
out:
	free(text);
	return 0;
}
