#include "dkim_keys.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

/* Where a key's bytes lead to one place, a new one takes the old one's. */
struct place {
	EVP_PKEY *key; /* NULL: free */
	size_t len;
	uint8_t der[DKIM_KEY_BYTES_MAX];
};

static struct {
	pthread_mutex_t lock; /* of the rest */
	uint64_t remembered;
	struct place places[DKIM_KEYS_MAX];
} keys = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* FNV-1a. Who makes a key that meets another domain's costs us the decoding of both, as if there was no memory. */
static struct place *
place_of(const uint8_t *der, size_t len)
{
	uint32_t hash = 2166136261U;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ der[i]) * 16777619U;
	return &keys.places[hash % DKIM_KEYS_MAX];
}

static EVP_PKEY *
recall(const uint8_t *der, size_t len)
{
	const struct place *place = place_of(der, len);
	EVP_PKEY *key = NULL;

	(void)pthread_mutex_lock(&keys.lock);
	if (place->key != NULL && place->len == len && memcmp(place->der, der, len) == 0 && EVP_PKEY_up_ref(place->key) == 1) {
		key = place->key;
		keys.remembered++;
	}
	(void)pthread_mutex_unlock(&keys.lock);
	return key;
}

static void
remember(const uint8_t *der, size_t len, EVP_PKEY *key)
{
	struct place *place = place_of(der, len);
	EVP_PKEY *old = NULL;

	if (len > sizeof(place->der))
		return;
	(void)pthread_mutex_lock(&keys.lock);
	if (EVP_PKEY_up_ref(key) == 1) {
		old = place->key;
		place->key = key;
		place->len = len;
		memcpy(place->der, der, len);
	}
	(void)pthread_mutex_unlock(&keys.lock);
	EVP_PKEY_free(old);
}

/*
 * In place of libcrypto's, for libopendkim, which gives all bytes of one key at once, in memory. Whoever else in the process
 * may call it with a BIO of another kind gets what libcrypto would give, unremembered.
 */
__attribute__((visibility("default"))) EVP_PKEY *
d2i_PUBKEY_bio(BIO *bio, EVP_PKEY **out)
{
	const unsigned char *at = NULL, *der;
	EVP_PKEY *key;
	long len;

	if (BIO_method_type(bio) != BIO_TYPE_MEM)
		return ASN1_d2i_bio_of(EVP_PKEY, EVP_PKEY_new, d2i_PUBKEY, bio, out);
	len = BIO_get_mem_data(bio, &at);
	if (len <= 0)
		return NULL;
	der = at;
	key = recall(der, (size_t)len);
	if (key == NULL) {
		key = d2i_PUBKEY(NULL, &at, len);
		if (key != NULL)
			remember(der, (size_t)len, key);
	}
	if (out != NULL && key != NULL) {
		EVP_PKEY_free(*out);
		*out = key;
	}
	return key;
}

uint64_t
dkim_keys_remembered(void)
{
	uint64_t n;

	(void)pthread_mutex_lock(&keys.lock);
	n = keys.remembered;
	(void)pthread_mutex_unlock(&keys.lock);
	return n;
}

void
dkim_keys_clear(void)
{
	(void)pthread_mutex_lock(&keys.lock);
	for (size_t i = 0; i < DKIM_KEYS_MAX; i++) {
		EVP_PKEY_free(keys.places[i].key);
		keys.places[i].key = NULL;
	}
	(void)pthread_mutex_unlock(&keys.lock);
}
