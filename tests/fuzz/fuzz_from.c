/* fuzz_from: a From field of any bytes. The domains can be asked for in the DNS, are in lower case, and each stands once. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "milter/from.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
need(int ok)
{
	if (!ok)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct from_domains domains = { 0 };
	char *value = malloc(size + 1);
	enum bs_err err;

	need(value != NULL);
	if (size > 0)
		memcpy(value, data, size);
	value[size] = '\0';
	err = from_domains(value, &domains);
	need(err == BS_OK || err == BS_ERR_FORMAT || err == BS_ERR_LIMIT);
	need(domains.n <= FROM_DOMAINS_MAX && (err != BS_OK || domains.n > 0));
	need(domains.n == 0 || memchr(value, '@', size) != NULL);
	for (size_t i = 0; i < domains.n; i++) {
		need(dns_name_ok(domains.name[i]) && domains.name[i][strlen(domains.name[i]) - 1] != '.');
		need(strspn(domains.name[i], "abcdefghijklmnopqrstuvwxyz0123456789-._") == strlen(domains.name[i]));
		for (size_t j = 0; j < i; j++)
			need(strcmp(domains.name[i], domains.name[j]) != 0);
	}
	free(value);
	return 0;
}
