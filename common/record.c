#include "record.h"

#include <string.h>

#include "wire.h"

#define MAGIC "BSR1"
#define MAGIC_LEN 4
#define VERSION 1
/* What the signature covers begins with it, so that no other signature of the site key can pass for a record's. */
#define DOMAIN "basalt record v1"
#define DOMAIN_LEN (sizeof(DOMAIN) - 1)

static bool
name_is_sane(const char *name)
{
	size_t len = strnlen(name, BS_ACCOUNT_NAME_MAX + 1);

	if (len == 0 || len > BS_ACCOUNT_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c <= ' ' || c == 0x7f || (c >= 'A' && c <= 'Z'))
			return false;
	}
	return true;
}

static bool
key_id_fits(const struct bs_record *rec)
{
	uint8_t key_id[BS_ID_LEN];

	bs_msg_key_id(BS_MSG_SUITE_X25519, rec->public_key, key_id);
	return memcmp(key_id, rec->key_id, BS_ID_LEN) == 0;
}

enum bs_err
bs_record_parse(const void *data, size_t len, struct bs_record *out)
{
	struct bs_rd rd = bs_rd_init(data, len);
	const uint8_t *magic = bs_rd_bytes(&rd, MAGIC_LEN);
	uint8_t version = bs_rd_u8(&rd), suite = bs_rd_u8(&rd);
	struct bs_record rec = { .flags = 0 };

	if (rd.failed || len > BS_RECORD_MAX || memcmp(magic, MAGIC, MAGIC_LEN) != 0)
		return BS_ERR_FORMAT;
	if (version != VERSION || suite != BS_MSG_SUITE_X25519)
		return BS_ERR_VERSION;
	rec.flags = bs_rd_u32(&rd);
	rec.generation = bs_rd_u64(&rd);
	rec.created = bs_rd_u64(&rd);
	bs_rd_copy(&rd, rec.account_id, BS_ID_LEN);
	bs_rd_copy(&rd, rec.key_id, BS_ID_LEN);
	bs_rd_copy(&rd, rec.public_key, BS_KEY_LEN);
	bs_rd_cstr16(&rd, rec.name, sizeof(rec.name));
	(void)bs_rd_bytes(&rd, BS_SIG_LEN);
	if (!bs_rd_done(&rd) || rec.generation == 0 || !name_is_sane(rec.name))
		return BS_ERR_FORMAT;
	/* An unknown flag may be one that forbids what this program would do. */
	if ((rec.flags & ~BS_RECORD_FLAGS_KNOWN) != 0)
		return BS_ERR_VERSION;
	*out = rec;
	return BS_OK;
}

/* DOMAIN and the record without its signature: what is signed. out holds DOMAIN_LEN + BS_RECORD_MAX. */
static size_t
signed_bytes(const uint8_t *data, size_t len, uint8_t *out)
{
	memcpy(out, DOMAIN, DOMAIN_LEN);
	memcpy(out + DOMAIN_LEN, data, len);
	return DOMAIN_LEN + len;
}

enum bs_err
bs_record_open(const void *data, size_t len, const uint8_t site_pub[BS_SIGN_PUB_LEN], const char *name,
    struct bs_record *out)
{
	uint8_t buf[DOMAIN_LEN + BS_RECORD_MAX];
	const uint8_t *bytes = data;
	struct bs_record rec;
	size_t n;
	enum bs_err err = bs_record_parse(data, len, &rec);

	if (err != BS_OK)
		return err;
	n = signed_bytes(bytes, len - BS_SIG_LEN, buf);
	err = bs_sign_verify(site_pub, buf, n, bytes + len - BS_SIG_LEN);
	if (err != BS_OK)
		return err;
	if (name != NULL && strcmp(name, rec.name) != 0)
		return BS_ERR_ACCOUNT;
	if (!key_id_fits(&rec))
		return BS_ERR_AUTH;
	*out = rec;
	return BS_OK;
}

enum bs_err
bs_record_sign(const struct bs_record *rec, const uint8_t site_sec[BS_SIGN_SEC_LEN], uint8_t *out, size_t *out_len)
{
	uint8_t bytes[BS_RECORD_MAX], buf[DOMAIN_LEN + BS_RECORD_MAX], sig[BS_SIG_LEN];
	struct bs_wr wr = bs_wr_init(bytes, sizeof(bytes));
	enum bs_err err;

	if (!name_is_sane(rec->name) || rec->generation == 0 || (rec->flags & ~BS_RECORD_FLAGS_KNOWN) != 0 ||
	    !key_id_fits(rec))
		return BS_ERR_ARG;
	bs_wr_bytes(&wr, MAGIC, MAGIC_LEN);
	bs_wr_u8(&wr, VERSION);
	bs_wr_u8(&wr, BS_MSG_SUITE_X25519);
	bs_wr_u32(&wr, rec->flags);
	bs_wr_u64(&wr, rec->generation);
	bs_wr_u64(&wr, rec->created);
	bs_wr_bytes(&wr, rec->account_id, BS_ID_LEN);
	bs_wr_bytes(&wr, rec->key_id, BS_ID_LEN);
	bs_wr_bytes(&wr, rec->public_key, BS_KEY_LEN);
	bs_wr_str16(&wr, rec->name, strlen(rec->name));
	err = bs_sign(site_sec, buf, signed_bytes(bytes, wr.len, buf), sig);
	if (err != BS_OK)
		return err;
	bs_wr_bytes(&wr, sig, BS_SIG_LEN);
	if (wr.failed)
		return BS_ERR_INTERNAL;
	memcpy(out, bytes, wr.len);
	*out_len = wr.len;
	return BS_OK;
}
