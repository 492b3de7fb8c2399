/* crypto, the composition: a 32-byte key sealed to a public key. Written down in docs/FORMAT.message.md. */
#include <string.h>

#include "crypto_priv.h"

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

/* What both ends know: whose key, which exchange, and what the sealed key is bound to. */
struct kem_context {
	const uint8_t *salt;
	const char *label;
	const void *fields;
	size_t fields_len;
	const uint8_t *eph;
	const uint8_t *pub;
};

/* info = label || fields || eph public || pub; the KEK's cipher comes out, never the KEK. */
static enum bs_err
kem_cipher(const struct kem_context *kem, const uint8_t shared[BS_KEY_LEN], struct bs_gcm **out)
{
	uint8_t info[LABEL_MAX + FIELDS_MAX + 2 * BS_KEY_LEN], kek[BS_KEY_LEN];
	size_t label_len = strlen(kem->label), len = 0;
	enum bs_err err;

	if (label_len > LABEL_MAX || kem->fields_len > FIELDS_MAX)
		return BS_ERR_LIMIT;
	memcpy(info, kem->label, label_len);
	len += label_len;
	if (kem->fields_len > 0)
		memcpy(info + len, kem->fields, kem->fields_len);
	len += kem->fields_len;
	memcpy(info + len, kem->eph, BS_KEY_LEN);
	len += BS_KEY_LEN;
	memcpy(info + len, kem->pub, BS_KEY_LEN);
	len += BS_KEY_LEN;
	err = bs_hkdf(shared, BS_KEY_LEN, kem->salt, 16, info, len, kek);
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
bs_kem_seal(const uint8_t pub[BS_KEY_LEN], const uint8_t salt[16], const char *label, const void *fields,
    size_t fields_len, const uint8_t key[BS_KEY_LEN], uint8_t eph[BS_KEY_LEN], uint8_t sealed[BS_SEALED_KEY_LEN])
{
	uint8_t eph_pub[BS_KEY_LEN], eph_sec[BS_KEY_LEN], shared[BS_KEY_LEN], text[BS_SEALED_KEY_LEN];
	const struct kem_context kem = { salt, label, fields, fields_len, eph_pub, pub };
	struct bs_gcm *gcm = NULL;
	enum bs_err err;

	bs_x25519_keypair(eph_pub, eph_sec);
	err = bs_x25519(eph_sec, pub, shared);
	if (err == BS_OK)
		err = kem_cipher(&kem, shared, &gcm);
	if (err == BS_OK)
		err = bs_gcm_seal(gcm, zero_nonce, NULL, 0, key, BS_KEY_LEN, text, text + BS_KEY_LEN);
	if (err == BS_OK) {
		memcpy(eph, eph_pub, BS_KEY_LEN);
		memcpy(sealed, text, sizeof(text));
	}
	bs_gcm_free(gcm);
	bs_wipe(shared, sizeof(shared));
	bs_wipe(eph_sec, sizeof(eph_sec));
	return err;
}

enum bs_err
bs_kem_open(const uint8_t sec[BS_KEY_LEN], const uint8_t pub[BS_KEY_LEN], const uint8_t salt[16], const char *label,
    const void *fields, size_t fields_len, const uint8_t eph[BS_KEY_LEN], const uint8_t sealed[BS_SEALED_KEY_LEN],
    uint8_t key[BS_KEY_LEN])
{
	const struct kem_context kem = { salt, label, fields, fields_len, eph, pub };
	uint8_t shared[BS_KEY_LEN], opened[BS_KEY_LEN];
	struct bs_gcm *gcm = NULL;
	enum bs_err err;

	err = bs_x25519(sec, eph, shared);
	if (err == BS_OK)
		err = kem_cipher(&kem, shared, &gcm);
	if (err == BS_OK)
		err = bs_gcm_open(gcm, zero_nonce, NULL, 0, sealed, BS_KEY_LEN, sealed + BS_KEY_LEN, opened);
	if (err == BS_OK)
		memcpy(key, opened, BS_KEY_LEN);
	bs_gcm_free(gcm);
	bs_wipe(shared, sizeof(shared));
	bs_wipe(opened, sizeof(opened));
	return err;
}
