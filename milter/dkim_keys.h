/*
 * dkim_keys: public keys that libopendkim decodes, remembered.
 *
 * libopendkim decodes the key of every signature anew, and OpenSSL 3.0 looks through all decoders of all its providers each
 * time: 0.11 ms, six times what the signature takes (OpenSSL 3.2 cures it). A few hundred domains send most mail. The library has
 * no hook for it, so this program has a d2i_PUBKEY_bio(3) of its own, which the dynamic linker prefers to libcrypto's: the same
 * bytes give the same EVP_PKEY again, with a reference more. Bytes not seen lately are decoded by OpenSSL as ever, and
 * what is no key is not remembered. A key that a domain withdraws is not asked for any more: it is found by its bytes alone.
 *
 * Any thread. The memory is the process's, since the function that it serves knows nothing but its bytes.
 */
#ifndef MILTER_DKIM_KEYS_H
#define MILTER_DKIM_KEYS_H

#include <stdint.h>

#define DKIM_KEYS_MAX 256        /* keys that are remembered */
#define DKIM_KEY_BYTES_MAX 1100  /* of one in DER: RSA of 8192 bits; larger ones are not remembered */

/* How often a key came from memory. */
uint64_t dkim_keys_remembered(void);
/* Forgets all. */
void dkim_keys_clear(void);

#endif
