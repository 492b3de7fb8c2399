/*
 * sitekey: the Ed25519 pair that signs public records: the secret in a root-only file, the public half beside it.
 *
 * FILE holds 128 hex digits (libsodium's form: seed, public key) and a newline, mode 0600; FILE.pub 64 hex digits, 0644:
 * the Dovecot plugin's basalt_site_key. The secret is read by the vault alone, after it was forked.
 * Errors: BS_ERR_EXISTS, BS_ERR_CONF, BS_ERR_IO, with a sentence in errbuf.
 *
 *     err = sitekey_make("/etc/basalt/site.key", errbuf, sizeof(errbuf));
 *     err = sitekey_load("/etc/basalt/site.key", sec, errbuf, sizeof(errbuf));
 */
#ifndef KEYD_SITEKEY_H
#define KEYD_SITEKEY_H

#include "crypto.h"

/* Never overwrites. */
enum bs_err sitekey_make(const char *path, char *errbuf, size_t errbuf_size) BS_MUST_USE;
/* Refuses a file that anybody but its owner may read, or whose owner is neither root nor the caller. */
enum bs_err sitekey_load(const char *path, uint8_t sec[BS_SIGN_SEC_LEN], char *errbuf, size_t errbuf_size) BS_MUST_USE;

#endif
