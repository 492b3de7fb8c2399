#include "keyclient_priv.h"

#include <stdlib.h>
#include <string.h>

/* A str16 that is at most size long. */
static size_t
read_record(struct bs_rd *rd, uint8_t *out)
{
	size_t len;
	const uint8_t *p = bs_rd_str16(rd, &len);

	if (p == NULL || len > BS_RECORD_MAX) {
		rd->failed = true;
		return 0;
	}
	memcpy(out, p, len);
	return len;
}

enum bs_err
bs_keyclient_attach(struct bs_keyclient *kc, const uint8_t token[BS_TOKEN_LEN], const char *user, const char *service,
    struct bs_session_info *out)
{
	uint8_t request[REQUEST_MAX];
	struct bs_wr wr = bs_wr_init(request, sizeof(request));
	struct bs_session_info info;
	struct bs_rd rd;
	enum bs_err err;

	bs_wr_bytes(&wr, token, BS_TOKEN_LEN);
	bs_keyclient_write_name(&wr, user);
	bs_keyclient_write_name(&wr, service);
	err = bs_keyclient_call_written(kc, BS_OP_ATTACH, &wr, &rd);
	if (err != BS_OK)
		return err;
	bs_rd_copy(&rd, info.account_id, BS_ID_LEN);
	info.sealed = bs_rd_u8(&rd) != 0;
	info.record_len = read_record(&rd, info.record);
	err = bs_keyclient_end_call(kc, &rd);
	if (err == BS_OK)
		*out = info;
	return err;
}

/* The payload of BS_OP_UNWRAP, malloced. */
static enum bs_err
write_prefixes(const struct bs_msg_prefix *prefixes, size_t n, uint8_t **out, size_t *out_len)
{
	struct bs_wr wr;
	size_t len = 2;
	uint8_t *bytes;

	if (n == 0 || n > BS_UNWRAP_MAX)
		return BS_ERR_ARG;
	for (size_t i = 0; i < n; i++) {
		if (prefixes[i].len > BS_MSG_PREFIX_MAX)
			return BS_ERR_ARG;
		len += 2 + prefixes[i].len;
	}
	bytes = malloc(len);
	if (bytes == NULL)
		return BS_ERR_NOMEM;
	wr = bs_wr_init(bytes, len);
	bs_wr_u16(&wr, (uint16_t)n);
	for (size_t i = 0; i < n; i++)
		bs_wr_str16(&wr, prefixes[i].bytes, prefixes[i].len);
	*out = bytes;
	*out_len = len;
	return BS_OK;
}

enum bs_err
bs_keyclient_unwrap(struct bs_keyclient *kc, const struct bs_msg_prefix *prefixes, size_t n, enum bs_err *status,
    uint8_t (*data_keys)[BS_KEY_LEN])
{
	uint8_t *request;
	size_t request_len;
	struct bs_rd rd;
	enum bs_err err = write_prefixes(prefixes, n, &request, &request_len);

	if (err != BS_OK)
		return err;
	err = bs_keyclient_call(kc, BS_OP_UNWRAP, request, request_len, &rd);
	free(request);
	if (err != BS_OK)
		return err;
	if (bs_rd_u16(&rd) != n)
		rd.failed = true;
	for (size_t i = 0; i < n; i++) {
		status[i] = bs_keyproto_status(bs_rd_u16(&rd));
		if (status[i] == BS_OK)
			bs_rd_copy(&rd, data_keys[i], BS_KEY_LEN);
	}
	err = bs_keyclient_end_call(kc, &rd);
	/* Nobody who overlooks err may find a place that says BS_OK. */
	for (size_t i = 0; err != BS_OK && i < n; i++) {
		status[i] = err;
		bs_wipe(data_keys[i], BS_KEY_LEN);
	}
	return err;
}

enum bs_err
bs_keyclient_subkey(struct bs_keyclient *kc, uint8_t purpose, const uint8_t mailbox_guid[16], uint64_t epoch,
    uint8_t out[BS_KEY_LEN])
{
	uint8_t request[1 + 16 + 8], key[BS_KEY_LEN];
	struct bs_wr wr = bs_wr_init(request, sizeof(request));
	struct bs_rd rd;
	enum bs_err err;

	bs_wr_u8(&wr, purpose);
	bs_wr_bytes(&wr, mailbox_guid, 16);
	bs_wr_u64(&wr, epoch);
	err = bs_keyclient_call_written(kc, BS_OP_SUBKEY, &wr, &rd);
	if (err != BS_OK)
		return err;
	bs_rd_copy(&rd, key, BS_KEY_LEN);
	err = bs_keyclient_end_call(kc, &rd);
	if (err == BS_OK)
		memcpy(out, key, BS_KEY_LEN);
	bs_wipe(key, sizeof(key));
	return err;
}

enum bs_err
bs_keyclient_record(struct bs_keyclient *kc, const char *user, uint8_t *out, size_t *out_len)
{
	uint8_t record[BS_RECORD_MAX];
	struct bs_rd rd;
	size_t len;
	enum bs_err err = bs_keyclient_call_user(kc, BS_OP_RECORD, user, &rd);

	if (err != BS_OK)
		return err;
	len = read_record(&rd, record);
	err = bs_keyclient_end_call(kc, &rd);
	if (err != BS_OK)
		return err;
	memcpy(out, record, len);
	*out_len = len;
	return BS_OK;
}

enum bs_err
bs_keyclient_exists(struct bs_keyclient *kc, const char *user)
{
	struct bs_rd rd;
	enum bs_err err = bs_keyclient_call_user(kc, BS_OP_EXISTS, user, &rd);

	return err == BS_OK ? bs_keyclient_end_call(kc, &rd) : err;
}

enum bs_err
bs_keyclient_keyset(struct bs_keyclient *kc, uint8_t **out, size_t *out_len)
{
	return bs_keyclient_call_blob(kc, BS_OP_KEYSET, NULL, out, out_len);
}

enum bs_err
bs_keyclient_keyset_of(struct bs_keyclient *kc, const char *user, uint8_t **out, size_t *out_len)
{
	return bs_keyclient_call_blob(kc, BS_OP_KEYSET_OF, user, out, out_len);
}

enum bs_err
bs_keyclient_resume_token(struct bs_keyclient *kc, uint8_t token[BS_TOKEN_LEN])
{
	uint8_t got[BS_TOKEN_LEN];
	struct bs_rd rd;
	enum bs_err err = bs_keyclient_call(kc, BS_OP_RESUME_TOKEN, NULL, 0, &rd);

	if (err != BS_OK)
		return err;
	bs_rd_copy(&rd, got, BS_TOKEN_LEN);
	err = bs_keyclient_end_call(kc, &rd);
	if (err == BS_OK)
		memcpy(token, got, BS_TOKEN_LEN);
	bs_wipe(got, sizeof(got));
	return err;
}

/* What is answered by a status alone. */
static enum bs_err
call_plain(struct bs_keyclient *kc, uint8_t op, const void *payload, size_t len)
{
	struct bs_rd rd;
	enum bs_err err = bs_keyclient_call(kc, op, payload, len, &rd);

	return err == BS_OK ? bs_keyclient_end_call(kc, &rd) : err;
}

enum bs_err
bs_keyclient_drop_token(struct bs_keyclient *kc, const uint8_t token[BS_TOKEN_LEN])
{
	return call_plain(kc, BS_OP_DROP_TOKEN, token, BS_TOKEN_LEN);
}

enum bs_err
bs_keyclient_holds(struct bs_keyclient *kc, const uint8_t key_id[BS_ID_LEN])
{
	return call_plain(kc, BS_OP_HOLDS, key_id, BS_ID_LEN);
}
