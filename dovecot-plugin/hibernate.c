/* imap's own symbols are weak, since the plugin is loaded elsewhere, too. */
#include "compat.h"

#include <imap-common.h>
#include <ioloop.h>

#include "hex.h"
#include "hibernate.h"
#include "session.h"

#pragma weak imap_client_created_hook_set

#define FIELD_LEN (sizeof(BASALT_TOKEN_FIELD) - 1)

struct basalt_hibernate {
	struct client *client;
	int (*state_export)(struct client *client, bool internal, buffer_t *dest, const char **error_r);
	const char *const *came; /* the userdb's fields, as they came */
	const char **fields;     /* the same with ours */
	char *ours;
	uint8_t token[BS_TOKEN_LEN];
	struct timeout *to_awake; /* while a token is out */
	bool told;
};

static imap_client_created_func_t *next_created;

static bool
is_token_field(const char *field)
{
	return basalt_begins(field, BASALT_TOKEN_FIELD);
}

static bool
came_with_token(const struct client *client)
{
	const char *const *field = client->userdb_fields;

	while (field != NULL && *field != NULL && !is_token_field(*field))
		field++;
	return field != NULL && *field != NULL;
}

/* A copy of the list of fields in which the token's is our own memory, which can be wiped. */
static void
make_fields(struct basalt_hibernate *h)
{
	unsigned int n = str_array_length(h->came);
	size_t size = FIELD_LEN + 2 * BS_TOKEN_LEN + 1;

	h->fields = p_new(h->client->pool, const char *, n + 1);
	h->ours = p_malloc(h->client->pool, size);
	for (unsigned int i = 0; i < n; i++)
		h->fields[i] = is_token_field(h->came[i]) ? h->ours : h->came[i];
}

static void
token_forget(struct basalt_hibernate *h)
{
	timeout_remove(&h->to_awake);
	bs_wipe(h->ours, FIELD_LEN + 2 * BS_TOKEN_LEN);
	bs_wipe(h->token, sizeof(h->token));
	h->client->userdb_fields = h->came;
}

/* imap is still here, so nobody else has the client. */
static void
awake(struct basalt_user *bu)
{
	basalt_session_drop_token(bu, bu->hibernate->token);
	token_forget(bu->hibernate);
}

static void
tell_why_not(struct basalt_user *bu, enum bs_err err)
{
	if (bu->hibernate->told)
		return;
	bu->hibernate->told = true;
	if (err == BS_ERR_CONF)
		e_warning(bu->user->event, "basalt: the session is not hibernated: session.resume_s of keyd.conf is 0");
	else
		e_warning(bu->user->event, "basalt: the session is not hibernated: no resume token of basalt-keyd: %s", bs_err_text(err));
}

static enum bs_err
token_put(struct basalt_user *bu)
{
	struct basalt_hibernate *h = bu->hibernate;
	enum bs_err err;

	if (h->to_awake != NULL) /* asked for twice before the event loop came round */
		awake(bu);
	err = basalt_session_resume_token(bu, h->token);
	if (err != BS_OK)
		return err;
	if (h->fields == NULL) {
		h->came = h->client->userdb_fields;
		make_fields(h);
	}
	memcpy(h->ours, BASALT_TOKEN_FIELD, FIELD_LEN);
	bs_hex_encode(h->token, BS_TOKEN_LEN, h->ours + FIELD_LEN);
	h->client->userdb_fields = h->fields;
	h->to_awake = timeout_add_short(0, awake, bu);
	return BS_OK;
}

/* internal: for imap-hibernate; else it is for the client itself, and stays as it is. */
static int
export(struct client *client, bool internal, buffer_t *dest, const char **error_r)
{
	struct basalt_user *bu = basalt_user_get(client->user);
	enum bs_err err;
	int ret;

	/* imap goes through all mails, with an event half made: another one, as of a field that is cached, is a panic. */
	bu->exporting = true;
	ret = bu->hibernate->state_export(client, internal, dest, error_r);
	bu->exporting = false;
	if (ret <= 0 || !internal || bu->locked != NULL || !came_with_token(client))
		return ret;
	err = token_put(bu);
	if (err == BS_OK)
		return ret;
	tell_why_not(bu, err);
	*error_r = "basalt: no resume token";
	return 0;
}

static void
client_created(struct client **client)
{
	struct basalt_user *bu = basalt_user_get((*client)->user);

	if (bu != NULL && bu->hibernate == NULL) {
		bu->hibernate = p_new((*client)->pool, struct basalt_hibernate, 1);
		bu->hibernate->client = *client;
		bu->hibernate->state_export = (*client)->v.state_export;
		(*client)->v.state_export = export;
	}
	if (next_created != NULL)
		next_created(client);
}

void
basalt_hibernate_end(struct basalt_user *bu)
{
	struct basalt_hibernate *h = bu->hibernate;

	if (h == NULL || h->to_awake == NULL)
		return;
	if (h->client->hibernated)
		token_forget(h);
	else
		awake(bu);
}

void
basalt_hibernate_init(void)
{
	if (&imap_client_created_hook_set != NULL)
		next_created = imap_client_created_hook_set(client_created);
}

void
basalt_hibernate_deinit(void)
{
	if (&imap_client_created_hook_set != NULL)
		(void)imap_client_created_hook_set(next_created);
}
