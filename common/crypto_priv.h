/*
 * crypto_priv: what the crypto_*.c files ask of each other; nobody else includes it.
 * Threads and errors as in crypto.h.
 *
 *     err = bs_crypto_init_openssl();
 */
#ifndef BS_CRYPTO_PRIV_H
#define BS_CRYPTO_PRIV_H

#include "crypto.h"

/* Fetches OpenSSL's algorithms, once in a process. BS_ERR_CRYPTO. */
enum bs_err bs_crypto_init_openssl(void) BS_MUST_USE;
/* Starts libsodium, once in a process. BS_ERR_CRYPTO. */
enum bs_err bs_crypto_init_sodium(void) BS_MUST_USE;

#endif
