#include "sender.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

void
sender_lower(const char *sender, char out[SENDER_MAX])
{
	size_t n = 0;

	for (; n + 1 < SENDER_MAX && sender[n] != '\0'; n++)
		out[n] = (char)tolower((unsigned char)sender[n]);
	out[n] = '\0';
}

const char *
sender_domain(const char *sender)
{
	const char *at = strrchr(sender, '@');

	return at != NULL ? at + 1 : "";
}

/* The local part without what stands before it for BATV; *len changes too. */
static const char *
skip_tag(const char *local, size_t *len)
{
	const char *end = *len > 5 && strncmp(local, "prvs=", 5) == 0 ? memchr(local + 5, '=', *len - 5) : NULL;

	if (end == NULL)
		return local;
	*len -= (size_t)(end + 1 - local);
	return end + 1;
}

/* RFC-less, but everywhere the same: "srs0" or "srs1", then one of three separators. */
static bool
is_srs(const char *local, size_t len)
{
	return len > 5 && strncmp(local, "srs", 3) == 0 && (local[3] == '0' || local[3] == '1') && strchr("=+-", local[4]) != NULL;
}

/* Words with a digit become "#"; how long it is then. out has room for len. */
static size_t
blur(const char *local, size_t len, char *out)
{
	size_t n = 0, word;

	for (size_t i = 0; i < len; i += word) {
		bool digit = false;

		for (word = 0; i + word < len && isalnum((unsigned char)local[i + word]); word++)
			digit = digit || isdigit((unsigned char)local[i + word]);
		if (word == 0) {
			out[n++] = local[i];
			word = 1;
		} else if (digit) {
			out[n++] = '#';
		} else {
			memcpy(out + n, local + i, word);
			n += word;
		}
	}
	return n;
}

void
sender_stem(const char *sender, char out[SENDER_MAX])
{
	char lower[SENDER_MAX] = "";
	const char *at, *local = lower;
	size_t len, n;

	sender_lower(sender, lower);
	at = strrchr(lower, '@');
	len = at != NULL ? (size_t)(at - lower) : strlen(lower);
	local = skip_tag(local, &len);
	if (is_srs(local, len)) {
		memcpy(out, "srs", 3); /* NOLINT(bugprone-not-null-terminated-result): the end comes below */
		n = 3;
	} else {
		const char *plus = memchr(local, '+', len);

		n = blur(local, plus != NULL && plus > local ? (size_t)(plus - local) : len, out);
	}
	memcpy(out + n, at != NULL ? at : "", at != NULL ? strlen(at) + 1 : 1);
}
