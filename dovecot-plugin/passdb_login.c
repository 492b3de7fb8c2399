#include "passdb_priv.h"

#include <hex-binary.h>

#include "crypto.h"
#include "passdb_site.h"

#define LOGIN_TIMEOUT_MS 30000 /* Argon2id waits its turn when many log in at once */
#define BUSY_WAIT_MS 200 /* keyd queues few logins of one account at a time; a mail client opens five connections at once */
#define BUSY_TRIES 50
#define LOGIN_PAYLOAD_MAX (5 * 2 + 2 * BS_ACCOUNT_NAME_MAX + BS_PASSWORD_MAX + 64)
#define TOKEN_FIELD "userdb_basalt_pass_token"
#define RIGHTS_FIELD "userdb_acl_user"
#define LOCKED_FIELD "userdb_basalt_locked"
#define LOCKED_TEXT "Message is encrypted, and this password does not open it: set it once more, with the old password or a recovery code"
/* Of a plain account, too: it has keys like any other. */
#define REFUSED_TEXT "This password does not open the mailbox's keys: set it once more, with the old password or a recovery code"

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

/* NULL: a user logs in as himself. */
static const char *
shared_mailbox(const struct auth_request *request)
{
	const char *name = request->fields.requested_login_user;

	return name == NULL ? NULL : t_str_lcase(name);
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

static enum passdb_result
lock_or_refuse(struct basalt_auth *auth)
{
	bool locked = basalt_passdb_of(auth->request)->set.locks;

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

static void login_send(struct basalt_auth *auth, const char *password);
static void login_again(struct basalt_auth *auth);

/* Ends the login. */
static void
login_finish(struct basalt_auth *auth, enum passdb_result result)
{
	auth->callback.verify_plain(result, auth->request);
	basalt_auth_end(auth);
}

/* passdb_client_fn */
static void
enrol_answered(void *ctx, enum bs_err status, const uint8_t *payload ATTR_UNUSED, size_t len ATTR_UNUSED)
{
	struct basalt_auth *auth = ctx;

	if (status == BS_ERR_BUSY && ++auth->tries < BUSY_TRIES) {
		auth->to_again = timeout_add_short(BUSY_WAIT_MS, login_again, auth);
	} else if (status == BS_OK || status == BS_ERR_EXISTS) {
		auth->enrolled = true;
		login_send(auth, auth->request->mech_password);
	} else if (bs_err_is_transient(status) || status == BS_ERR_ROLLBACK || status == BS_ERR_AUTH) {
		e_error(authdb_event(auth->request), "basalt: basalt-keyd can't make keys: %s", bs_err_text(status));
		login_finish(auth, PASSDB_RESULT_INTERNAL_FAILURE);
	} else {
		e_warning(authdb_event(auth->request), "basalt: basalt-keyd makes no keys: %s", bs_err_text(status));
		login_finish(auth, PASSDB_RESULT_PASSWORD_MISMATCH);
	}
}

static void
enrol_send(struct basalt_auth *auth)
{
	const char *user = t_str_lcase(auth->request->fields.user), *password = auth->request->mech_password;
	uint8_t payload[LOGIN_PAYLOAD_MAX];
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));

	bs_wr_str16(&wr, user, strlen(user));
	bs_wr_str16(&wr, password, strlen(password));
	if (wr.failed)
		enrol_answered(auth, BS_ERR_LIMIT, NULL, 0);
	else
		passdb_client_send(basalt_passdb_of(auth->request)->client, BS_OP_ENROL_LOGIN, payload, wr.len, LOGIN_TIMEOUT_MS,
		    enrol_answered, auth);
	bs_wipe(payload, sizeof(payload));
}

static bool
may_enrol(const struct basalt_auth *auth)
{
	return basalt_passdb_of(auth->request)->set.enrols && !auth->enrolled;
}

/* There are no keys: make them, if the admin wants it and the password is beyond doubt. */
static void
enrol_or_deny(struct basalt_auth *auth)
{
	const char *doubt = passdb_site_doubt(auth->request);

	if (!may_enrol(auth)) {
		login_finish(auth, PASSDB_RESULT_PASSWORD_MISMATCH);
	} else if (doubt != NULL) {
		e_warning(authdb_event(auth->request), "basalt: no keys are made: %s", doubt);
		login_finish(auth, PASSDB_RESULT_PASSWORD_MISMATCH);
	} else {
		enrol_send(auth);
	}
}

/* passdb_client_fn */
static void
account_answered(void *ctx, enum bs_err status, const uint8_t *payload ATTR_UNUSED, size_t len ATTR_UNUSED)
{
	struct basalt_auth *auth = ctx;

	if (status == BS_OK && may_enrol(auth) && passdb_site_doubt(auth->request) == NULL) {
		/* Keys may have been made since: by a login of the same user at the same moment. */
		auth->enrolled = true;
		login_send(auth, auth->request->mech_password);
	} else if (status == BS_OK) {
		login_finish(auth, lock_or_refuse(auth));
	} else if (status == BS_ERR_NOENT || status == BS_ERR_ARG) {
		enrol_or_deny(auth);
	} else {
		e_error(authdb_event(auth->request), "basalt: basalt-keyd can't look the user up: %s", bs_err_text(status));
		login_finish(auth, PASSDB_RESULT_INTERNAL_FAILURE);
	}
}

/* --- the answer to a login --- */

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
	if (status == BS_ERR_DENIED && passdb_site_says_right(auth->request)) {
		/* "Denied" is also what keyd says of accounts that do not exist. */
		basalt_auth_ask(auth, BS_OP_EXISTS, account_answered);
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
	login_finish(auth, result);
}

static void
login_send(struct basalt_auth *auth, const char *password)
{
	const char *service = BASALT_AUTH_SERVICE(auth->request), *user = t_str_lcase(auth->request->fields.user);
	const char *shared = shared_mailbox(auth->request);
	uint8_t payload[LOGIN_PAYLOAD_MAX];
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));

	auth->session = passdb_site_opens_mail(auth->request);
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
		passdb_client_send(basalt_passdb_of(auth->request)->client, shared != NULL ? BS_OP_LOGIN_MEMBER : BS_OP_LOGIN, payload,
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

void
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
	if (!passdb_settings_takes(&basalt_passdb_of(request)->set, password)) {
		callback(PASSDB_RESULT_USER_UNKNOWN, request);
		return;
	}
	auth = basalt_auth_begin(request);
	auth->callback.verify_plain = callback;
	login_send(auth, password);
}
