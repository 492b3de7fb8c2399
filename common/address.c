#include "address.h"

#include <string.h>

#define LOCAL_MAX 64
#define LABEL_MAX 63

/* Not isalpha(): its answer depends on the locale. */
static bool
is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static void
lower_copy(char *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] - 'A' + 'a' : text[i]);
	out[len] = '\0';
}

static bool
label_ok(const char *label, size_t len)
{
	if (len == 0 || len > LABEL_MAX || label[0] == '-' || label[len - 1] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_alnum(label[i]) && label[i] != '-')
			return false;
	return true;
}

static bool
domain_ok(const char *domain)
{
	if (strnlen(domain, BS_DOMAIN_MAX + 1) > BS_DOMAIN_MAX)
		return false;
	for (;;) {
		size_t len = strcspn(domain, ".");

		if (!label_ok(domain, len))
			return false;
		if (domain[len] == '\0')
			return true;
		domain += len + 1;
	}
}

static bool
local_ok(const char *local, size_t len)
{
	if (len == 0 || len > LOCAL_MAX || local[0] == '.' || local[len - 1] == '.')
		return false;
	for (size_t i = 0; i < len; i++) {
		if (local[i] == '.' && local[i - 1] == '.')
			return false;
		if (!is_alnum(local[i]) && strchr(".#&'+-=_~", local[i]) == NULL)
			return false;
	}
	return true;
}

enum bs_err
bs_domain_parse(const char *text, char *out)
{
	if (!domain_ok(text))
		return BS_ERR_ARG;
	lower_copy(out, text, strlen(text));
	return BS_OK;
}

enum bs_err
bs_address_parse(const char *text, char *out)
{
	size_t len = strnlen(text, BS_ADDRESS_MAX + 1);
	const char *at = memchr(text, '@', len);

	if (len > BS_ADDRESS_MAX || at == NULL || !local_ok(text, (size_t)(at - text)) || !domain_ok(at + 1))
		return BS_ERR_ARG;
	lower_copy(out, text, len);
	return BS_OK;
}

const char *
bs_address_domain(const char *address)
{
	const char *at = strrchr(address, '@');

	return at == NULL ? "" : at + 1;
}

void
bs_address_base(const char *address, char *out)
{
	size_t local_len = strcspn(address, "@");
	const char *plus = memchr(address, '+', local_len);
	size_t keep = plus == NULL || plus == address ? local_len : (size_t)(plus - address);

	memcpy(out, address, keep);
	memcpy(out + keep, address + local_len, strlen(address + local_len) + 1);
}
