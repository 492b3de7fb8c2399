/* crypto, the part that OpenSSL does: SHA-256, HMAC, HKDF, AES-256-GCM. */
/* SHA-256 by its plain functions, which OpenSSL 3 would rather see replaced by EVP: they need no start of the library (2 ms,
 * which a short login need not pay) and no memory, and take the processor's SHA instructions, which libsodium does not. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "crypto_priv.h"

#define HKDF_INFO_MAX 1024

_Static_assert(BS_HASH_LEN == SHA256_DIGEST_LENGTH, "SHA-256");

/* Fetching by name costs more than sealing a small message does, so it happens once, with the first call of ready(), and
 * with it the library's own start, which takes milliseconds; constant afterwards. */
static struct {
	pthread_once_t once;
	EVP_CIPHER *gcm;
} lib = { .once = PTHREAD_ONCE_INIT };

struct bs_sha256 {
	SHA256_CTX ctx;
};

struct bs_gcm {
	EVP_CIPHER_CTX *ctx;
};

static void
fetch(void)
{
	lib.gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
}

static bool
ready(void)
{
	return pthread_once(&lib.once, fetch) == 0 && lib.gcm != NULL;
}

enum bs_err
bs_crypto_init_openssl(void)
{
	return ready() ? BS_OK : BS_ERR_CRYPTO;
}

/* --- hashing: these functions fail for no input --- */

struct bs_sha256 *
bs_sha256_new(void)
{
	struct bs_sha256 *hash = malloc(sizeof(*hash));

	if (hash != NULL)
		(void)SHA256_Init(&hash->ctx);
	return hash;
}

void
bs_sha256_free(struct bs_sha256 *hash)
{
	if (hash == NULL)
		return;
	bs_wipe(hash, sizeof(*hash));
	free(hash);
}

void
bs_sha256_update(struct bs_sha256 *hash, const void *data, size_t len)
{
	(void)SHA256_Update(&hash->ctx, data, len);
}

void
bs_sha256_final(struct bs_sha256 *hash, uint8_t out[BS_HASH_LEN])
{
	(void)SHA256_Final(out, &hash->ctx);
	(void)SHA256_Init(&hash->ctx);
}

void
bs_sha256(const void *data, size_t len, uint8_t out[BS_HASH_LEN])
{
	SHA256_CTX ctx;

	(void)SHA256_Init(&ctx);
	(void)SHA256_Update(&ctx, data, len);
	(void)SHA256_Final(out, &ctx);
	bs_wipe(&ctx, sizeof(ctx));
}

/* RFC 2104, section 2: the hash begins with one block of the key, each byte of it XORed with pad. */
static void
hmac_begin(SHA256_CTX *ctx, const uint8_t *key, size_t key_len, uint8_t pad)
{
	uint8_t block[SHA256_CBLOCK];

	memset(block, pad, sizeof(block));
	for (size_t i = 0; i < key_len; i++)
		block[i] ^= key[i];
	(void)SHA256_Init(ctx);
	(void)SHA256_Update(ctx, block, sizeof(block));
	bs_wipe(block, sizeof(block));
}

/* One HMAC over two pieces. key_len is at most a block. */
static void
hmac(const uint8_t *key, size_t key_len, const void *a, size_t a_len, const void *b, size_t b_len, uint8_t out[BS_HASH_LEN])
{
	uint8_t inner[BS_HASH_LEN];
	SHA256_CTX ctx;

	hmac_begin(&ctx, key, key_len, 0x36);
	(void)SHA256_Update(&ctx, a, a_len);
	(void)SHA256_Update(&ctx, b, b_len);
	(void)SHA256_Final(inner, &ctx);
	hmac_begin(&ctx, key, key_len, 0x5c);
	(void)SHA256_Update(&ctx, inner, sizeof(inner));
	(void)SHA256_Final(out, &ctx);
	bs_wipe(&ctx, sizeof(ctx));
	bs_wipe(inner, sizeof(inner));
}

enum bs_err
bs_hmac(const uint8_t key[BS_KEY_LEN], const void *data, size_t len, uint8_t out[BS_HASH_LEN])
{
	hmac(key, BS_KEY_LEN, data, len, "", 0, out);
	return BS_OK;
}

/* RFC 5869 for one block of output, written as its two HMACs. */
enum bs_err
bs_hkdf(const void *ikm, size_t ikm_len, const void *salt, size_t salt_len, const void *info, size_t info_len,
    uint8_t out[BS_KEY_LEN])
{
	static const uint8_t first = 1; /* section 2.3: T(1) = HMAC(PRK, info || 0x01) */
	uint8_t prk[BS_HASH_LEN];

	if (info_len > HKDF_INFO_MAX || salt_len > SHA256_CBLOCK)
		return BS_ERR_LIMIT;
	/* Section 2.2: no salt is one of zeros, which is what a key of no bytes is to HMAC. */
	hmac(salt, salt_len, ikm, ikm_len, "", 0, prk);
	hmac(prk, sizeof(prk), info, info_len, &first, 1, out);
	bs_wipe(prk, sizeof(prk));
	return BS_OK;
}

/* --- AES-256-GCM --- */

struct bs_gcm *
bs_gcm_new(const uint8_t key[BS_KEY_LEN])
{
	struct bs_gcm *gcm = ready() ? malloc(sizeof(*gcm)) : NULL;

	if (gcm == NULL)
		return NULL;
	gcm->ctx = EVP_CIPHER_CTX_new();
	if (gcm->ctx == NULL || EVP_EncryptInit_ex2(gcm->ctx, lib.gcm, key, NULL, NULL) != 1) {
		bs_gcm_free(gcm);
		return NULL;
	}
	return gcm;
}

void
bs_gcm_free(struct bs_gcm *gcm)
{
	if (gcm == NULL)
		return;
	EVP_CIPHER_CTX_free(gcm->ctx);
	free(gcm);
}

/* Nonce, AAD and text in either direction; the key stays as it is. */
static bool
gcm_run(EVP_CIPHER_CTX *ctx, int seal, const uint8_t *nonce, const void *aad, size_t aad_len, const void *in, size_t len,
    uint8_t *out)
{
	int n = 0;

	if (EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, seal, NULL) != 1)
		return false;
	if (aad_len > 0 && EVP_CipherUpdate(ctx, NULL, &n, aad, (int)aad_len) != 1)
		return false;
	return len == 0 || (EVP_CipherUpdate(ctx, out, &n, in, (int)len) == 1 && (size_t)n == len);
}

enum bs_err
bs_gcm_seal(struct bs_gcm *gcm, const uint8_t nonce[BS_NONCE_LEN], const void *aad, size_t aad_len, const void *in,
    size_t len, uint8_t *out, uint8_t tag[BS_TAG_LEN])
{
	uint8_t none[1];
	int n = 0;

	if (len > INT_MAX || aad_len > INT_MAX)
		return BS_ERR_LIMIT;
	if (!gcm_run(gcm->ctx, 1, nonce, aad, aad_len, in, len, out) ||
	    EVP_CipherFinal_ex(gcm->ctx, none, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(gcm->ctx, EVP_CTRL_AEAD_GET_TAG, BS_TAG_LEN, tag) != 1)
		return BS_ERR_CRYPTO;
	return BS_OK;
}

enum bs_err
bs_gcm_open(struct bs_gcm *gcm, const uint8_t nonce[BS_NONCE_LEN], const void *aad, size_t aad_len, const void *in,
    size_t len, const uint8_t tag[BS_TAG_LEN], uint8_t *out)
{
	uint8_t expected[BS_TAG_LEN], none[1];
	enum bs_err err = BS_OK;
	int n = 0;

	if (len > INT_MAX || aad_len > INT_MAX)
		return BS_ERR_LIMIT;
	memcpy(expected, tag, sizeof(expected));
	if (!gcm_run(gcm->ctx, 0, nonce, aad, aad_len, in, len, out) ||
	    EVP_CIPHER_CTX_ctrl(gcm->ctx, EVP_CTRL_AEAD_SET_TAG, BS_TAG_LEN, expected) != 1)
		err = BS_ERR_CRYPTO;
	else if (EVP_CipherFinal_ex(gcm->ctx, none, &n) != 1)
		err = BS_ERR_AUTH;
	if (err != BS_OK)
		bs_wipe(out, len);
	return err;
}
