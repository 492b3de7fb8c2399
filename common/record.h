/*
 * record: the signed public record of an account: what a delivery needs to know, and may believe.
 *
 * Bytes: docs/FORMAT.keys.md. Signed (Ed25519) by the site key, which only keyd's vault holds; whoever reads a record
 * verifies it with the public half from its own configuration, checks that the name is the one that was asked for, and
 * that the generation is not older than one seen before. Pure functions, any thread.
 *
 *     err = bs_record_open(bytes, bytes_len, site_pub, "alice@example.org", &rec);   // BS_ERR_AUTH, BS_ERR_ACCOUNT
 */
#ifndef BS_RECORD_H
#define BS_RECORD_H

#include "msgfmt.h"

#define BS_ACCOUNT_NAME_MAX 254 /* RFC 5321 4.5.3.1: a path without its brackets */
#define BS_RECORD_MAX 512
#define BS_RECORD_FLAG_SEALED 0x01u   /* mail must be encrypted: suite 1 */
#define BS_RECORD_FLAG_NOCOMPRESS 0x02u
#define BS_RECORD_FLAGS_KNOWN (BS_RECORD_FLAG_SEALED | BS_RECORD_FLAG_NOCOMPRESS)

struct bs_record {
	char name[BS_ACCOUNT_NAME_MAX + 1]; /* lower-case address: no space, control or upper-case ASCII character */
	uint8_t account_id[BS_ID_LEN];
	uint8_t key_id[BS_ID_LEN];
	uint8_t public_key[BS_KEY_LEN];
	uint64_t generation;                /* 1, and one more with every change of the keyset */
	uint64_t created;                   /* when the account was enrolled: seconds since 1970 */
	uint32_t flags;                     /* BS_RECORD_FLAG_* */
};

/* Writes and signs. out holds BS_RECORD_MAX. BS_ERR_ARG: name, generation, flags or key id are none to be signed. */
enum bs_err bs_record_sign(const struct bs_record *rec, const uint8_t site_sec[BS_SIGN_SEC_LEN], uint8_t *out,
    size_t *out_len) BS_MUST_USE;
/*
 * Parses, verifies, and checks the name (NULL: any) and that key_id belongs to public_key. BS_ERR_FORMAT, BS_ERR_VERSION
 * (also: a flag that this program does not know), BS_ERR_AUTH (signature or key id), BS_ERR_ACCOUNT (another name).
 */
enum bs_err bs_record_open(const void *data, size_t len, const uint8_t site_pub[BS_SIGN_PUB_LEN], const char *name,
    struct bs_record *out) BS_MUST_USE;
/* Parses and verifies nothing: to show a record, or to know its generation before deciding. */
enum bs_err bs_record_parse(const void *data, size_t len, struct bs_record *out) BS_MUST_USE;

#endif
