#include "hex.h"

/* No table look-up by a secret index. */
static char
digit(unsigned v)
{
	return (char)(v + '0' + (((9 - v) >> 8) & ('a' - '0' - 10)));
}

void
bs_hex_encode(const void *data, size_t len, char *out)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digit(p[i] >> 4);
		out[2 * i + 1] = digit(p[i] & 15u);
	}
}

static int
value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool
bs_hex_decode(const char *text, void *out, size_t len)
{
	uint8_t *p = out;

	for (size_t i = 0; i < len; i++) {
		int hi = value(text[2 * i]), lo = hi < 0 ? -1 : value(text[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		p[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}
