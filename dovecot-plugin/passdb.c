/*
 * The auth module: passdb driver "basalt", args = the path of keyd's auth socket. A login of imap or pop3 brings home a
 * token for the mail process; one of another service (smtp: Postfix's SASL) only has its password judged. As a master passdb
 * (master = yes) it lets the members of a shared mailbox in: who logs in as MAILBOX*MEMBER, with the member's password.
 */

#include "compat.h"

#include <auth-common.h>
#include <auth-request.h>
#include <hex-binary.h>
#include <ioloop.h>
#include <passdb.h>
#include <str.h>

#include <stdlib.h>
#include <sys/prctl.h>

#include "address.h"
#include "crypto.h"
#include "passdb_client.h"
#include "passdb_record.h"
#include "passdb_settings.h"
#include "sock.h"

#define EXPORT __attribute__((visibility("default")))
#define LOGIN_TIMEOUT_MS 30000 /* Argon2id waits its turn when many log in at once */
#define RECORD_TIMEOUT_MS 10000
#define BUSY_WAIT_MS 200 /* keyd queues few logins of one account at a time; a mail client opens five connections at once */
#define BUSY_TRIES 50
#define LOGIN_PAYLOAD_MAX (5 * 2 + 2 * BS_ACCOUNT_NAME_MAX + BS_PASSWORD_MAX + 64)
#define TOKEN_FIELD "userdb_basalt_pass_token"
#define RIGHTS_FIELD "userdb_acl_user"
#define LOCKED_FIELD "userdb_basalt_locked"
#define LOCKED_TEXT "Message is encrypted, and this password does not open it: set it once more, with the old password or a recovery code"
/* Of a plain account, too: it has keys like any other. */
#define REFUSED_TEXT "This password does not open the mailbox's keys: set it once more, with the old password or a recovery code"

void authdb_basalt_init(void);
void authdb_basalt_deinit(void);

struct basalt_passdb {
	struct passdb_module module;
	struct passdb_settings set;
	struct passdb_client *client;
	struct bs_recent *recent; /* NULL: every mail of a burst asks keyd */
};

struct basalt_auth {
	struct auth_request *request;
	struct timeout *to_again;
	int64_t asked_ms;
	unsigned int tries;
	bool session;
	union {
		verify_plain_callback_t *verify_plain;
		lookup_credentials_callback_t *lookup_credentials;
	} callback;
};

static struct basalt_passdb *
passdb_of(struct auth_request *request)
{
	return container_of(request->passdb->passdb, struct basalt_passdb, module);
}

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

/* --- logins --- */

/* Only these services open mail. */
static bool
wants_session(const char *service)
{
	return service != NULL && (strcmp(service, "imap") == 0 || strcmp(service, "pop3") == 0);
}

/* What arrives as a password is one only with these mechanisms, and after a master login it is not the account's. */
static const char *
not_a_password(const struct auth_request *request)
{
	const char *mech = request->fields.mech_name;

	if (mech == NULL || (strcasecmp(mech, "PLAIN") != 0 && strcasecmp(mech, "LOGIN") != 0))
		return "only the mechanisms PLAIN and LOGIN bring a password";
	if (request->fields.master_user != NULL)
		return "master users have no password of the account";
	return NULL;
}

static struct basalt_auth *
auth_begin(struct auth_request *request)
{
	struct basalt_auth *auth = i_new(struct basalt_auth, 1);

	auth->request = request;
	auth_request_ref(request);
	return auth;
}

static void
auth_end(struct basalt_auth *auth)
{
	auth_request_unref(&auth->request);
	i_free(auth);
}

/* NULL: a user logs in as himself. */
static const char *
shared_mailbox(const struct auth_request *request)
{
	const char *name = request->fields.requested_login_user;

	return name == NULL ? NULL : t_str_lcase(name);
}

/* A request that is the user's name alone. */
static void
ask_about_user(struct basalt_auth *auth, enum bs_op op, passdb_client_fn fn)
{
	const char *user = t_str_lcase(auth->request->fields.user);
	uint8_t payload[2 + BS_ACCOUNT_NAME_MAX];
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));

	bs_wr_str16(&wr, user, strlen(user));
	if (wr.failed)
		fn(auth, BS_ERR_NOENT, NULL, 0);
	else
		passdb_client_send(passdb_of(auth->request)->client, op, payload, wr.len, RECORD_TIMEOUT_MS, fn, auth);
}

static enum bs_err
take_token(struct basalt_auth *auth, const uint8_t *payload, size_t len)
{
	struct bs_rd rd = bs_rd_init(payload, len);
	const uint8_t *token = NULL;

	(void)bs_rd_u8(&rd); /* sealed: the mail process learns it from the signed record */
	if (auth->session)
		token = bs_rd_bytes(&rd, BS_TOKEN_LEN);
	(void)bs_rd_bytes(&rd, BS_ID_LEN);
	if (!bs_rd_done(&rd))
		return BS_ERR_FORMAT;
	if (token != NULL)
		auth_request_set_field(auth->request, TOKEN_FIELD, binary_to_hex(token, BS_TOKEN_LEN), NULL);
	return BS_OK;
}

/* --- the site says that the password is right, and no slot opens: it was changed behind our back --- */

/* A passdb before this one has judged the password; for a master login that would be somebody else's. */
static bool
site_says_right(const struct auth_request *request)
{
	return request->fields.skip_password_check && shared_mailbox(request) == NULL;
}

static enum passdb_result
lock_or_refuse(struct basalt_auth *auth)
{
	bool locked = passdb_of(auth->request)->set.locks;

	e_warning(authdb_event(auth->request), "basalt: no key slot opens by the password that another passdb took for right: %s",
	    locked ? "the mailbox is locked" : "refused");
	if (locked) {
		auth_request_set_field(auth->request, LOCKED_FIELD, LOCKED_TEXT, NULL);
		return PASSDB_RESULT_OK;
	}
	/* Of all that refuses this alone keeps its reason on the way to the client. */
	auth_request_set_field(auth->request, "reason", REFUSED_TEXT, NULL);
	return PASSDB_RESULT_USER_DISABLED;
}

/* passdb_client_fn */
static void
account_answered(void *ctx, enum bs_err status, const uint8_t *payload ATTR_UNUSED, size_t len ATTR_UNUSED)
{
	struct basalt_auth *auth = ctx;
	enum passdb_result result = PASSDB_RESULT_INTERNAL_FAILURE;

	if (status == BS_OK)
		result = lock_or_refuse(auth);
	else if (status == BS_ERR_NOENT || status == BS_ERR_ARG)
		result = PASSDB_RESULT_PASSWORD_MISMATCH;
	else
		e_error(authdb_event(auth->request), "basalt: basalt-keyd can't look the user up: %s", bs_err_text(status));
	auth->callback.verify_plain(result, auth->request);
	auth_end(auth);
}

/* --- the answer to a login --- */

static void login_again(struct basalt_auth *auth);

/* passdb_client_fn */
static void
login_answered(void *ctx, enum bs_err status, const uint8_t *payload, size_t len)
{
	struct basalt_auth *auth = ctx;
	enum passdb_result result = PASSDB_RESULT_INTERNAL_FAILURE;

	if (status == BS_ERR_BUSY && ++auth->tries < BUSY_TRIES) {
		auth->to_again = timeout_add_short(BUSY_WAIT_MS, login_again, auth);
		return;
	}
	if (status == BS_ERR_DENIED && site_says_right(auth->request)) {
		/* "Denied" is also what keyd says of accounts that do not exist. */
		ask_about_user(auth, BS_OP_EXISTS, account_answered);
		return;
	}
	if (status == BS_OK)
		status = take_token(auth, payload, len);
	if (status == BS_OK) {
		result = PASSDB_RESULT_OK;
		/* The acl plugin would give him a master user's rights; a member's are the owner's. */
		if (shared_mailbox(auth->request) != NULL)
			auth_request_set_field(auth->request, RIGHTS_FIELD, shared_mailbox(auth->request), NULL);
	} else if (status == BS_ERR_DENIED) {
		e_info(authdb_event(auth->request), "basalt: %s", bs_err_text(status));
		result = PASSDB_RESULT_PASSWORD_MISMATCH;
	} else {
		e_error(authdb_event(auth->request), "basalt: basalt-keyd can't judge the login: %s", bs_err_text(status));
	}
	auth->callback.verify_plain(result, auth->request);
	auth_end(auth);
}

static void
login_send(struct basalt_auth *auth, const char *password)
{
	const char *service = BASALT_AUTH_SERVICE(auth->request), *user = t_str_lcase(auth->request->fields.user);
	const char *shared = shared_mailbox(auth->request);
	uint8_t payload[LOGIN_PAYLOAD_MAX];
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));

	auth->session = wants_session(service);
	if (shared != NULL)
		bs_wr_str16(&wr, shared, strlen(shared));
	bs_wr_str16(&wr, user, strlen(user));
	bs_wr_str16(&wr, password, strlen(password));
	bs_wr_str16(&wr, service, strlen(service));
	bs_wr_u8(&wr, auth->session ? 0 : (uint8_t)BS_LOGIN_NO_SESSION);
	/* Too long for the frame is too long to be right. */
	if (wr.failed)
		login_answered(auth, BS_ERR_DENIED, NULL, 0);
	else
		passdb_client_send(passdb_of(auth->request)->client, shared != NULL ? BS_OP_LOGIN_MEMBER : BS_OP_LOGIN, payload,
		    wr.len, LOGIN_TIMEOUT_MS, login_answered, auth);
	bs_wipe(payload, sizeof(payload));
}

static void
login_again(struct basalt_auth *auth)
{
	timeout_remove(&auth->to_again);
	/* Dovecot keeps the password for as long as the request lives. */
	login_send(auth, auth->request->mech_password);
}

static void
basalt_verify_plain(struct auth_request *request, const char *password, verify_plain_callback_t *callback)
{
	const char *problem = passdb_settings_unsafe(request->set);
	struct basalt_auth *auth;

	if (problem != NULL) {
		e_error(authdb_event(request), "basalt: %s", problem);
		callback(PASSDB_RESULT_INTERNAL_FAILURE, request);
		return;
	}
	problem = not_a_password(request);
	if (problem != NULL || strlen(password) > BS_PASSWORD_MAX) {
		e_info(authdb_event(request), "basalt: refused: %s", problem != NULL ? problem : "the password is too long");
		callback(PASSDB_RESULT_PASSWORD_MISMATCH, request);
		return;
	}
	if (!passdb_settings_takes(&passdb_of(request)->set, password)) {
		callback(PASSDB_RESULT_USER_UNKNOWN, request);
		return;
	}
	auth = auth_begin(request);
	auth->callback.verify_plain = callback;
	login_send(auth, password);
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

/* passdb_client_fn */
static void
record_answered(void *ctx, enum bs_err status, const uint8_t *payload, size_t len)
{
	struct basalt_auth *auth = ctx;
	enum passdb_result result = PASSDB_RESULT_INTERNAL_FAILURE;

	if (status == BS_OK)
		status = passdb_record_take(passdb_of(auth->request)->recent, auth->request, payload, len, auth->asked_ms);
	if (status == BS_OK)
		result = PASSDB_RESULT_OK;
	else if (is_loss(auth, status))
		e_error(authdb_event(auth->request), "basalt: ALARM: mail for %s, and basalt-keyd has no keys of it: it waits",
		    auth->request->fields.user);
	else if (status == BS_ERR_NOENT || status == BS_ERR_ARG)
		result = PASSDB_RESULT_USER_UNKNOWN;
	else
		e_error(authdb_event(auth->request), "basalt: basalt-keyd can't look the user up: %s", bs_err_text(status));
	passdb_handle_credentials(result, NULL, NULL, auth->callback.lookup_credentials, auth->request);
	auth_end(auth);
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
	struct basalt_passdb *passdb = passdb_of(request);
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
	auth = auth_begin(request);
	auth->asked_ms = bs_now_ms();
	auth->callback.lookup_credentials = callback;
	ask_about_user(auth, BS_OP_RECORD, record_answered);
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
	(void)unsetenv("PR_SET_DUMPABLE");
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (bs_crypto_init() != BS_OK)
		i_fatal("passdb basalt: the cryptographic libraries do not work on this machine");
	passdb_register_module(&basalt_passdb);
}

EXPORT void
authdb_basalt_deinit(void)
{
	passdb_unregister_module(&basalt_passdb);
}
