#include "spf_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PARTS_MAX 1000 /* more than any value has */

/* One piece of a macro string: a byte as it is, or a macro. */
struct piece {
	char literal; /* if letter is 0 */
	bool escape;  /* "%%", "%_", "%-": a macro-expand in the grammar */
	const char *text;
	char letter; /* lower-case */
	bool upper;  /* URL escaping */
	bool reverse;
	unsigned parts; /* that are kept, from the right */
	struct spf_slice delimiters;
};

struct sink {
	char *out;
	size_t n, size;
};

static void
put(struct sink *sink, char c)
{
	if (sink->n < sink->size)
		sink->out[sink->n] = c;
	sink->n++; /* beyond size: too long */
}

static void
put_text(struct sink *sink, const char *text)
{
	while (*text != '\0')
		put(sink, *text++);
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* What stands between "%{" and "}". */
static bool
parse_macro(struct spf_slice in, struct piece *out)
{
	size_t i = 1;

	if (in.len == 0)
		return false;
	out->letter = (char)(in.at[0] | 0x20);
	out->upper = in.at[0] != out->letter;
	out->parts = PARTS_MAX;
	if (!is_alnum(in.at[0]) || is_digit(in.at[0]))
		return false;
	if (i < in.len && is_digit(in.at[i])) {
		out->parts = 0;
		for (; i < in.len && is_digit(in.at[i]); i++)
			out->parts = out->parts < PARTS_MAX ? out->parts * 10 + (unsigned)(in.at[i] - '0') : PARTS_MAX;
		if (out->parts == 0)
			return false;
	}
	if (i < in.len && (in.at[i] == 'r' || in.at[i] == 'R')) {
		out->reverse = true;
		i++;
	}
	out->delimiters = (struct spf_slice){ in.at + i, in.len - i };
	for (; i < in.len; i++)
		if (in.at[i] == '\0' || strchr(".-+,/_=", in.at[i]) == NULL)
			return false;
	return true;
}

/* Takes one piece off the front; false: malformed. */
static bool
next_piece(struct spf_slice *rest, struct piece *out)
{
	const char *end;
	size_t used = 2;
	char c = '\0';

	*out = (struct piece){ .text = NULL };
	out->literal = *rest->at;
	if (*rest->at != '%') {
		rest->at++;
		rest->len--;
		return true;
	}
	if (rest->len > 1)
		c = rest->at[1];
	if (c == '{') {
		end = memchr(rest->at, '}', rest->len);
		if (end == NULL || !parse_macro((struct spf_slice){ rest->at + 2, (size_t)(end - rest->at) - 2 }, out))
			return false;
		used = (size_t)(end - rest->at) + 1;
	} else {
		out->escape = true;
		if (c == '_')
			out->literal = ' ';
		out->text = c == '-' ? "%20" : NULL;
	}
	rest->at += used;
	rest->len -= used <= rest->len ? used : rest->len;
	return c == '{' || c == '%' || c == '_' || c == '-';
}

/* toplabel: letters, digits and inner hyphens, not digits alone. */
static bool
is_top_label(const char *text, size_t len)
{
	bool digits_only = true;

	if (len == 0 || !is_alnum(text[0]) || !is_alnum(text[len - 1]))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!is_alnum(text[i]) && text[i] != '-')
			return false;
		digits_only = digits_only && is_digit(text[i]);
	}
	return !digits_only;
}

/* domain-end = ( "." toplabel [ "." ] ) / macro-expand, where tail is what follows the last macro. */
static bool
is_domain_end(struct spf_slice tail, bool after_macro)
{
	size_t dot;

	if (tail.len == 0)
		return after_macro;
	if (tail.at[tail.len - 1] == '.')
		tail.len--;
	for (dot = tail.len; dot > 0 && tail.at[dot - 1] != '.'; dot--)
		;
	return dot > 0 && is_top_label(tail.at + dot, tail.len - dot);
}

bool
spf_macro_ok(struct spf_slice text, enum spf_macro_use use)
{
	const char *letters = use == SPF_MACRO_EXPLAIN ? "slodiphvcrt" : "slodiphv";
	struct spf_slice tail = text;
	bool after_macro = false;
	struct piece piece;

	while (text.len > 0) {
		if (!next_piece(&text, &piece))
			return false;
		if (piece.letter != 0 && strchr(letters, piece.letter) == NULL)
			return false;
		if (piece.letter != 0 || piece.escape) {
			after_macro = true;
			tail = text;
		} else if (piece.literal <= 0x20 || piece.literal >= 0x7f) {
			if (use != SPF_MACRO_EXPLAIN || piece.literal != ' ')
				return false;
		}
	}
	return use != SPF_MACRO_DOMAIN || is_domain_end(tail, after_macro);
}

/* The address for %{i}: as usual, IPv6 as nibbles with dots (section 7.3). */
static void
dotted(const struct spf_eval *eval, char *out, size_t size)
{
	size_t n = 0;

	if (eval->addr_len == 4) {
		(void)snprintf(out, size, "%s", eval->client);
		return;
	}
	for (size_t i = 0; i < eval->addr_len && n + 4 < size; i++) {
		(void)snprintf(out + n, size - n, "%s%X.%X", i > 0 ? "." : "", eval->addr[i] >> 4, eval->addr[i] & 15U);
		n += i > 0 ? 4 : 3;
	}
}

/* What a letter stands for; in buf or elsewhere. */
static const char *
value_of(struct spf_eval *eval, const char *domain, char letter, char *buf, size_t size)
{
	switch (letter) {
	case 's':
		return eval->sender;
	case 'l':
		return eval->local;
	case 'o':
		return eval->sender_domain;
	case 'd':
		return domain;
	case 'i':
		dotted(eval, buf, size);
		return buf;
	case 'p':
		return spf_ptr_best(eval, domain);
	case 'h':
		return eval->helo;
	case 'v':
		return eval->addr_len == 4 ? "in-addr" : "ip6";
	case 'c':
		return eval->client;
	case 'r':
		return eval->request->receiver[0] != '\0' ? eval->request->receiver : "unknown";
	default: /* 't' */
		(void)snprintf(buf, size, "%" PRId64, (int64_t)time(NULL));
		return buf;
	}
}

static bool
is_delimiter(const struct piece *piece, char c)
{
	return piece->delimiters.len == 0 ? c == '.' : memchr(piece->delimiters.at, c, piece->delimiters.len) != NULL;
}

/* One byte of a value; upper-case letters ask for URL escaping of all but unreserved characters (RFC 3986). */
static void
put_value(struct sink *sink, const struct piece *piece, char c)
{
	char hex[4];

	if (!piece->upper || is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~') {
		put(sink, c);
		return;
	}
	(void)snprintf(hex, sizeof(hex), "%%%02X", (unsigned)(unsigned char)c);
	put_text(sink, hex);
}

/* Where the last (or from the left, the first) parts parts of value end. */
static size_t
cut(const struct piece *piece, const char *value, size_t len)
{
	unsigned parts = 0;
	size_t i;

	if (piece->reverse) {
		for (i = 0; i < len; i++)
			if (is_delimiter(piece, value[i]) && ++parts == piece->parts)
				break;
		return i;
	}
	for (i = len; i > 0; i--)
		if (is_delimiter(piece, value[i - 1]) && ++parts == piece->parts)
			break;
	return i;
}

/* Splits, reverses, keeps the parts on the right, joins with dots (section 7.3). */
static void
put_transformed(struct sink *sink, const struct piece *piece, const char *value)
{
	size_t len = strlen(value), end = cut(piece, value, len), start;

	if (!piece->reverse) {
		for (size_t i = end; i < len; i++) {
			if (is_delimiter(piece, value[i]))
				put(sink, '.');
			else
				put_value(sink, piece, value[i]);
		}
		return;
	}
	for (;; end = start - 1) {
		for (start = end; start > 0 && !is_delimiter(piece, value[start - 1]); start--)
			;
		for (size_t i = start; i < end; i++)
			put_value(sink, piece, value[i]);
		if (start == 0)
			return;
		put(sink, '.');
	}
}

/* Section 7.3: labels on the left go until the name fits. */
static const char *
fit_domain(char *name, size_t len)
{
	const char *dot;

	if (len > 0 && name[len - 1] == '.')
		name[--len] = '\0';
	while (len > DNS_NAME_MAX) {
		dot = strchr(name, '.');
		if (dot == NULL)
			return NULL;
		len -= (size_t)(dot + 1 - name);
		name += dot + 1 - name;
	}
	return name;
}

enum bs_err
spf_macro_expand(struct spf_eval *eval, const char *domain, struct spf_slice text, enum spf_macro_use use, char *out,
    size_t size)
{
	char expanded[SPF_EXPANDED_MAX + 1], buf[80] = "";
	struct sink sink = { .out = expanded, .size = SPF_EXPANDED_MAX };
	const char *result = expanded;
	struct piece piece;

	while (text.len > 0 && sink.n <= sink.size) {
		if (!next_piece(&text, &piece))
			return BS_ERR_FORMAT;
		if (piece.letter != 0)
			put_transformed(&sink, &piece, value_of(eval, domain, piece.letter, buf, sizeof(buf)));
		else if (piece.text != NULL)
			put_text(&sink, piece.text);
		else
			put(&sink, piece.literal);
	}
	if (sink.n > sink.size)
		return BS_ERR_LIMIT;
	expanded[sink.n] = '\0';
	if (use == SPF_MACRO_DOMAIN)
		result = fit_domain(expanded, sink.n);
	if (result == NULL || strlen(result) >= size)
		return BS_ERR_LIMIT;
	memcpy(out, result, strlen(result) + 1);
	return BS_OK;
}
