#include "authres.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ID_MAX 512

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Past the comment that p stands on, comments in it included; NULL if it does not end. */
static const char *
skip_comment(const char *p)
{
	unsigned depth = 0;

	for (; *p != '\0'; p++) {
		if (*p == '\\' && p[1] != '\0')
			p++;
		else if (*p == '(')
			depth++;
		else if (*p == ')' && --depth == 0)
			return p + 1;
	}
	return NULL;
}

/* Past blanks, folds and comments (RFC 5322 CFWS); NULL if a comment does not end. */
static const char *
skip_cfws(const char *p)
{
	while (p != NULL && (is_blank(*p) || *p == '('))
		p = *p == '(' ? skip_comment(p) : p + 1;
	return p;
}

/* RFC 2045 token: printable ASCII but blanks and tspecials; bytes above ASCII are let through (RFC 6532). */
static bool
is_token(char c)
{
	unsigned char u = (unsigned char)c;

	return u > 0x20 && u != 0x7f && strchr("()<>@,;:\\\"/[]?=", c) == NULL;
}

/* Copies the token or quoted string that p stands on; NULL if there is none or it is too long. */
static const char *
read_value(const char *p, char out[ID_MAX])
{
	bool quoted = *p == '"';
	size_t n = 0;

	if (quoted)
		p++;
	for (; quoted ? *p != '"' : *p != '\0' && is_token(*p); p++) {
		if (quoted && *p == '\\')
			p++;
		if (*p == '\0' || n == ID_MAX - 1)
			return NULL;
		if (*p != '\r' && *p != '\n')
			out[n++] = *p;
	}
	out[n] = '\0';
	return quoted ? p + 1 : n > 0 ? p : NULL;
}

static size_t
len_without_dot(const char *id)
{
	size_t len = strlen(id);

	return len > 0 && id[len - 1] == '.' ? len - 1 : len;
}

static bool
same_id(const char *a, const char *b)
{
	size_t len = len_without_dot(a);

	return len == len_without_dot(b) && strncasecmp(a, b, len) == 0;
}

/* After the authserv-id: an optional version, then ';' or the end (RFC 8601 section 2.2). */
static bool
follows_grammar(const char *p)
{
	p = skip_cfws(p);
	if (p == NULL)
		return false;
	while (*p >= '0' && *p <= '9')
		p++;
	p = skip_cfws(p);
	return p != NULL && (*p == ';' || *p == '\0');
}

bool
authres_claims(const char *value, const char *authserv_id)
{
	char id[ID_MAX];
	const char *p = skip_cfws(value);

	if (p != NULL)
		p = read_value(p, id);
	if (p == NULL || !follows_grammar(p))
		return true;
	return same_id(id, authserv_id);
}

/* Writes login as a pvalue: bare where every byte is harmless, else as a quoted string of printable ASCII. */
static void
quote_login(const char *login, char *out, size_t size)
{
	static const char bare[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_+@";
	bool quote = strspn(login, bare) != strlen(login);
	size_t n = 0;

	if (quote)
		out[n++] = '"';
	for (; *login != '\0' && n + 4 < size; login++) {
		if (*login == '"' || *login == '\\')
			out[n++] = '\\';
		out[n++] = (char)(*login >= 0x20 && *login < 0x7f ? *login : '?');
	}
	if (quote)
		out[n++] = '"';
	out[n] = '\0';
}

/* A SASL mechanism's name (RFC 4422 section 3.1), or nothing. */
static bool
is_mechanism(const char *text)
{
	size_t len = strlen(text);

	return len > 0 && len <= 20 && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == len;
}

enum bs_err
authres_write(const char *authserv_id, const char *auth_method, const char *login, char *out, size_t out_size)
{
	char text[AUTHRES_MAX], name[800];
	bool comment = is_mechanism(auth_method);
	int n;

	if (login[0] == '\0') {
		n = snprintf(text, sizeof(text), " %s; none", authserv_id);
	} else {
		quote_login(login, name, sizeof(name));
		n = snprintf(text, sizeof(text), " %s;\n\tauth=pass%s%s%s smtp.auth=%s", authserv_id,
		    comment ? " (" : "", comment ? auth_method : "", comment ? ")" : "", name);
	}
	if (n < 0 || (size_t)n >= sizeof(text) || (size_t)n >= out_size)
		return BS_ERR_LIMIT;
	memcpy(out, text, (size_t)n + 1);
	return BS_OK;
}
