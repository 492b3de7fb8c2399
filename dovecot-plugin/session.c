#include "compat.h"

#include <hex-binary.h>
#include <buffer.h>

#include <poll.h>

#include "bye.h"
#include "cacheblob.h"
#include "home.h"
#include "keymem.h"
#include "records.h"
#include "session.h"
#include "sock.h"
#include "verified.h"

#define TIMEOUT_MS 10000
#define LOOK_MS 100 /* how soon the end of a session is noticed by who reads what he has the keys of */
#define RECORD_FRESH_MS 60000
#define RECORD_GIVEN_FRESH_MS 10000
#define RECORD_FIELD "basalt_record="

/* --- the session of a login --- */

/* What the auth module put into the userdb's answer; name ends in "=". */
static const char *
find_field(const struct mail_user *user, const char *name)
{
	for (const char *const *f = user->userdb_fields; f != NULL && *f != NULL; f++) {
		if (basalt_begins(*f, name))
			return *f + strlen(name);
	}
	return NULL;
}

static enum bs_err
parse_token(const char *hex, uint8_t token[BS_TOKEN_LEN])
{
	buffer_t *bytes = t_buffer_create(BS_TOKEN_LEN);

	if (strlen(hex) != BS_TOKEN_LEN * 2 || hex_to_binary(hex, bytes) < 0)
		return BS_ERR_FORMAT;
	memcpy(token, bytes->data, BS_TOKEN_LEN);
	bs_wipe(buffer_get_modifiable_data(bytes, NULL), BS_TOKEN_LEN);
	return BS_OK;
}

static void
session_close(struct basalt_user *bu)
{
	basalt_bye_unwatch(bu);
	bs_keyclient_free(bu->session);
	bu->session = NULL;
	basalt_keymem_forget(bu);
}

/* It never began. */
static void
session_fail(struct basalt_user *bu)
{
	session_close(bu);
	bu->session_lost = true;
}

/* Its client is told as soon as may be. */
static void
session_lose(struct basalt_user *bu)
{
	enum bs_ended why = bs_keyclient_ended(bu->session);

	session_fail(bu);
	bu->record_until_ms = 0; /* what has ended the session may have been the end of the account */
	basalt_bye_begin(bu, why);
}

/* keyd says nothing unasked but why a session ends: what there is to read is its end. */
static bool
session_has_ended(const struct basalt_user *bu)
{
	struct pollfd pfd = { .fd = bu->session == NULL ? -1 : bs_keyclient_fd(bu->session), .events = POLLIN };

	return bu->session != NULL && poll(&pfd, 1, 0) > 0;
}

bool
basalt_session_lives(struct basalt_user *bu)
{
	int64_t now = bs_now_ms();

	if (bu->session == NULL || now < bu->session_look_ms)
		return bu->session != NULL;
	bu->session_look_ms = now + LOOK_MS;
	if (session_has_ended(bu))
		session_lose(bu);
	return bu->session != NULL;
}

void
basalt_session_readable(struct basalt_user *bu)
{
	if (session_has_ended(bu))
		session_lose(bu);
}

enum bs_err
basalt_session_holds(struct basalt_user *bu, const uint8_t key_id[BS_ID_LEN])
{
	return bu->session == NULL ? BS_ERR_UNAVAIL : bs_keyclient_holds(bu->session, key_id);
}

bool
basalt_session_may_have_keyset(const struct basalt_user *bu)
{
	return bu->session != NULL || !basalt_records_is_login(bu);
}

enum bs_err
basalt_session_keyset(struct basalt_user *bu, uint8_t **blob_r, size_t *len_r)
{
	enum bs_err err;

	if (bu->session == NULL)
		return basalt_records_keyset(bu, blob_r, len_r);
	err = bs_keyclient_keyset(bu->session, blob_r, len_r);
	if (bs_keyclient_is_dead(bu->session))
		session_lose(bu);
	return err;
}

/* keyd's keyset goes beside the record, so that mail and keys are backed up together. Trouble here stops nobody. */
static void
keep_keyset(struct basalt_user *bu)
{
	uint8_t *blob = NULL;
	size_t len = 0;
	const char *reason;
	enum bs_err err = basalt_session_keyset(bu, &blob, &len);

	if (err != BS_OK)
		e_warning(bu->user->event, "basalt: keyset for the mail home: %s", bs_err_text(err));
	else if (basalt_home_keep_keyset(bu, blob, len, &reason) != BS_OK)
		e_warning(bu->user->event, "basalt: %s", reason);
	free(blob);
}

/* Takes a record as keyd sent it; only a verified one is kept. */
static enum bs_err
record_take(struct basalt_user *bu, const uint8_t *bytes, size_t len, const char **reason_r)
{
	struct bs_record rec;
	enum bs_err err = basalt_verified_open(bytes, len, bu->site_pub, bu->account, &rec);

	if (err != BS_OK) {
		*reason_r = t_strdup_printf("ALARM: the public record of %s is not to be trusted: %s (basalt_site_key may also "
		    "be another site's)", bu->account, bs_err_text(err));
		return err == BS_ERR_ACCOUNT ? BS_ERR_AUTH : err;
	}
	err = basalt_home_check_record(bu, &rec, bytes, len, reason_r);
	if (err != BS_OK)
		return err;
	bu->record = rec;
	bu->record_until_ms = bs_now_ms() + RECORD_FRESH_MS;
	return BS_OK;
}

enum bs_err
basalt_session_start(struct basalt_user *bu, const char **error_r)
{
	const char *hex = find_field(bu->user, BASALT_TOKEN_FIELD), *path, *reason;
	uint8_t token[BS_TOKEN_LEN];
	struct bs_session_info info;
	enum bs_err err;

	if (hex == NULL)
		return BS_OK;
	err = parse_token(hex, token);
	if (err != BS_OK) {
		*error_r = "basalt: the login token is malformed";
		return err;
	}
	path = t_strconcat(bu->run_dir, "/" BS_SOCKET_MAIL, NULL);
	err = bs_keyclient_connect(path, TIMEOUT_MS, &bu->session);
	if (err == BS_OK)
		err = bs_keyclient_attach(bu->session, token, bu->account, bu->user->service, &info);
	bs_wipe(token, sizeof(token));
	if (err != BS_OK) {
		session_fail(bu);
		*error_r = t_strdup_printf("basalt: no session at %s: %s", path, bs_err_text(err));
		return err;
	}
	basalt_bye_watch(bu, bs_keyclient_fd(bu->session));
	err = record_take(bu, info.record, info.record_len, &reason);
	/* Keys that never were this home's: they open none of its mail, and would make a new index cache of what they can't read. */
	if (err == BS_ERR_ACCOUNT) {
		session_fail(bu);
		*error_r = t_strdup_printf("basalt: %s", reason);
		return err;
	}
	/* Otherwise a record that can't be trusted stops saving, not reading. */
	if (err != BS_OK)
		e_error(bu->user->event, "basalt: %s", reason);
	else
		keep_keyset(bu);
	return BS_OK;
}

enum bs_err
basalt_session_resume_token(struct basalt_user *bu, uint8_t token[BS_TOKEN_LEN])
{
	enum bs_err err;

	if (bu->session == NULL)
		return BS_ERR_UNAVAIL;
	err = bs_keyclient_resume_token(bu->session, token);
	if (bs_keyclient_is_dead(bu->session))
		session_lose(bu);
	return err;
}

void
basalt_session_drop_token(struct basalt_user *bu, const uint8_t token[BS_TOKEN_LEN])
{
	/* Where this fails the token has gone with the session, or dies of age. */
	if (bu->session != NULL && bs_keyclient_drop_token(bu->session, token) != BS_OK && bs_keyclient_is_dead(bu->session))
		session_lose(bu);
}

void
basalt_session_end(struct basalt_user *bu)
{
	session_close(bu);
	basalt_bye_cancel(bu);
}

void
basalt_session_expect(struct basalt_user *bu, const struct bs_msg_prefix *prefix)
{
	if (bu->expected_count < BASALT_AHEAD_MAX && prefix->suite == BS_MSG_SUITE_X25519)
		bu->expected[bu->expected_count++] = prefix;
}

void
basalt_session_unexpect(struct basalt_user *bu, const struct bs_msg_prefix *prefix)
{
	for (unsigned int i = 0; i < bu->expected_count; i++) {
		if (bu->expected[i] == prefix)
			bu->expected[i--] = bu->expected[--bu->expected_count];
	}
}

/* prefixes[0] is the message whose key is wanted now; the keys of the others wait in keymem. */
static enum bs_err
unwrap_together(struct basalt_user *bu, const struct bs_msg_prefix *prefixes, size_t n, uint8_t data_key[BS_KEY_LEN])
{
	uint8_t keys[1 + BASALT_AHEAD_MAX][BS_KEY_LEN];
	enum bs_err status[1 + BASALT_AHEAD_MAX], err;

	err = bs_keyclient_unwrap(bu->session, prefixes, n, status, keys);
	if (bs_keyclient_is_dead(bu->session)) {
		session_lose(bu);
		return BS_ERR_UNAVAIL;
	}
	if (err != BS_OK)
		return err;
	/* The wanted one last: it must not give way to the others. */
	for (size_t i = n; i-- > 0;) {
		if (status[i] == BS_OK)
			basalt_keymem_put(bu, prefixes[i].message_id, keys[i]);
	}
	if (status[0] == BS_OK)
		memcpy(data_key, keys[0], BS_KEY_LEN);
	bs_wipe(keys, sizeof(keys));
	return status[0];
}

enum bs_err
basalt_session_unwrap_many(struct basalt_user *bu, const struct bs_msg_prefix *prefixes, size_t n, enum bs_err *status,
    uint8_t (*data_keys)[BS_KEY_LEN])
{
	enum bs_err err;

	if (bu->session == NULL)
		return bu->session_lost ? BS_ERR_UNAVAIL : BS_ERR_PERM;
	err = bs_keyclient_unwrap(bu->session, prefixes, n, status, data_keys);
	if (bs_keyclient_is_dead(bu->session)) {
		session_lose(bu);
		return BS_ERR_UNAVAIL;
	}
	return err;
}

enum bs_err
basalt_session_cache_key(struct basalt_user *bu, uint8_t key[BS_KEY_LEN])
{
	static const uint8_t whole_account[16];
	enum bs_err err;

	if (bu->session == NULL)
		return bu->session_lost ? BS_ERR_UNAVAIL : BS_ERR_PERM;
	err = bs_keyclient_subkey(bu->session, BS_SUBKEY_CACHE, whole_account, BS_CACHE_EPOCH, key);
	if (bs_keyclient_is_dead(bu->session)) {
		session_lose(bu);
		return BS_ERR_UNAVAIL;
	}
	return err;
}

bool
basalt_session_has_key(struct basalt_user *bu, const struct bs_msg_prefix *prefix, uint8_t data_key[BS_KEY_LEN])
{
	if (!basalt_keymem_get(bu, prefix->message_id, data_key))
		return false;
	if (bs_msg_key_fits(prefix, data_key) == BS_OK)
		return true;
	/* Message ids are no secret: a forged prefix may have brought its own key under this one. */
	basalt_keymem_drop(bu, prefix->message_id);
	bs_wipe(data_key, BS_KEY_LEN);
	return false;
}

enum bs_err
basalt_session_unwrap(struct basalt_user *bu, const struct bs_msg_prefix *prefix, uint8_t data_key[BS_KEY_LEN])
{
	struct bs_msg_prefix prefixes[1 + BASALT_AHEAD_MAX];
	size_t n = 1;

	if (!basalt_session_lives(bu) && bu->session_lost)
		return BS_ERR_UNAVAIL; /* whatever we remember */
	if (basalt_session_has_key(bu, prefix, data_key))
		return BS_OK;
	if (bu->session == NULL)
		return BS_ERR_PERM;
	prefixes[0] = *prefix;
	for (unsigned int i = 0; i < bu->expected_count; i++) {
		if (memcmp(bu->expected[i]->message_id, prefix->message_id, BS_ID_LEN) != 0)
			prefixes[n++] = *bu->expected[i];
	}
	bu->expected_count = 0;
	return unwrap_together(bu, prefixes, n, data_key);
}

/* --- public records --- */

/* Over the session if there is one, else over the connection that the process keeps. */
static enum bs_err
record_ask(struct basalt_user *bu, uint8_t bytes[BS_RECORD_MAX], size_t *len_r)
{
	enum bs_err err;

	if (bu->session == NULL)
		return basalt_records_record(bu, bytes, len_r);
	err = bs_keyclient_record(bu->session, bu->account, bytes, len_r);
	if (bs_keyclient_is_dead(bu->session))
		session_lose(bu);
	return err;
}

/* The record that came with the userdb's answer for a delivery ("milliseconds,hex"), unless that is some time ago; once. */
static enum bs_err
record_given(struct basalt_user *bu)
{
	const char *text = bu->record_given ? NULL : find_field(bu->user, RECORD_FIELD), *hex, *reason;
	buffer_t *bytes = t_buffer_create(BS_RECORD_MAX);
	intmax_t asked_ms;
	int64_t now_ms = bs_now_ms();

	bu->record_given = true;
	if (text == NULL)
		return BS_ERR_NOENT;
	if (str_parse_intmax(text, &asked_ms, &hex) < 0 || *hex != ',' || hex_to_binary(hex + 1, bytes) < 0)
		return BS_ERR_FORMAT;
	/* The clock is the machine's: this process and auth read the same. */
	if (asked_ms > now_ms || now_ms - asked_ms > RECORD_GIVEN_FRESH_MS)
		return BS_ERR_NOENT;
	return record_take(bu, bytes->data, bytes->used, &reason);
}

enum basalt_account
basalt_session_kind(struct basalt_user *bu)
{
	/* The name: of a record that was verified, however long ago. */
	if (bu->record.name[0] == '\0' && record_given(bu) != BS_OK && basalt_home_record(bu, &bu->record) != BS_OK)
		return BASALT_ACCOUNT_UNKNOWN;
	return (bu->record.flags & BS_RECORD_FLAG_SEALED) != 0 ? BASALT_ACCOUNT_SEALED : BASALT_ACCOUNT_PLAIN;
}

/* A record that lets mail lie in plaintext is asked for anew each time: the account may have been sealed since. */
static bool
record_will_do(const struct basalt_user *bu)
{
	return bs_now_ms() < bu->record_until_ms && (bu->record.flags & BS_RECORD_FLAG_SEALED) != 0;
}

enum bs_err
basalt_session_record(struct basalt_user *bu, const struct bs_record **rec_r, const char **reason_r)
{
	uint8_t bytes[BS_RECORD_MAX];
	size_t len = 0;
	enum bs_err err;

	if (session_has_ended(bu))
		session_lose(bu);
	/* What is wrong with the given one is found again by asking keyd, whose answer counts. */
	if (record_will_do(bu) || (record_given(bu) == BS_OK && record_will_do(bu))) {
		*rec_r = &bu->record;
		return BS_OK;
	}
	err = record_ask(bu, bytes, &len);
	if (err == BS_OK)
		err = record_take(bu, bytes, len, reason_r);
	else if (!bs_err_is_transient(err) && basalt_home_has_record(bu))
		*reason_r = t_strdup_printf("ALARM: basalt-keyd has no public record of %s (%s), but its mail home has one",
		    bu->account, bs_err_text(err));
	else
		*reason_r = t_strdup_printf("no public record of %s from basalt-keyd in %s: %s", bu->account, bu->run_dir,
		    bs_err_text(err));
	if (err != BS_OK)
		return err;
	*rec_r = &bu->record;
	return BS_OK;
}
