#include "spf_priv.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "network.h"

void
spf_copy_printable(char *out, size_t size, const char *text, size_t len)
{
	size_t n = 0;

	for (; n < len && n + 1 < size; n++)
		out[n] = (char)(text[n] >= 0x20 && text[n] < 0x7f ? text[n] : '?');
	out[n] = '\0';
}

enum spf_result
spf_say(struct spf_eval *eval, enum spf_result result, const char *fmt, ...)
{
	char text[SPF_TEXT_MAX];
	va_list args;

	eval->out->result = result;
	if (eval->out->reason[0] != '\0')
		return result;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	spf_copy_printable(eval->out->reason, sizeof(eval->out->reason), text, strlen(text));
	return result;
}

static bool
read_client(struct spf_eval *eval, const char *text)
{
	struct network_addr addr;

	if (!network_addr(text, &addr))
		return false;
	memcpy(eval->addr, addr.bytes, sizeof(addr.bytes));
	eval->addr_len = addr.len;
	return inet_ntop(addr.len == 4 ? AF_INET : AF_INET6, eval->addr, eval->client, sizeof(eval->client)) != NULL;
}

/* Copies what is no longer than fits; false: it is not copied. */
static bool
copy(char *out, size_t size, const char *text, size_t len)
{
	if (len >= size)
		return false;
	memcpy(out, text, len);
	out[len] = '\0';
	return true;
}

/* Splits the identity into local part and domain (sections 2.4, 4.3). */
static bool
read_sender(struct spf_eval *eval, const char *sender)
{
	const char *at = strrchr(sender, '@');
	size_t local_len = at != NULL ? (size_t)(at - sender) : 0;
	const char *domain = at != NULL ? at + 1 : sender;

	if (local_len == 0)
		(void)copy(eval->local, sizeof(eval->local), "postmaster", 10);
	else if (!copy(eval->local, sizeof(eval->local), sender, local_len))
		return false;
	if (!copy(eval->sender_domain, sizeof(eval->sender_domain), domain, strlen(domain)))
		return false;
	(void)snprintf(eval->sender, sizeof(eval->sender), "%s@%s", eval->local, eval->sender_domain);
	return true;
}

/* A domain that can have a record (section 4.3): at least two labels, of letters, digits, - and _. */
static bool
is_domain(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	const char *dot = strchr(name, '.');

	return dns_name_ok(name) && dot != NULL && dot[1] != '\0' && strspn(name, letters) == strlen(name);
}

/* False: there is nothing to check, and out says why. */
static bool
prepare(struct spf_eval *eval)
{
	const struct spf_request *request = eval->request;
	bool helo = request->identity == SPF_ID_HELO || request->sender[0] == '\0';
	size_t len;

	if (!copy(eval->helo, sizeof(eval->helo), request->helo, strlen(request->helo))) {
		(void)spf_say(eval, SPF_NONE, "HELO name is too long");
		return false;
	}
	if (!read_sender(eval, helo ? request->helo : request->sender)) {
		(void)spf_say(eval, SPF_NONE, "sender is too long");
		return false;
	}
	len = strlen(eval->sender_domain);
	if (is_domain(eval->sender_domain) && eval->sender_domain[len - 1] == '.')
		eval->sender_domain[--len] = '\0';
	spf_copy_printable(eval->out->domain, sizeof(eval->out->domain), eval->sender_domain, len);
	if (!read_client(eval, request->client)) {
		(void)spf_say(eval, SPF_NONE, "client has no address");
		return false;
	}
	if (!is_domain(eval->sender_domain)) {
		(void)spf_say(eval, SPF_NONE, "\"%s\" is no domain name", eval->sender_domain);
		return false;
	}
	return true;
}

void
spf_check(enum spf_engine engine, const struct spf_request *request, struct spf_outcome *out)
{
	struct spf_eval eval = { .request = request, .out = out };

	*out = (struct spf_outcome){ .result = SPF_NONE };
	if (!prepare(&eval))
		return;
	if (engine == SPF_LIBSPF2)
		spf_libspf2(&eval);
	else
		spf_native(&eval);
}

const char *
spf_result_text(enum spf_result result)
{
	static const char *const texts[] = { "none", "neutral", "pass", "fail", "softfail", "temperror", "permerror" };

	return (size_t)result < sizeof(texts) / sizeof(texts[0]) ? texts[result] : "unknown";
}
