#include "keyclient_priv.h"

#include <string.h>

static enum bs_err
login_by(struct bs_keyclient *kc, enum bs_op op, const char *user, const char *secret, const char *service, uint8_t flags,
    uint8_t token[BS_TOKEN_LEN])
{
	uint8_t request[REQUEST_MAX], made[BS_TOKEN_LEN];
	struct bs_wr wr = bs_wr_init(request, sizeof(request));
	bool has_token = (flags & BS_LOGIN_NO_SESSION) == 0;
	struct bs_rd rd;
	enum bs_err err;

	bs_keyclient_write_name(&wr, user);
	bs_keyclient_write_password(&wr, secret);
	bs_keyclient_write_name(&wr, service);
	bs_wr_u8(&wr, flags);
	err = bs_keyclient_call_written(kc, (uint8_t)op, &wr, &rd);
	if (err != BS_OK)
		return err;
	(void)bs_rd_u8(&rd); /* sealed: attach says it again */
	if (has_token)
		bs_rd_copy(&rd, made, BS_TOKEN_LEN);
	(void)bs_rd_bytes(&rd, BS_ID_LEN);
	err = bs_keyclient_end_call(kc, &rd);
	if (err == BS_OK && has_token)
		memcpy(token, made, BS_TOKEN_LEN);
	bs_wipe(made, sizeof(made));
	return err;
}

enum bs_err
bs_keyclient_login(struct bs_keyclient *kc, const char *user, const char *password, const char *service, uint8_t flags,
    uint8_t token[BS_TOKEN_LEN])
{
	return login_by(kc, BS_OP_LOGIN, user, password, service, flags, token);
}

enum bs_err
bs_keyclient_open(struct bs_keyclient *kc, const char *user, const char *secret, const char *service, uint8_t token[BS_TOKEN_LEN])
{
	return login_by(kc, BS_OP_OPEN, user, secret, service, 0, token);
}

/* The reply of what changes a keyset: its new generation. */
static enum bs_err
end_change(struct bs_keyclient *kc, struct bs_rd *rd)
{
	(void)bs_rd_u64(rd);
	return bs_keyclient_end_call(kc, rd);
}

enum bs_err
bs_keyclient_enrol(struct bs_keyclient *kc, const char *user, const char *password, uint32_t record_flags,
    uint8_t account_id[BS_ID_LEN])
{
	uint8_t request[REQUEST_MAX], id[BS_ID_LEN];
	struct bs_wr wr = bs_wr_init(request, sizeof(request));
	struct bs_rd rd;
	enum bs_err err;

	bs_keyclient_write_name(&wr, user);
	bs_keyclient_write_password(&wr, password);
	bs_wr_u32(&wr, record_flags);
	err = bs_keyclient_call_written(kc, BS_OP_ENROL, &wr, &rd);
	if (err != BS_OK)
		return err;
	bs_rd_copy(&rd, id, BS_ID_LEN);
	err = end_change(kc, &rd);
	if (err == BS_OK)
		memcpy(account_id, id, BS_ID_LEN);
	return err;
}

enum bs_err
bs_keyclient_passwd(struct bs_keyclient *kc, const char *user, const char *old_password, const char *new_password)
{
	uint8_t request[REQUEST_MAX];
	struct bs_wr wr = bs_wr_init(request, sizeof(request));
	struct bs_rd rd;
	enum bs_err err;

	bs_keyclient_write_name(&wr, user);
	bs_keyclient_write_password(&wr, old_password);
	bs_keyclient_write_password(&wr, new_password);
	err = bs_keyclient_call_written(kc, BS_OP_PASSWD, &wr, &rd);
	return err == BS_OK ? end_change(kc, &rd) : err;
}

enum bs_err
bs_keyclient_set_flags(struct bs_keyclient *kc, const char *user, const char *password, uint32_t record_flags)
{
	uint8_t request[REQUEST_MAX];
	struct bs_wr wr = bs_wr_init(request, sizeof(request));
	struct bs_rd rd;
	enum bs_err err;

	bs_keyclient_write_name(&wr, user);
	bs_keyclient_write_password(&wr, password);
	bs_wr_u32(&wr, record_flags);
	err = bs_keyclient_call_written(kc, BS_OP_SET_FLAGS, &wr, &rd);
	return err == BS_OK ? end_change(kc, &rd) : err;
}

enum bs_err
bs_keyclient_remove(struct bs_keyclient *kc, const char *user)
{
	struct bs_rd rd;
	enum bs_err err = bs_keyclient_call_user(kc, BS_OP_REMOVE, user, &rd);

	return err == BS_OK ? bs_keyclient_end_call(kc, &rd) : err;
}

enum bs_err
bs_keyclient_status(struct bs_keyclient *kc, char **out)
{
	uint8_t *text;
	size_t len;
	enum bs_err err = bs_keyclient_call_blob(kc, BS_OP_STATUS, NULL, &text, &len);

	if (err == BS_OK)
		*out = (char *)text;
	return err;
}
