/* crypto, the part that OpenSSL does: SHA-256, HMAC, HKDF, AES-256-GCM. */
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "crypto_priv.h"

#define HKDF_INFO_MAX 1024

/* Fetching by name costs more than hashing a small message does, so it happens once, with the first call of ready(), and
 * with it the library's own start, which takes milliseconds; constant afterwards. */
static struct {
	pthread_once_t once;
	EVP_MD *sha256;
	EVP_MAC_CTX *hmac; /* knows its hash and no key: copied for each use */
	EVP_CIPHER *gcm;
} lib = { .once = PTHREAD_ONCE_INIT };

struct bs_sha256 {
	EVP_MD_CTX *ctx;
};

struct bs_gcm {
	EVP_CIPHER_CTX *ctx;
};

static EVP_MAC_CTX *
make_hmac(void)
{
	static char name[] = "SHA256";
	OSSL_PARAM params[2] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *ctx = mac == NULL ? NULL : EVP_MAC_CTX_new(mac);

	EVP_MAC_free(mac);
	if (ctx != NULL && EVP_MAC_CTX_set_params(ctx, params) != 1) {
		EVP_MAC_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

static void
fetch(void)
{
	lib.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	lib.hmac = make_hmac();
	lib.gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
}

static bool
ready(void)
{
	return pthread_once(&lib.once, fetch) == 0 && lib.sha256 != NULL && lib.hmac != NULL && lib.gcm != NULL;
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

void
bs_sha256(const void *data, size_t len, uint8_t out[BS_HASH_LEN])
{
	must(ready() && EVP_Digest(data, len, out, NULL, lib.sha256, NULL));
}

/* --- HMAC and HKDF --- */

static EVP_MAC_CTX *
new_hmac(void)
{
	return ready() ? EVP_MAC_CTX_dup(lib.hmac) : NULL;
}

/* One HMAC over two pieces; ctx serves again afterwards. */
static enum bs_err
hmac_once(EVP_MAC_CTX *ctx, const void *key, size_t key_len, const void *a, size_t a_len, const void *b, size_t b_len,
    uint8_t out[BS_HASH_LEN])
{
	uint8_t mac[BS_HASH_LEN];
	size_t len = 0;

	if (EVP_MAC_init(ctx, key, key_len, NULL) != 1 ||
	    EVP_MAC_update(ctx, a, a_len) != 1 ||
	    (b_len > 0 && EVP_MAC_update(ctx, b, b_len) != 1) ||
	    EVP_MAC_final(ctx, mac, &len, sizeof(mac)) != 1 || len != sizeof(mac))
		return BS_ERR_CRYPTO;
	memcpy(out, mac, sizeof(mac));
	bs_wipe(mac, sizeof(mac));
	return BS_OK;
}

enum bs_err
bs_hmac(const uint8_t key[BS_KEY_LEN], const void *data, size_t len, uint8_t out[BS_HASH_LEN])
{
	EVP_MAC_CTX *ctx = new_hmac();
	enum bs_err err = ctx == NULL ? BS_ERR_NOMEM : hmac_once(ctx, key, BS_KEY_LEN, data, len, NULL, 0, out);

	EVP_MAC_CTX_free(ctx);
	return err;
}

/* RFC 5869 for one block of output, written as its two HMACs: EVP_KDF takes twice as long for the same bytes. */
enum bs_err
bs_hkdf(const void *ikm, size_t ikm_len, const void *salt, size_t salt_len, const void *info, size_t info_len,
    uint8_t out[BS_KEY_LEN])
{
	static const uint8_t zeros[BS_HASH_LEN]; /* section 2.2: the salt when there is none */
	static const uint8_t first = 1;          /* section 2.3: T(1) = HMAC(PRK, info || 0x01) */
	uint8_t prk[BS_HASH_LEN];
	EVP_MAC_CTX *ctx;
	enum bs_err err;

	if (info_len > HKDF_INFO_MAX)
		return BS_ERR_LIMIT;
	ctx = new_hmac();
	if (ctx == NULL)
		return BS_ERR_NOMEM;
	if (salt_len == 0) {
		salt = zeros;
		salt_len = sizeof(zeros);
	}
	err = hmac_once(ctx, salt, salt_len, ikm, ikm_len, NULL, 0, prk);
	if (err == BS_OK)
		err = hmac_once(ctx, prk, sizeof(prk), info, info_len, &first, 1, out);
	EVP_MAC_CTX_free(ctx);
	bs_wipe(prk, sizeof(prk));
	return err;
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
