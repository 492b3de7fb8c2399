/*
 * crypto: the primitives that Basalt composes, each used as its documentation says. Two libraries stand behind it,
 * each in one file: OpenSSL (crypto_openssl.c: AES-256-GCM, SHA-256, HMAC, HKDF) and libsodium (crypto_sodium.c:
 * X25519, Ed25519, Argon2id, XChaCha20-Poly1305, random bytes, locked memory). crypto_kem.c puts them together.
 *
 * All functions are safe from any thread; an object belongs to one thread at a time. bs_crypto_init() or _lazy() runs first.
 * Lengths are bytes. The compositions are written down in docs/FORMAT.message.md and docs/FORMAT.keys.md.
 *
 *     enum bs_err err = bs_crypto_init();
 *     uint8_t *key = bs_secret_new(BS_KEY_LEN);
 *     bs_random(key, BS_KEY_LEN);
 *     bs_secret_free(key);
 */
#ifndef BS_CRYPTO_H
#define BS_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define BS_KEY_LEN 32       /* every symmetric key, X25519 scalar and X25519 point */
#define BS_HASH_LEN 32      /* SHA-256 */
#define BS_NONCE_LEN 12     /* AES-GCM */
#define BS_TAG_LEN 16       /* AES-GCM and Poly1305 */
#define BS_XNONCE_LEN 24    /* XChaCha20 */
#define BS_SALT_LEN 16      /* Argon2id */
#define BS_SIG_LEN 64       /* Ed25519 */
#define BS_SIGN_PUB_LEN 32  /* Ed25519 public key */
#define BS_SIGN_SEC_LEN 64  /* Ed25519 secret key, libsodium's form: seed, public key */
#define BS_SEALED_KEY_LEN (BS_KEY_LEN + BS_TAG_LEN) /* a key sealed to a public key, without the KEM bytes */

/* Readies both libraries. Safe to call again. BS_ERR_CRYPTO: this machine can't run Basalt. */
enum bs_err bs_crypto_init(void) BS_MUST_USE;
/* The same for a short-lived process that may need no AES: OpenSSL starts with the first key of it, which
 * then may answer BS_ERR_NOMEM where bs_crypto_init() would have said BS_ERR_CRYPTO. */
enum bs_err bs_crypto_init_lazy(void) BS_MUST_USE;
/* Known-answer tests of every primitive below; BS_ERR_CRYPTO when one is wrong. A few milliseconds and one Argon2id. */
enum bs_err bs_crypto_selftest(void) BS_MUST_USE;

/* --- memory and randomness --- */

/* Locked, guarded memory outside core files, wiped on free; NULL when it can't be had. free(NULL) is legal.
 * Each takes some 25 us and four mappings: for secrets that stay, not for one message's key. */
void *bs_secret_new(size_t len);
void bs_secret_free(void *p);
void bs_wipe(void *p, size_t len);
/* Constant time in the contents. */
bool bs_equal(const void *a, const void *b, size_t len);
void bs_random(void *out, size_t len);

/* --- hashing and derivation --- */

struct bs_sha256; /* incremental SHA-256, fast on long inputs */
struct bs_sha256 *bs_sha256_new(void);
void bs_sha256_free(struct bs_sha256 *hash);
void bs_sha256_update(struct bs_sha256 *hash, const void *data, size_t len);
/* Gives the digest of all so far and starts again from nothing. */
void bs_sha256_final(struct bs_sha256 *hash, uint8_t out[BS_HASH_LEN]);
/* At once: for short inputs. */
void bs_sha256(const void *data, size_t len, uint8_t out[BS_HASH_LEN]);

/* HMAC-SHA256 of data under a 32-byte key (RFC 2104). */
enum bs_err bs_hmac(const uint8_t key[BS_KEY_LEN], const void *data, size_t len, uint8_t out[BS_HASH_LEN]) BS_MUST_USE;
/* HKDF-SHA256 (RFC 5869), extract then expand, 32 bytes out. info_len at most 1024, salt_len at most 64. */
enum bs_err bs_hkdf(const void *ikm, size_t ikm_len, const void *salt, size_t salt_len, const void *info,
    size_t info_len, uint8_t out[BS_KEY_LEN]) BS_MUST_USE;

/* Argon2id v1.3, one lane (RFC 9106). memory_kib and passes are bounds-checked against BS_ARGON2_*: BS_ERR_LIMIT. */
#define BS_ARGON2_MEMORY_KIB_MIN 8192u
#define BS_ARGON2_MEMORY_KIB_MAX (1024u * 1024)
#define BS_ARGON2_PASSES_MIN 1u
#define BS_ARGON2_PASSES_MAX 16u
enum bs_err bs_argon2id(const void *password, size_t password_len, const uint8_t salt[BS_SALT_LEN], uint32_t memory_kib,
    uint32_t passes, uint8_t out[BS_KEY_LEN]) BS_MUST_USE;

/* --- authenticated encryption --- */

struct bs_gcm; /* AES-256-GCM under one key; the key schedule is made once */
struct bs_gcm *bs_gcm_new(const uint8_t key[BS_KEY_LEN]);
void bs_gcm_free(struct bs_gcm *gcm);
/* in and out may be the same memory. A nonce never serves twice under one key. */
enum bs_err bs_gcm_seal(struct bs_gcm *gcm, const uint8_t nonce[BS_NONCE_LEN], const void *aad, size_t aad_len,
    const void *in, size_t len, uint8_t *out, uint8_t tag[BS_TAG_LEN]) BS_MUST_USE;
/* BS_ERR_AUTH: nothing of out may be used, and it was wiped. */
enum bs_err bs_gcm_open(struct bs_gcm *gcm, const uint8_t nonce[BS_NONCE_LEN], const void *aad, size_t aad_len,
    const void *in, size_t len, const uint8_t tag[BS_TAG_LEN], uint8_t *out) BS_MUST_USE;

/* XChaCha20-Poly1305 (libsodium's IETF form), for random nonces: out holds len + BS_TAG_LEN. */
enum bs_err bs_xchacha_seal(const uint8_t key[BS_KEY_LEN], const uint8_t nonce[BS_XNONCE_LEN], const void *aad,
    size_t aad_len, const void *in, size_t len, uint8_t *out) BS_MUST_USE;
/* len is that of the sealed bytes, tag included; out holds len - BS_TAG_LEN. BS_ERR_AUTH. */
enum bs_err bs_xchacha_open(const uint8_t key[BS_KEY_LEN], const uint8_t nonce[BS_XNONCE_LEN], const void *aad,
    size_t aad_len, const void *in, size_t len, uint8_t *out) BS_MUST_USE;

/* --- public keys --- */

/* A fresh X25519 pair. */
void bs_x25519_keypair(uint8_t pub[BS_KEY_LEN], uint8_t sec[BS_KEY_LEN]);
/* The public key of sec (RFC 7748). */
void bs_x25519_public(const uint8_t sec[BS_KEY_LEN], uint8_t pub[BS_KEY_LEN]);
/* The shared secret (RFC 7748 section 6.1). An all-zero one is refused: BS_ERR_AUTH. Never use it but through bs_hkdf(). */
enum bs_err bs_x25519(const uint8_t sec[BS_KEY_LEN], const uint8_t pub[BS_KEY_LEN], uint8_t shared[BS_KEY_LEN]) BS_MUST_USE;

/*
 * Seals a 32-byte key to an X25519 public key; one composition for message data keys and key slots:
 *   eph pair; shared = X25519(eph secret, pub), all-zero refused;
 *   KEK = HKDF-SHA256(ikm = shared, salt, info = label || fields || eph public || pub);
 *   sealed = AES-256-GCM(KEK, nonce = 0, no AAD, key), ciphertext then tag.
 * label is a C string without its NUL. fields_len at most 512: what the key is bound to.
 * BS_ERR_AUTH: pub is a weak point.
 */
enum bs_err bs_kem_seal(const uint8_t pub[BS_KEY_LEN], const uint8_t salt[16], const char *label, const void *fields,
    size_t fields_len, const uint8_t key[BS_KEY_LEN], uint8_t eph[BS_KEY_LEN], uint8_t sealed[BS_SEALED_KEY_LEN]) BS_MUST_USE;
/* The way back. pub belongs to sec. BS_ERR_AUTH when anything does not fit. */
enum bs_err bs_kem_open(const uint8_t sec[BS_KEY_LEN], const uint8_t pub[BS_KEY_LEN], const uint8_t salt[16],
    const char *label, const void *fields, size_t fields_len, const uint8_t eph[BS_KEY_LEN],
    const uint8_t sealed[BS_SEALED_KEY_LEN], uint8_t key[BS_KEY_LEN]) BS_MUST_USE;

/*
 * The same in two steps, for many keys to one public key: the exchange, which is nearly all of the work, and the sealing of
 * one key by it. Each key needs a salt of its own, random or never used before: it makes the KEKs independent, and each serves
 * once. shared is a secret as the keys are; whoever holds it wipes it soon.
 */
struct bs_kem {
	uint8_t pub[BS_KEY_LEN]; /* the recipient's */
	uint8_t eph[BS_KEY_LEN]; /* the sender's: public */
	uint8_t shared[BS_KEY_LEN];
	bool made;               /* false: there is no exchange here yet */
};

/* The sender's side: a fresh pair, whose secret half is gone when this returns. BS_ERR_AUTH. */
enum bs_err bs_kem_start(const uint8_t pub[BS_KEY_LEN], struct bs_kem *out) BS_MUST_USE;
/* The recipient's side: an exchange of the same pub and eph is left as it is, which costs nothing. BS_ERR_AUTH: it has none. */
enum bs_err bs_kem_accept(const uint8_t sec[BS_KEY_LEN], const uint8_t pub[BS_KEY_LEN], const uint8_t eph[BS_KEY_LEN],
    struct bs_kem *kem) BS_MUST_USE;
enum bs_err bs_kem_seal_by(const struct bs_kem *kem, const uint8_t salt[16], const char *label, const void *fields,
    size_t fields_len, const uint8_t key[BS_KEY_LEN], uint8_t sealed[BS_SEALED_KEY_LEN]) BS_MUST_USE;
enum bs_err bs_kem_open_by(const struct bs_kem *kem, const uint8_t salt[16], const char *label, const void *fields,
    size_t fields_len, const uint8_t sealed[BS_SEALED_KEY_LEN], uint8_t key[BS_KEY_LEN]) BS_MUST_USE;

/* Ed25519 (RFC 8032). */
void bs_sign_keypair(uint8_t pub[BS_SIGN_PUB_LEN], uint8_t sec[BS_SIGN_SEC_LEN]);
enum bs_err bs_sign(const uint8_t sec[BS_SIGN_SEC_LEN], const void *data, size_t len, uint8_t sig[BS_SIG_LEN]) BS_MUST_USE;
enum bs_err bs_sign_verify(const uint8_t pub[BS_SIGN_PUB_LEN], const void *data, size_t len,
    const uint8_t sig[BS_SIG_LEN]) BS_MUST_USE;

#endif
