/* crypto, the part that OpenSSL does: SHA-256 of long inputs, AES-256-GCM. */
#include <limits.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "crypto_priv.h"

/* Fetching by name costs more than hashing a small message does, so it happens once, with the first call of ready(), and
 * with it the library's own start, which takes milliseconds; constant afterwards. */
static struct {
	pthread_once_t once;
	EVP_MD *sha256;
	EVP_CIPHER *gcm;
} lib = { .once = PTHREAD_ONCE_INIT };

struct bs_sha256 {
	EVP_MD_CTX *ctx;
};

struct bs_gcm {
	EVP_CIPHER_CTX *ctx;
};

static void
fetch(void)
{
	lib.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	lib.gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
}

static bool
ready(void)
{
	return pthread_once(&lib.once, fetch) == 0 && lib.sha256 != NULL && lib.gcm != NULL;
}

enum bs_err
bs_crypto_init_openssl(void)
{
	return ready() ? BS_OK : BS_ERR_CRYPTO;
}

/* A hash has no way to report an error, and no error can happen to it once it has its memory. */
static void
must(int ok)
{
	if (ok != 1)
		abort();
}

struct bs_sha256 *
bs_sha256_new(void)
{
	struct bs_sha256 *hash = ready() ? malloc(sizeof(*hash)) : NULL;

	if (hash == NULL)
		return NULL;
	hash->ctx = EVP_MD_CTX_new();
	if (hash->ctx == NULL || EVP_DigestInit_ex2(hash->ctx, lib.sha256, NULL) != 1) {
		bs_sha256_free(hash);
		return NULL;
	}
	return hash;
}

void
bs_sha256_free(struct bs_sha256 *hash)
{
	if (hash == NULL)
		return;
	EVP_MD_CTX_free(hash->ctx);
	free(hash);
}

void
bs_sha256_update(struct bs_sha256 *hash, const void *data, size_t len)
{
	must(EVP_DigestUpdate(hash->ctx, data, len));
}

void
bs_sha256_final(struct bs_sha256 *hash, uint8_t out[BS_HASH_LEN])
{
	must(EVP_DigestFinal_ex(hash->ctx, out, NULL));
	must(EVP_DigestInit_ex2(hash->ctx, lib.sha256, NULL));
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
