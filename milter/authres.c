#include "authres.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "rfc5322.h"

#define ID_MAX 512
#define VALUE_MAX 600 /* of one value that we write: a line stays below 998 bytes (RFC 5322 section 2.1.1) */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Past blanks, folds and comments (RFC 5322 CFWS); NULL if a comment does not end. */
static const char *
skip_cfws(const char *p)
{
	while (p != NULL && (is_blank(*p) || *p == '('))
		p = *p == '(' ? rfc5322_skip_comment(p) : p + 1;
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

/* Where the header's value grows; full: it did not fit. */
struct writer {
	char *out;
	size_t n, size;
	bool full;
};

static void put(struct writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void
put(struct writer *w, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(w->out + w->n, w->size - w->n, format, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= w->size - w->n)
		w->full = true;
	else
		w->n += (size_t)n;
}

static void
put_char(struct writer *w, char c)
{
	put(w, "%c", c);
}

/* A pvalue: bare where every byte is harmless, else a quoted string of printable ASCII. */
static void
put_value(struct writer *w, const char *text)
{
	static const char bare[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_+@";
	bool quote = text[0] == '\0' || strspn(text, bare) != strlen(text);
	size_t start = w->n;

	if (quote)
		put_char(w, '"');
	for (; *text != '\0' && w->n - start < VALUE_MAX; text++) {
		if (*text == '"' || *text == '\\')
			put_char(w, '\\');
		put_char(w, (char)(*text >= 0x20 && *text < 0x7f ? *text : '?'));
	}
	if (quote)
		put_char(w, '"');
}

/* A SASL mechanism's name (RFC 4422 section 3.1), or nothing. */
static bool
is_mechanism(const char *text)
{
	size_t len = strlen(text);

	return len > 0 && len <= 20 && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == len;
}

static void
put_login(struct writer *w, const struct session *session)
{
	put(w, ";\n\tauth=pass");
	if (is_mechanism(session->auth_method))
		put(w, " (%s)", session->auth_method);
	put(w, " smtp.auth=");
	put_value(w, session->auth_login);
}

static void
put_spf(struct writer *w, const struct auth_spf *spf, const char *property, const char *value)
{
	put(w, ";\n\tspf=%s", spf_result_text(spf->result));
	if (spf->reason[0] != '\0')
		put(w, " (%s)", spf->reason);
	put(w, " smtp.%s=", property);
	put_value(w, value);
}

/* What a signature does not say is left out. */
static void
put_property(struct writer *w, const char *name, const char *value)
{
	if (value[0] == '\0')
		return;
	put(w, "%s", name);
	put_value(w, value);
}

static void
put_dkim(struct writer *w, const struct auth_dkim *dkim)
{
	put(w, ";\n\tdkim=%s", auth_dkim_result_text(dkim->result));
	if (dkim->reason[0] != '\0')
		put(w, " (%s)", dkim->reason);
	put_property(w, " header.d=", dkim->domain);
	put_property(w, " header.s=", dkim->selector);
	put_property(w, " header.a=", dkim->algorithm);
	put_property(w, " header.b=", dkim->b);
}

static void
put_dmarc(struct writer *w, const struct auth_dmarc *dmarc)
{
	put(w, ";\n\tdmarc=%s", auth_dmarc_result_text(dmarc->result));
	if (dmarc->result == AUTH_DMARC_PASS || dmarc->result == AUTH_DMARC_FAIL)
		put(w, " (p=%s)", auth_dmarc_policy_text(dmarc->policy));
	put_property(w, " header.from=", dmarc->from);
}

enum bs_err
authres_write(const char *authserv_id, const struct session *session, char *out, size_t out_size)
{
	const struct auth *auth = &session->msg.auth;
	char text[AUTHRES_MAX];
	struct writer w = { .out = text, .size = sizeof(text) };
	size_t start;

	put(&w, " %s", authserv_id);
	start = w.n;
	if (session->auth_login[0] != '\0')
		put_login(&w, session);
	if (auth->mailfrom.done)
		put_spf(&w, &auth->mailfrom, "mailfrom",
		    session->msg.sender[0] != '\0' ? session->msg.sender : auth->mailfrom.domain);
	if (auth->helo.done)
		put_spf(&w, &auth->helo, "helo", session->helo);
	for (size_t i = 0; i < auth->n_dkim; i++)
		put_dkim(&w, &auth->dkim[i]);
	if (auth->dkim_done && auth->n_dkim == 0)
		put(&w, ";\n\tdkim=none");
	if (auth->dmarc.done)
		put_dmarc(&w, &auth->dmarc);
	if (w.n == start)
		put(&w, "; none");
	if (w.full || w.n >= out_size)
		return BS_ERR_LIMIT;
	memcpy(out, text, w.n + 1);
	return BS_OK;
}
