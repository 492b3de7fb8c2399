#include "session.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "address.h"
#include "sock.h"

/* All strings start as this one, which is never freed. */
static char nothing[] = "";

static void
drop(struct session *session, char **where)
{
	if (*where != nothing) {
		session->bytes -= strlen(*where) + 1;
		free(*where);
	}
	*where = nothing;
}

static enum bs_err
copy(struct session *session, const char *text, size_t len, char **out)
{
	char *dup;

	if (len >= SESSION_BYTES_MAX || session->bytes + len + 1 > SESSION_BYTES_MAX)
		return BS_ERR_LIMIT;
	dup = strndup(text, len);
	if (dup == NULL)
		return BS_ERR_NOMEM;
	session->bytes += strlen(dup) + 1;
	*out = dup;
	return BS_OK;
}

enum bs_err
session_set(struct session *session, char **where, const char *text)
{
	char *dup = nothing;
	enum bs_err err;

	if (text[0] != '\0') {
		err = copy(session, text, strlen(text), &dup);
		if (err != BS_OK)
			return err;
	}
	drop(session, where);
	*where = dup;
	return BS_OK;
}

/* The same for an address in angle brackets. */
static enum bs_err
set_address(struct session *session, char **where, const char *address)
{
	size_t len = strlen(address);

	if (len >= 2 && address[0] == '<' && address[len - 1] == '>') {
		address++;
		len -= 2;
	}
	drop(session, where);
	return len == 0 ? BS_OK : copy(session, address, len, where);
}

static void
message_init(struct message *msg)
{
	*msg = (struct message){ .sender = nothing, .queue_id = nothing, .message_id = nothing };
}

enum bs_err
session_new(struct session **out)
{
	struct session *session = calloc(1, sizeof(*session));

	if (session == NULL)
		return BS_ERR_NOMEM;
	session->client_addr = session->client_name = session->helo = nothing;
	session->auth_login = session->auth_method = nothing;
	message_init(&session->msg);
	*out = session;
	return BS_OK;
}

static void
findings_clear(struct findings *found)
{
	for (size_t i = 0; i < BS_CHECK_COUNT; i++) {
		free(found->of[i]);
		found->of[i] = NULL;
	}
}

static void
recipient_free(struct session *session, struct recipient *recipient)
{
	findings_clear(&recipient->found);
	free(recipient->finals);
	drop(session, &recipient->address);
	drop(session, &recipient->refused_by_mta);
	resolution_unref(recipient->res);
	free(recipient);
}

void
session_end_message(struct session *session)
{
	struct message *msg = &session->msg;

	for (size_t i = 0; i < msg->n_finals; i++) {
		findings_clear(&msg->finals[i]->found);
		free(msg->finals[i]);
	}
	for (size_t i = 0; i < msg->n_recipients; i++)
		recipient_free(session, msg->recipients[i]);
	findings_clear(&msg->found);
	resolution_unref(msg->login);
	for (size_t i = 0; i < msg->n_names; i++)
		drop(session, &msg->names[i].name);
	free(msg->finals);
	free(msg->recipients);
	free(msg->forged);
	drop(session, &msg->sender);
	drop(session, &msg->queue_id);
	drop(session, &msg->message_id);
	message_init(msg);
}

void
session_free(struct session *session)
{
	if (session == NULL)
		return;
	session_end_message(session);
	findings_clear(&session->found);
	drop(session, &session->client_addr);
	drop(session, &session->client_name);
	drop(session, &session->helo);
	drop(session, &session->auth_login);
	drop(session, &session->auth_method);
	free(session);
}

/* The number behind SIZE= (RFC 1870), or 0. */
static uint64_t
declared_size(char *const *args)
{
	for (; args != NULL && *args != NULL; args++)
		if (strncasecmp(*args, "SIZE=", 5) == 0)
			return strtoull(*args + 5, NULL, 10);
	return 0;
}

enum bs_err
session_begin_message(struct session *session, const char *address, char *const *args)
{
	enum bs_err err;

	session_end_message(session);
	err = set_address(session, &session->msg.sender, address);
	if (err != BS_OK)
		return err;
	session->msg.size_declared = declared_size(args);
	session->msg.started_ms = bs_now_ms();
	session->msg.now_s = session->at_s != 0 ? session->at_s : (int64_t)time(NULL);
	session->msg.open = true;
	return BS_OK;
}

/* Makes room for one more element; sizes are powers of two from 4. */
static enum bs_err
grow(void **items, size_t n, size_t size, size_t max)
{
	void *more;

	if (n >= max)
		return BS_ERR_LIMIT;
	if (n != 0 && (n < 4 || (n & (n - 1)) != 0))
		return BS_OK;
	more = realloc(*items, (n < 4 ? 4 : n * 2) * size);
	if (more == NULL)
		return BS_ERR_NOMEM;
	*items = more;
	return BS_OK;
}

/* "alice"@example.org is alice@example.org; what needs its quotes keeps them. */
static void
unquote(char *address)
{
	static const char bare[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.!#$%&'*+-/=?^_`{|}~";
	const char *end = address[0] == '"' ? strstr(address, "\"@") : NULL;
	size_t len = end == NULL ? 0 : (size_t)(end - address) - 1;

	if (len == 0 || strspn(address + 1, bare) != len)
		return;
	memmove(address, address + 1, len);
	memmove(address + len, end + 1, strlen(end + 1) + 1);
}

/* As Postfix reads it: without source route (RFC 5321 appendix C), idle quotes, and the dot behind the domain. */
static void
simplify(struct session *session, char *address)
{
	size_t before = strlen(address), len;
	const char *route = address[0] == '@' ? strchr(address, ':') : NULL;

	if (route != NULL)
		memmove(address, route + 1, strlen(route + 1) + 1);
	unquote(address);
	len = strlen(address);
	if (len > 0 && address[len - 1] == '.')
		address[--len] = '\0';
	session->bytes -= before - len;
}

enum bs_err
session_add_recipient(struct session *session, const char *address, struct recipient **out)
{
	struct message *msg = &session->msg;
	struct recipient *recipient;
	void *items = msg->recipients;
	enum bs_err err;

	err = grow(&items, msg->n_recipients, sizeof(*msg->recipients), SESSION_RECIPIENTS_MAX);
	if (err != BS_OK)
		return err;
	msg->recipients = items;
	recipient = calloc(1, sizeof(*recipient));
	if (recipient == NULL)
		return BS_ERR_NOMEM;
	recipient->address = recipient->refused_by_mta = nothing;
	err = set_address(session, &recipient->address, address);
	if (err != BS_OK) {
		recipient_free(session, recipient);
		return err;
	}
	simplify(session, recipient->address);
	msg->recipients[msg->n_recipients++] = recipient;
	*out = recipient;
	return BS_OK;
}

/* The account of target among the message's, or NULL. */
static struct final *
find_final(const struct message *msg, const struct resolution_target *target)
{
	char wanted[BS_ADDRESS_MAX + 1], other[BS_ADDRESS_MAX + 1];

	bs_address_base(target->address, wanted);
	for (size_t i = 0; i < msg->n_finals; i++) {
		bs_address_base(msg->finals[i]->target->address, other);
		if (strcmp(wanted, other) == 0)
			return msg->finals[i];
	}
	return NULL;
}

static enum bs_err
new_final(struct message *msg, const struct resolution_target *target, struct final **out)
{
	void *items = msg->finals;
	struct final *final;
	enum bs_err err = grow(&items, msg->n_finals, sizeof(struct final *), SESSION_FINALS_MAX);

	if (err != BS_OK)
		return err;
	msg->finals = items;
	final = calloc(1, sizeof(*final));
	if (final == NULL)
		return BS_ERR_NOMEM;
	final->target = target;
	msg->finals[msg->n_finals++] = final;
	*out = final;
	return BS_OK;
}

enum bs_err
session_add_final(struct session *session, struct recipient *recipient, const struct resolution_target *target,
    struct final **out)
{
	struct final *final = find_final(&session->msg, target);
	void *items = recipient->finals;
	enum bs_err err = grow(&items, recipient->n_finals, sizeof(struct final *), SESSION_FINALS_MAX);

	if (err != BS_OK)
		return err;
	recipient->finals = items;
	if (final == NULL) {
		err = new_final(&session->msg, target, &final);
		if (err != BS_OK)
			return err;
	}
	recipient->finals[recipient->n_finals++] = final;
	*out = final;
	return BS_OK;
}

enum bs_err
session_keep_finding(struct findings *found, const struct finding *finding)
{
	struct finding **place = &found->of[finding->id];
	uint32_t us = 0;

	if (*place == NULL)
		*place = malloc(sizeof(**place));
	else
		us = (*place)->us;
	if (*place == NULL)
		return BS_ERR_NOMEM;
	**place = *finding;
	(*place)->us += us;
	return BS_OK;
}

bool
session_is_inbound(const struct session *session)
{
	return session->auth_login[0] == '\0';
}

enum bs_err
session_count_header(struct session *session, const char *name, struct header_ref *out)
{
	struct message *msg = &session->msg;
	struct header_count *count;
	size_t i = 0;
	enum bs_err err;

	while (i < msg->n_names && strcasecmp(msg->names[i].name, name) != 0)
		i++;
	if (i == SESSION_NAMES_MAX)
		return BS_ERR_LIMIT;
	count = &msg->names[i];
	if (i == msg->n_names) {
		count->name = nothing;
		err = session_set(session, &count->name, name);
		if (err != BS_OK)
			return err;
		count->n = 0;
		msg->n_names++;
	}
	out->name = count->name;
	out->index = ++count->n;
	return BS_OK;
}

enum bs_err
session_add_forged(struct session *session, const struct header_ref *ref)
{
	struct message *msg = &session->msg;
	void *items = msg->forged;
	enum bs_err err;

	err = grow(&items, msg->n_forged, sizeof(*msg->forged), SESSION_FORGED_MAX);
	if (err != BS_OK)
		return err;
	msg->forged = items;
	msg->forged[msg->n_forged++] = *ref;
	return BS_OK;
}
