#include "from.h"

#include <stdbool.h>
#include <string.h>

#include "rfc5322.h"

#define DOMAIN_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"

/* Where the reading stands. */
struct reader {
	const char *p;
	bool open_quote, open_comment; /* one was seen that never ends: no other is looked for */
};

/* Past the quoted string that p stands on; NULL: it never ends. */
static const char *
skip_quoted(const char *p)
{
	for (p++; *p != '\0'; p++) {
		if (*p == '\\' && p[1] != '\0')
			p++;
		else if (*p == '"')
			return p + 1;
	}
	return NULL;
}

/* Steps over a quoted string or comment, if p stands on one that ends. */
static bool
skip_wrapped(struct reader *r)
{
	bool quote = *r->p == '"', comment = *r->p == '(';
	bool *never = quote ? &r->open_quote : &r->open_comment;
	const char *end = NULL;

	if ((!quote && !comment) || *never)
		return false;
	end = quote ? skip_quoted(r->p) : rfc5322_skip_comment(r->p);
	*never = end == NULL;
	if (end != NULL)
		r->p = end;
	return end != NULL;
}

static void
skip_blanks(struct reader *r)
{
	while (*r->p != '\0' && (strchr(" \t\r\n", *r->p) != NULL || (*r->p == '(' && skip_wrapped(r))))
		if (strchr(" \t\r\n", *r->p) != NULL && *r->p != '\0')
			r->p++;
}

static enum bs_err
keep(struct from_domains *out, char *name, size_t len)
{
	while (len > 0 && name[len - 1] == '.')
		len--;
	name[len] = '\0';
	for (char *c = name; *c != '\0'; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	if (!dns_name_ok(name))
		return BS_ERR_FORMAT;
	for (size_t i = 0; i < out->n; i++)
		if (strcmp(out->name[i], name) == 0)
			return BS_OK;
	if (out->n == FROM_DOMAINS_MAX)
		return BS_ERR_LIMIT;
	memcpy(out->name[out->n++], name, len + 1);
	return BS_OK;
}

/* Reads the domain behind an '@': labels and dots, blanks and comments between them (obs-domain). */
static enum bs_err
read_domain(struct reader *r, struct from_domains *out)
{
	char name[DNS_NAME_MAX + 1];
	size_t n = 0;

	for (;;) {
		size_t len;

		skip_blanks(r);
		len = strspn(r->p, DOMAIN_CHARS);
		/* A blank inside ends it, unless a dot stands on one side. */
		if (len == 0 || (n > 0 && name[n - 1] != '.' && *r->p != '.'))
			break;
		if (n + len > DNS_NAME_MAX)
			return BS_ERR_FORMAT;
		memcpy(name + n, r->p, len);
		n += len;
		r->p += len;
	}
	/* What stands there must end an address; a byte that belongs to no domain makes it another one. */
	if (n == 0 || (*r->p != '\0' && strchr(">,;< \t\r\n\"(:", *r->p) == NULL && strspn(r->p, DOMAIN_CHARS) == 0))
		return BS_ERR_FORMAT;
	return keep(out, name, n);
}

/* Behind '<': a route "@a,@b:" is passed over. */
static void
skip_route(struct reader *r)
{
	const char *end;

	skip_blanks(r);
	if (*r->p != '@')
		return;
	end = r->p + strcspn(r->p, ":><\"");
	if (*end == ':')
		r->p = end + 1;
}

/* To the next character that means something; false at the end. */
static bool
next_special(struct reader *r)
{
	while (*r->p != '\0' && strchr("@<,;", *r->p) == NULL)
		if (!skip_wrapped(r))
			r->p++;
	return *r->p != '\0';
}

/* Whether an angle address follows before the next comma: what stood before it is then a display name. */
static bool
angle_follows(const struct reader *r)
{
	struct reader ahead = *r;

	while (next_special(&ahead) && *ahead.p == '@')
		ahead.p++;
	return *ahead.p == '<';
}

enum bs_err
from_domains(const char *value, struct from_domains *out)
{
	struct reader r = { .p = value };
	enum bs_err err = BS_OK, one;
	size_t found = 0;
	bool angle = false, display = false, looked = false; /* looked: display is known up to the next comma */

	while (next_special(&r)) {
		char c = *r.p++;

		if (c == '<') {
			angle = true;
			skip_route(&r);
		} else if (c == ',' || c == ';') {
			angle = display = looked = false;
			continue;
		}
		if (c != '@')
			continue;
		if (!looked)
			display = !angle && angle_follows(&r);
		looked = true;
		if (angle || !display) {
			one = read_domain(&r, out);
			found++;
			if (err == BS_OK)
				err = one;
		}
	}
	return found == 0 ? BS_ERR_FORMAT : err;
}
