#include "envelope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ADDRESS_ATOM "!#$%&'*+-/=?^_`{|}~."

void
reply_set(struct reply *reply, const char *code, const char *text)
{
	(void)snprintf(reply->code, sizeof(reply->code), "%s", code);
	(void)snprintf(reply->text, sizeof(reply->text), "%s", text);
}

/* Copies "<...>" at the front of args without its brackets; NULL: there is none. Else what follows. */
static const char *
take_path(const char *args, char *out)
{
	size_t n = 0;
	bool quoted = false;

	if (*args++ != '<')
		return NULL;
	for (; *args != '\0' && (quoted || *args != '>'); args++) {
		if (n + 2 >= PATH_MAX_LEN || (unsigned char)*args < ' ' || *args == 0x7f)
			return NULL;
		if (*args == '"')
			quoted = !quoted;
		out[n++] = *args;
		if (quoted && *args == '\\' && args[1] > ' ')
			out[n++] = *++args;
	}
	out[n] = '\0';
	return *args == '>' ? args + 1 : NULL;
}

/* Calls f for each " KEY=VALUE" or " KEY". */
static enum bs_err
each_param(const char *args, enum bs_err (*f)(void *ctx, const char *key, const char *value), void *ctx)
{
	enum bs_err err = BS_OK;

	while (err == BS_OK) {
		char word[PARAM_MAX + 16], *equals;
		size_t len;

		args += strspn(args, " ");
		if (*args == '\0')
			return BS_OK;
		len = strcspn(args, " ");
		if (len >= sizeof(word))
			return BS_ERR_LIMIT;
		memcpy(word, args, len);
		word[len] = '\0';
		args += len;
		equals = strchr(word, '=');
		if (equals != NULL)
			*equals = '\0';
		err = f(ctx, word, equals == NULL ? "" : equals + 1);
	}
	return err;
}

static bool
copy(char *out, size_t size, const char *value)
{
	size_t len = strlen(value);

	if (len >= size)
		return false;
	memcpy(out, value, len + 1);
	return true;
}

static enum bs_err
mail_param(void *ctx, const char *key, const char *value)
{
	struct envelope *env = ctx;
	bool ok = true;

	if (strcasecmp(key, "BODY") == 0) {
		env->body_8bit = strcasecmp(value, "8BITMIME") == 0;
		ok = env->body_8bit || strcasecmp(value, "7BIT") == 0;
	} else if (strcasecmp(key, "SMTPUTF8") == 0) {
		env->smtputf8 = true;
	} else if (strcasecmp(key, "RET") == 0) {
		ok = copy(env->ret, sizeof(env->ret), value);
	} else if (strcasecmp(key, "ENVID") == 0) {
		ok = copy(env->envid, sizeof(env->envid), value);
	} else {
		ok = strcasecmp(key, "SIZE") == 0;
	}
	return ok ? BS_OK : BS_ERR_FORMAT;
}

enum bs_err
envelope_mail(struct envelope *env, const char *args)
{
	const char *rest = take_path(args, env->sender);
	enum bs_err err = rest == NULL || (*rest != '\0' && *rest != ' ') ? BS_ERR_FORMAT : each_param(rest, mail_param, env);

	if (err != BS_OK) {
		envelope_clear(env);
		return err;
	}
	env->open = true;
	return BS_OK;
}

static int
hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
envelope_xtext(const char *from, char *out, size_t size)
{
	size_t n = 0;

	for (; *from != '\0'; from++) {
		char c = *from;

		if (n + 1 >= size)
			return false;
		if (c == '+') {
			int hi = hex_value(from[1]), lo = hi < 0 ? -1 : hex_value(from[2]);

			if (hi < 0 || lo < 0 || (hi == 0 && lo == 0))
				return false;
			c = (char)(hi << 4 | lo);
			from += 2;
		}
		out[n++] = c;
	}
	out[n] = '\0';
	return true;
}

static enum bs_err
rcpt_param(void *ctx, const char *key, const char *value)
{
	struct recipient *rcpt = ctx;
	bool ok = true;

	if (strcasecmp(key, "NOTIFY") == 0) {
		ok = copy(rcpt->notify, sizeof(rcpt->notify), value);
	} else if (strcasecmp(key, "ORCPT") == 0) {
		ok = copy(rcpt->raw_orcpt, sizeof(rcpt->raw_orcpt), value);
		if (ok && strncasecmp(value, "rfc822;", 7) == 0 && !envelope_xtext(value + 7, rcpt->orcpt, sizeof(rcpt->orcpt)))
			rcpt->orcpt[0] = '\0';
	} else {
		ok = false;
	}
	return ok ? BS_OK : BS_ERR_FORMAT;
}

/* Splits path into base and detail. An address without a domain (postmaster) is its own base. */
static void
take_apart(struct recipient *rcpt)
{
	const char *at = strrchr(rcpt->path, '@'), *from = rcpt->path;
	const char *end = at == NULL ? from + strlen(from) : at;
	char local[PATH_MAX_LEN];
	size_t n = 0, base_len;
	char *plus;

	if (end - from >= 2 && from[0] == '"' && end[-1] == '"') {
		for (from++, end--; from < end; from++) {
			if (*from == '\\' && from + 1 < end)
				from++;
			local[n++] = *from;
		}
	} else {
		memcpy(local, from, (size_t)(end - from));
		n = (size_t)(end - from);
	}
	local[n] = '\0';
	plus = n == 0 ? NULL : strchr(local + 1, '+');
	base_len = plus == NULL ? n : (size_t)(plus - local);
	if (plus != NULL)
		(void)copy(rcpt->detail, sizeof(rcpt->detail), plus + 1);
	memcpy(rcpt->base, local, base_len);
	(void)snprintf(rcpt->base + base_len, sizeof(rcpt->base) - base_len, "%s", at == NULL ? "" : at);
}

enum bs_err
envelope_rcpt(struct envelope *env, const char *args, size_t recipients_max)
{
	struct recipient *rcpt, **more;
	const char *rest;
	enum bs_err err;

	if (env->n_recipients >= recipients_max)
		return BS_ERR_LIMIT;
	rcpt = calloc(1, sizeof(*rcpt));
	if (rcpt == NULL)
		return BS_ERR_NOMEM;
	rest = take_path(args, rcpt->path);
	if (rest == NULL || rcpt->path[0] == '\0' || (*rest != '\0' && *rest != ' '))
		err = BS_ERR_FORMAT;
	else
		err = each_param(rest, rcpt_param, rcpt);
	more = err != BS_OK ? NULL : realloc(env->recipients, (env->n_recipients + 1) * sizeof(*more));
	if (more == NULL) {
		free(rcpt);
		return err == BS_OK ? BS_ERR_NOMEM : err == BS_ERR_LIMIT ? BS_ERR_FORMAT : err;
	}
	take_apart(rcpt);
	env->recipients = more;
	env->recipients[env->n_recipients++] = rcpt;
	return BS_OK;
}

void
envelope_clear(struct envelope *env)
{
	for (size_t i = 0; i < env->n_recipients; i++) {
		free(env->recipients[i]->part);
		free(env->recipients[i]);
	}
	free(env->recipients);
	*env = (struct envelope){ 0 };
}

/* RFC 5321 4.1.2: a Dot-string; else it needs quotes. UTF-8 is let through (RFC 6531). */
static bool
is_dot_string(const char *local)
{
	size_t len = strlen(local);

	if (len == 0 || local[0] == '.' || local[len - 1] == '.' || strstr(local, "..") != NULL)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)local[i];

		if (!(c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
		        || strchr(ADDRESS_ATOM, c) != NULL))
			return false;
	}
	return true;
}

enum bs_err
envelope_address(const struct recipient *rcpt, const char *folder, char *out, size_t size)
{
	const char *at = strrchr(rcpt->base, '@');
	char local[2 * PATH_MAX_LEN];
	size_t n = 0;
	int base_len = at == NULL ? (int)strlen(rcpt->base) : (int)(at - rcpt->base);

	(void)snprintf(local, sizeof(local), "%.*s%s%s", base_len, rcpt->base, folder[0] == '\0' ? "" : "+", folder);
	if (is_dot_string(local))
		return (size_t)snprintf(out, size, "%s%s", local, at == NULL ? "" : at) < size ? BS_OK : BS_ERR_LIMIT;
	if (size < 4)
		return BS_ERR_LIMIT;
	out[n++] = '"';
	for (const char *p = local; *p != '\0'; p++) {
		if (n + 4 >= size)
			return BS_ERR_LIMIT;
		if (*p == '"' || *p == '\\')
			out[n++] = '\\';
		out[n++] = *p;
	}
	return (size_t)snprintf(out + n, size - n, "\"%s", at == NULL ? "" : at) < size - n ? BS_OK : BS_ERR_LIMIT;
}
