/*
 * The auth module: passdb driver "basalt", args = the path of keyd's auth socket. A login of imap or pop3 brings home a
 * token for the mail process; one of another service (smtp: Postfix's SASL) only has its password judged. As a master passdb
 * (master = yes) it lets the members of a shared mailbox in: who logs in as MAILBOX*MEMBER, with the member's password.
 */

#include "compat.h"

#include <stdlib.h>
#include <sys/prctl.h>

#include "address.h"
#include "builtfor.h"
#include "crypto.h"
#include "passdb_priv.h"
#include "sock.h"

#define EXPORT __attribute__((visibility("default")))
#define RECORD_TIMEOUT_MS 10000

void authdb_basalt_init(void);
void authdb_basalt_deinit(void);

/* --- settings --- */

static struct passdb_module *
basalt_preinit(pool_t pool, const char *args)
{
	struct basalt_passdb *passdb;
	const char *problem = passdb_settings_unsafe(global_auth_settings);
	uint8_t key[BS_KEY_LEN];

	passdb = p_new(pool, struct basalt_passdb, 1);
	if (problem == NULL)
		problem = passdb_settings_parse(pool, args, &passdb->set);
	if (problem != NULL)
		i_fatal("passdb basalt: %s", problem);
	passdb->client = passdb_client_new(passdb->set.socket);
	bs_random(key, sizeof(key));
	passdb->recent = bs_recent_new(key);
	return &passdb->module;
}

static void
basalt_deinit(struct passdb_module *module)
{
	struct basalt_passdb *passdb = container_of(module, struct basalt_passdb, module);

	passdb_client_free(passdb->client);
	passdb->client = NULL;
	bs_recent_free(passdb->recent);
	passdb->recent = NULL;
}

/* --- requests that wait --- */

struct basalt_passdb *
basalt_passdb_of(struct auth_request *request)
{
	return container_of(request->passdb->passdb, struct basalt_passdb, module);
}

struct basalt_auth *
basalt_auth_begin(struct auth_request *request)
{
	struct basalt_auth *auth = i_new(struct basalt_auth, 1);

	auth->request = request;
	auth_request_ref(request);
	return auth;
}

void
basalt_auth_end(struct basalt_auth *auth)
{
	auth_request_unref(&auth->request);
	i_free(auth);
}

void
basalt_auth_ask(struct basalt_auth *auth, enum bs_op op, passdb_client_fn fn)
{
	const char *user = t_str_lcase(auth->request->fields.user);
	uint8_t payload[2 + BS_ACCOUNT_NAME_MAX];
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));

	bs_wr_str16(&wr, user, strlen(user));
	if (wr.failed)
		fn(auth, BS_ERR_NOENT, NULL, 0);
	else
		passdb_client_send(basalt_passdb_of(auth->request)->client, op, payload, wr.len, RECORD_TIMEOUT_MS, fn, auth);
}

/* --- does a user exist? (userdb static, for lmtp) --- */

/*
 * Who sends mail to lmtp has asked before whether the recipient exists (Postfix: the milter's maps). If there are no keys
 * now, somebody took them away: "unknown" would bounce the mail, and it has to wait instead.
 */
static bool
is_loss(const struct basalt_auth *auth, enum bs_err status)
{
	const char *service = BASALT_AUTH_SERVICE(auth->request);
	char address[BS_ADDRESS_MAX + 1];

	/* "root" was never an account: nothing can have been lost. */
	return status == BS_ERR_NOENT && service != NULL && strcmp(service, "lmtp") == 0 &&
	    bs_address_parse(auth->request->fields.user, address) == BS_OK;
}

/* A passdb before this one knows the user, whose keys his first login makes. */
static bool
is_to_be_enrolled(const struct basalt_auth *auth)
{
	return basalt_passdb_of(auth->request)->set.enrols && auth->request->fields.skip_password_check;
}

/* passdb_client_fn */
static void
record_answered(void *ctx, enum bs_err status, const uint8_t *payload, size_t len)
{
	struct basalt_auth *auth = ctx;
	enum passdb_result result = PASSDB_RESULT_INTERNAL_FAILURE;

	if (status == BS_OK)
		status = passdb_record_take(basalt_passdb_of(auth->request)->recent, auth->request, payload, len, auth->asked_ms);
	if (status == BS_OK)
		result = PASSDB_RESULT_OK;
	else if (status == BS_ERR_NOENT && is_to_be_enrolled(auth))
		result = PASSDB_RESULT_OK; /* what becomes of his mail until then is the mail process's to say */
	else if (is_loss(auth, status))
		e_error(authdb_event(auth->request), "basalt: ALARM: mail for %s, and basalt-keyd has no keys of it: it waits",
		    auth->request->fields.user);
	else if (status == BS_ERR_NOENT || status == BS_ERR_ARG)
		result = PASSDB_RESULT_USER_UNKNOWN;
	else
		e_error(authdb_event(auth->request), "basalt: basalt-keyd can't look the user up: %s", bs_err_text(status));
	passdb_handle_credentials(result, NULL, NULL, auth->callback.lookup_credentials, auth->request);
	basalt_auth_end(auth);
}

/* No login, but "is there such a user"; a passdb before this one may have answered with credentials of its own. */
static bool
asks_for_existence(const struct auth_request *request)
{
	return *request->wanted_credentials_scheme == '\0' ||
	    (request->fields.mech_name == NULL && request->fields.delayed_credentials != NULL);
}

static void
basalt_lookup_credentials(struct auth_request *request, lookup_credentials_callback_t *callback)
{
	struct basalt_passdb *passdb = basalt_passdb_of(request);
	struct basalt_auth *auth;

	if (passdb->set.codes_only) {
		passdb_handle_credentials(PASSDB_RESULT_USER_UNKNOWN, NULL, NULL, callback, request);
		return;
	}
	if (!asks_for_existence(request)) {
		/* There are no credentials to be had. */
		passdb_handle_credentials(PASSDB_RESULT_SCHEME_NOT_AVAILABLE, NULL, NULL, callback, request);
		return;
	}
	/* Not from memory when keyd is gone: that is found out at once. */
	if (passdb_client_is_connected(passdb->client) && passdb_record_recall(passdb->recent, request)) {
		passdb_handle_credentials(PASSDB_RESULT_OK, NULL, NULL, callback, request);
		return;
	}
	auth = basalt_auth_begin(request);
	auth->asked_ms = bs_now_ms();
	auth->callback.lookup_credentials = callback;
	basalt_auth_ask(auth, BS_OP_RECORD, record_answered);
}

static struct passdb_module_interface basalt_passdb = {
	.name = "basalt",
	.preinit = basalt_preinit,
	.deinit = basalt_deinit,
	.verify_plain = basalt_verify_plain,
	.lookup_credentials = basalt_lookup_credentials,
};

EXPORT void
authdb_basalt_init(void)
{
	const char *error;

	(void)unsetenv("PR_SET_DUMPABLE");
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (!basalt_built_for_this(&error))
		i_fatal("passdb basalt: %s", error);
	if (bs_crypto_init() != BS_OK)
		i_fatal("passdb basalt: the cryptographic libraries do not work on this machine");
	passdb_register_module(&basalt_passdb);
}

EXPORT void
authdb_basalt_deinit(void)
{
	passdb_unregister_module(&basalt_passdb);
}
