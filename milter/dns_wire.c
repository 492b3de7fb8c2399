#include "dns_wire.h"

#include <stdio.h>
#include <string.h>

#define TXT_MAX 65535

static bool
is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

void
dns_wire_escape(const char *name, char out[DNS_ESCAPED_MAX])
{
	size_t n = 0;

	for (; *name != '\0' && n + 5 <= DNS_ESCAPED_MAX; name++) {
		if (is_plain(*name))
			out[n++] = *name;
		else
			n += (size_t)snprintf(out + n, DNS_ESCAPED_MAX - n, "\\%03u", (unsigned)(unsigned char)*name);
	}
	out[n] = '\0';
}

/* Writes the name that makes up all of rdata as text (RFC 1035 section 3.1). */
static enum bs_err
read_name(const uint8_t *rdata, size_t len, char out[DNS_NAME_MAX + 1], size_t *out_len)
{
	size_t at = 0, n = 0;

	while (at < len && rdata[at] != 0) {
		size_t label = rdata[at++];

		if (label > DNS_LABEL_MAX || label > len - at || n + label + 1 > DNS_NAME_MAX + 1)
			return BS_ERR_FORMAT;
		if (memchr(rdata + at, '.', label) != NULL || memchr(rdata + at, 0, label) != NULL)
			return BS_ERR_FORMAT;
		if (n > 0)
			out[n++] = '.';
		if (n + label > DNS_NAME_MAX)
			return BS_ERR_FORMAT;
		memcpy(out + n, rdata + at, label);
		n += label;
		at += label;
	}
	if (len - at != 1)
		return BS_ERR_FORMAT;
	*out_len = n;
	return BS_OK;
}

static enum bs_err
add_name(struct dns_answer *answer, const uint8_t *rdata, size_t len, uint16_t preference)
{
	char name[DNS_NAME_MAX + 1];
	size_t n = 0;

	if (read_name(rdata, len, name, &n) != BS_OK)
		return BS_ERR_FORMAT;
	dns_answer_add(answer, name, n, preference);
	return BS_OK;
}

/* Joins the strings; each has a length byte in front. */
static enum bs_err
add_txt(struct dns_answer *answer, const uint8_t *rdata, size_t len)
{
	uint8_t text[TXT_MAX];
	size_t at = 0, n = 0;

	if (len > TXT_MAX)
		return BS_ERR_FORMAT;
	while (at < len) {
		size_t piece = rdata[at++];

		if (piece > len - at)
			return BS_ERR_FORMAT;
		memcpy(text + n, rdata + at, piece);
		n += piece;
		at += piece;
	}
	dns_answer_add(answer, text, n, 0);
	return BS_OK;
}

static enum bs_err
add_address(struct dns_answer *answer, const uint8_t *rdata, size_t len, size_t expected)
{
	if (len != expected)
		return BS_ERR_FORMAT;
	dns_answer_add(answer, rdata, len, 0);
	return BS_OK;
}

enum bs_err
dns_wire_add(struct dns_answer *answer, enum dns_type type, const uint8_t *rdata, size_t len)
{
	switch (type) {
	case DNS_A:
		return add_address(answer, rdata, len, 4);
	case DNS_AAAA:
		return add_address(answer, rdata, len, 16);
	case DNS_PTR:
		return add_name(answer, rdata, len, 0);
	case DNS_MX:
		if (len < 3)
			return BS_ERR_FORMAT;
		return add_name(answer, rdata + 2, len - 2, (uint16_t)(rdata[0] << 8 | rdata[1]));
	case DNS_TXT:
		return add_txt(answer, rdata, len);
	}
	return BS_ERR_FORMAT;
}
