/* crypto, the composition: a 32-byte key sealed to a public key. Written down in docs/FORMAT.message.md. */
#include <string.h>

#include "crypto_priv.h"
#include "wire.h"

#define LABEL_MAX 64
#define FIELDS_MAX 512

enum bs_err
bs_crypto_init(void)
{
	enum bs_err err = bs_crypto_init_openssl();

	return err != BS_OK ? err : bs_crypto_init_sodium();
}

enum bs_err
bs_crypto_init_lazy(void)
{
	return bs_crypto_init_sodium();
}

enum bs_err
bs_kem_start(const uint8_t pub[BS_KEY_LEN], struct bs_kem *out)
{
	uint8_t eph_pub[BS_KEY_LEN], eph_sec[BS_KEY_LEN], shared[BS_KEY_LEN];
	enum bs_err err;

	bs_x25519_keypair(eph_pub, eph_sec);
	err = bs_x25519(eph_sec, pub, shared);
	bs_wipe(eph_sec, sizeof(eph_sec));
	if (err == BS_OK) {
		memcpy(out->pub, pub, BS_KEY_LEN);
		memcpy(out->eph, eph_pub, BS_KEY_LEN);
		memcpy(out->shared, shared, BS_KEY_LEN);
		out->made = true;
	}
	bs_wipe(shared, sizeof(shared));
	return err;
}

enum bs_err
bs_kem_accept(const uint8_t sec[BS_KEY_LEN], const uint8_t pub[BS_KEY_LEN], const uint8_t eph[BS_KEY_LEN], struct bs_kem *kem)
{
	enum bs_err err;

	if (kem->made && memcmp(kem->pub, pub, BS_KEY_LEN) == 0 && memcmp(kem->eph, eph, BS_KEY_LEN) == 0)
		return BS_OK;
	kem->made = false;
	err = bs_x25519(sec, eph, kem->shared);
	if (err != BS_OK)
		return err;
	memcpy(kem->pub, pub, BS_KEY_LEN);
	memcpy(kem->eph, eph, BS_KEY_LEN);
	kem->made = true;
	return BS_OK;
}

/* info = label || fields || eph public || pub; the KEK's cipher comes out, never the KEK. */
static enum bs_err
kem_cipher(const struct bs_kem *kem, const uint8_t salt[16], const char *label, const void *fields, size_t fields_len,
    struct bs_gcm **out)
{
	uint8_t info[LABEL_MAX + FIELDS_MAX + 2 * BS_KEY_LEN], kek[BS_KEY_LEN];
	struct bs_wr wr = bs_wr_init(info, sizeof(info));
	size_t label_len = strlen(label);
	enum bs_err err;

	if (!kem->made)
		return BS_ERR_ARG;
	if (label_len > LABEL_MAX || fields_len > FIELDS_MAX)
		return BS_ERR_LIMIT;
	bs_wr_bytes(&wr, label, label_len);
	bs_wr_bytes(&wr, fields, fields_len);
	bs_wr_bytes(&wr, kem->eph, BS_KEY_LEN);
	bs_wr_bytes(&wr, kem->pub, BS_KEY_LEN);
	err = bs_hkdf(kem->shared, BS_KEY_LEN, salt, 16, info, wr.len, kek);
	if (err == BS_OK) {
		*out = bs_gcm_new(kek);
		if (*out == NULL)
			err = BS_ERR_NOMEM;
	}
	bs_wipe(kek, sizeof(kek));
	return err;
}

/* The KEK serves for this one key, so its nonce may be constant. */
static const uint8_t zero_nonce[BS_NONCE_LEN];

enum bs_err
bs_kem_seal_by(const struct bs_kem *kem, const uint8_t salt[16], const char *label, const void *fields, size_t fields_len,
    const uint8_t key[BS_KEY_LEN], uint8_t sealed[BS_SEALED_KEY_LEN])
{
	uint8_t text[BS_SEALED_KEY_LEN];
	struct bs_gcm *gcm = NULL;
	enum bs_err err = kem_cipher(kem, salt, label, fields, fields_len, &gcm);

	if (err == BS_OK)
		err = bs_gcm_seal(gcm, zero_nonce, NULL, 0, key, BS_KEY_LEN, text, text + BS_KEY_LEN);
	if (err == BS_OK)
		memcpy(sealed, text, sizeof(text));
	bs_gcm_free(gcm);
	return err;
}

enum bs_err
bs_kem_open_by(const struct bs_kem *kem, const uint8_t salt[16], const char *label, const void *fields, size_t fields_len,
    const uint8_t sealed[BS_SEALED_KEY_LEN], uint8_t key[BS_KEY_LEN])
{
	uint8_t opened[BS_KEY_LEN];
	struct bs_gcm *gcm = NULL;
	enum bs_err err = kem_cipher(kem, salt, label, fields, fields_len, &gcm);

	if (err == BS_OK)
		err = bs_gcm_open(gcm, zero_nonce, NULL, 0, sealed, BS_KEY_LEN, sealed + BS_KEY_LEN, opened);
	if (err == BS_OK)
		memcpy(key, opened, BS_KEY_LEN);
	bs_gcm_free(gcm);
	bs_wipe(opened, sizeof(opened));
	return err;
}

enum bs_err
bs_kem_seal(const uint8_t pub[BS_KEY_LEN], const uint8_t salt[16], const char *label, const void *fields,
    size_t fields_len, const uint8_t key[BS_KEY_LEN], uint8_t eph[BS_KEY_LEN], uint8_t sealed[BS_SEALED_KEY_LEN])
{
	struct bs_kem kem;
	enum bs_err err = bs_kem_start(pub, &kem);

	if (err != BS_OK)
		return err;
	err = bs_kem_seal_by(&kem, salt, label, fields, fields_len, key, sealed);
	if (err == BS_OK)
		memcpy(eph, kem.eph, BS_KEY_LEN);
	bs_wipe(&kem, sizeof(kem));
	return err;
}

enum bs_err
bs_kem_open(const uint8_t sec[BS_KEY_LEN], const uint8_t pub[BS_KEY_LEN], const uint8_t salt[16], const char *label,
    const void *fields, size_t fields_len, const uint8_t eph[BS_KEY_LEN], const uint8_t sealed[BS_SEALED_KEY_LEN],
    uint8_t key[BS_KEY_LEN])
{
	struct bs_kem kem = { .made = false };
	enum bs_err err = bs_kem_accept(sec, pub, eph, &kem);

	if (err == BS_OK)
		err = bs_kem_open_by(&kem, salt, label, fields, fields_len, sealed, key);
	bs_wipe(&kem, sizeof(kem));
	return err;
}
