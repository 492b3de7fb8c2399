#include "spf_priv.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

static bool
is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool
spf_slice_is(struct spf_slice slice, const char *word)
{
	return slice.len == strlen(word) && strncasecmp(slice.at, word, slice.len) == 0;
}

bool
spf_is_record(const uint8_t *data, size_t len, struct spf_slice *rest)
{
	static const char version[] = "v=spf1";
	size_t n = sizeof(version) - 1;

	if (len < n || strncasecmp((const char *)data, version, n) != 0 || (len > n && data[n] != ' '))
		return false;
	*rest = (struct spf_slice){ (const char *)data + n, len - n };
	return true;
}

/* Takes what stands up to the next blank. */
static bool
next_word(struct spf_slice *rest, struct spf_slice *word)
{
	const char *end;

	while (rest->len > 0 && *rest->at == ' ') {
		rest->at++;
		rest->len--;
	}
	end = memchr(rest->at, ' ', rest->len);
	word->at = rest->at;
	word->len = end != NULL ? (size_t)(end - rest->at) : rest->len;
	rest->at += word->len;
	rest->len -= word->len;
	return word->len > 0;
}

static bool
is_name_char(char c)
{
	return is_alpha(c) || is_digit(c) || c == '-' || c == '_' || c == '.';
}

/* name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." ); 0: none. */
static size_t
name_len(struct spf_slice text)
{
	size_t n = 0;

	while (n < text.len && (n > 0 ? is_name_char(text.at[n]) : is_alpha(text.at[n])))
		n++;
	return n;
}

/* Takes slashes and a number off the end, if they are there: no leading zero, at most max. */
static bool
take_prefix(struct spf_slice *arg, const char *slashes, unsigned max, unsigned *out)
{
	size_t digits = 0, n = strlen(slashes);
	unsigned value = 0;

	while (digits < arg->len && is_digit(arg->at[arg->len - digits - 1]))
		digits++;
	if (digits == 0 || arg->len - digits < n || memcmp(arg->at + arg->len - digits - n, slashes, n) != 0)
		return true;
	if (digits > 3 || (digits > 1 && arg->at[arg->len - digits] == '0'))
		return false;
	for (size_t i = arg->len - digits; i < arg->len; i++)
		value = value * 10 + (unsigned)(arg->at[i] - '0');
	arg->len -= digits + n;
	*out = value;
	return value <= max;
}

/* Takes ":" domain-spec, all that is left of arg. */
static bool
take_domain(struct spf_slice arg, struct spf_term *out)
{
	if (arg.len < 2 || *arg.at != ':')
		return false;
	out->domain = (struct spf_slice){ arg.at + 1, arg.len - 1 };
	return spf_macro_ok(out->domain, SPF_MACRO_DOMAIN);
}

/* Takes ":" address, all that is left of arg. */
static bool
take_network(struct spf_slice arg, int family, struct spf_term *out)
{
	char text[INET6_ADDRSTRLEN];

	if (arg.len < 2 || arg.len > sizeof(text) || *arg.at != ':' || memchr(arg.at, 0, arg.len) != NULL)
		return false;
	memcpy(text, arg.at + 1, arg.len - 1);
	text[arg.len - 1] = '\0';
	return inet_pton(family, text, out->network) == 1;
}

/* What follows a mechanism's name. */
static bool
parse_argument(struct spf_slice arg, struct spf_term *out)
{
	switch (out->kind) {
	case SPF_ALL:
		return arg.len == 0;
	case SPF_INCLUDE:
	case SPF_EXISTS:
		return take_domain(arg, out);
	case SPF_PTR:
		return arg.len == 0 || take_domain(arg, out);
	case SPF_A:
	case SPF_MX:
		return take_prefix(&arg, "//", 128, &out->prefix6) && take_prefix(&arg, "/", 32, &out->prefix4) &&
		    (arg.len == 0 || take_domain(arg, out));
	case SPF_IP4:
		return take_prefix(&arg, "/", 32, &out->prefix4) && take_network(arg, AF_INET, out);
	case SPF_IP6:
		return take_prefix(&arg, "/", 128, &out->prefix6) && take_network(arg, AF_INET6, out);
	default:
		return false;
	}
}

static bool
parse_mechanism(struct spf_slice name, struct spf_slice arg, struct spf_term *out)
{
	static const struct {
		const char *name;
		enum spf_kind kind;
	} known[] = { { "all", SPF_ALL }, { "include", SPF_INCLUDE }, { "a", SPF_A }, { "mx", SPF_MX }, { "ptr", SPF_PTR },
		{ "ip4", SPF_IP4 }, { "ip6", SPF_IP6 }, { "exists", SPF_EXISTS } };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (spf_slice_is(name, known[i].name)) {
			out->kind = known[i].kind;
			return parse_argument(arg, out);
		}
	}
	return false;
}

static bool
parse_modifier(struct spf_slice name, struct spf_slice value, struct spf_term *out)
{
	out->kind = spf_slice_is(name, "redirect") ? SPF_REDIRECT : spf_slice_is(name, "exp") ? SPF_EXP : SPF_OTHER_MODIFIER;
	if (out->kind == SPF_OTHER_MODIFIER)
		return spf_macro_ok(value, SPF_MACRO_VALUE);
	out->domain = value;
	return spf_macro_ok(value, SPF_MACRO_DOMAIN);
}

/* The result that a qualifier stands for; false: c is none. */
static bool
qualifier(char c, enum spf_result *out)
{
	static const char signs[] = "+-?~";
	static const enum spf_result results[] = { SPF_PASS, SPF_FAIL, SPF_NEUTRAL, SPF_SOFTFAIL };
	const char *at = c != '\0' ? strchr(signs, c) : NULL;

	if (at != NULL)
		*out = results[at - signs];
	return at != NULL;
}

enum bs_err
spf_term_next(struct spf_slice *rest, struct spf_term *out)
{
	struct spf_slice word, name, arg;
	bool qualified;

	*out = (struct spf_term){ .result = SPF_PASS, .prefix4 = 32, .prefix6 = 128 };
	if (!next_word(rest, &word))
		return BS_ERR_NOENT;
	out->text = word;
	qualified = qualifier(*word.at, &out->result);
	if (qualified) {
		word.at++;
		word.len--;
	}
	name = (struct spf_slice){ word.at, name_len(word) };
	arg = (struct spf_slice){ word.at + name.len, word.len - name.len };
	if (name.len == 0)
		return BS_ERR_FORMAT;
	if (arg.len > 0 && *arg.at == '=') {
		arg.at++;
		arg.len--;
		return !qualified && parse_modifier(name, arg, out) ? BS_OK : BS_ERR_FORMAT;
	}
	return parse_mechanism(name, arg, out) ? BS_OK : BS_ERR_FORMAT;
}
