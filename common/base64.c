#include "base64.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t
bs_base64_encode(const void *data, size_t len, char *out)
{
	const uint8_t *p = data;
	size_t n = 0;

	for (; len > 0; n += 4) {
		size_t take = len < 3 ? len : 3;
		uint32_t v = (uint32_t)p[0] << 16 | (take > 1 ? (uint32_t)p[1] << 8 : 0) | (take > 2 ? p[2] : 0);

		out[n] = alphabet[v >> 18];
		out[n + 1] = alphabet[v >> 12 & 63];
		out[n + 2] = (char)(take > 1 ? alphabet[v >> 6 & 63] : '=');
		out[n + 3] = (char)(take > 2 ? alphabet[v & 63] : '=');
		p += take;
		len -= take;
	}
	return n;
}

static int
value(char c)
{
	const char *at = c == '\0' ? NULL : strchr(alphabet, c);

	return at == NULL ? -1 : (int)(at - alphabet);
}

enum bs_err
bs_base64_decode(const char *text, size_t text_len, uint8_t *out, size_t size, size_t *len)
{
	uint32_t bits = 0;
	size_t n = 0, chars = 0, pads = 0;

	for (size_t i = 0; i < text_len; i++) {
		int v = value(text[i]);

		if (text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n')
			continue;
		if (text[i] == '=') {
			pads++;
			continue;
		}
		if (v < 0 || pads > 0)
			return BS_ERR_FORMAT;
		bits = bits << 6 | (uint32_t)v;
		if (++chars % 4 == 1)
			continue;
		if (n == size)
			return BS_ERR_LIMIT;
		out[n++] = (uint8_t)(bits >> (6 - 2 * ((chars - 1) % 4)));
		bits &= (1u << (6 - 2 * ((chars - 1) % 4))) - 1;
	}
	if (chars % 4 == 1 || (chars + pads) % 4 != 0 || pads > 2 || bits != 0)
		return BS_ERR_FORMAT;
	*len = n;
	return BS_OK;
}
