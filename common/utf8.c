#include "utf8.h"

#include <stdint.h>

size_t
bs_utf8_char(const char *text, size_t len)
{
	static const uint32_t min[] = { 0, 0x20, 0xa0, 0x800, 0x10000 }; /* U+0080 to U+009F are control characters */
	const uint8_t *p = (const uint8_t *)text;
	size_t n;
	uint32_t c;

	if (len == 0)
		return 0;
	n = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	c = n == 1 ? p[0] : p[0] & (0x7fu >> n);
	if (n > len || (p[0] & 0xc0) == 0x80 || p[0] >= 0xf8)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	return c < min[n] || c == 0x7f || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : n;
}

size_t
bs_utf8_length(const char *text, size_t len)
{
	size_t count = 0;

	while (len > 0) {
		size_t n = bs_utf8_char(text, len);

		if (n == 0)
			return 0;
		text += n;
		len -= n;
		count++;
	}
	return count;
}

bool
bs_utf8_is_text(const char *text, size_t len)
{
	return len == 0 || bs_utf8_length(text, len) > 0;
}

/* U+061C, U+200E, U+200F, U+2028 to U+202E, U+2066 to U+2069, as UTF-8 has them. */
static bool
is_directing(const uint8_t *p, size_t n)
{
	if (n == 2)
		return p[0] == 0xd8 && p[1] == 0x9c;
	if (n != 3 || p[0] != 0xe2)
		return false;
	return (p[1] == 0x80 && (p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae))) ||
	    (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9);
}

bool
bs_utf8_is_name(const char *text, size_t len)
{
	while (len > 0) {
		size_t n = bs_utf8_char(text, len);

		if (n == 0 || is_directing((const uint8_t *)text, n))
			return false;
		text += n;
		len -= n;
	}
	return true;
}
