/*
 * cacheblob: what Basalt keeps of a mail in Dovecot's index cache, sealed (docs/FORMAT.cache.md): bytes in, bytes out.
 *
 * A blob holds items in two parts, each sealed by itself: what a listing shows, and the header with the MIME parts. There are
 * two kinds. BS_CACHE_MESSAGE is made where a mail is stored, by a process that has no key but the one it just sealed the
 * mail with: its key derives from the mail's data key, and it carries the mail's prefix, from which keyd gives the data key.
 * BS_CACHE_ACCOUNT is made in a session, under the account's cache subkey. Both are bound to the account, mailbox,
 * UIDVALIDITY and UID: anywhere else they do not open.
 * Items are borrowed bytes. Pure functions, any thread. Errors: BS_ERR_FORMAT, BS_ERR_VERSION, BS_ERR_LIMIT, BS_ERR_AUTH.
 *
 *     err = bs_cache_seal(BS_CACHE_ACCOUNT, key, &place, NULL, &items, out, size, &len);
 *     err = bs_cache_parse(data, len, &blob);
 *     err = bs_cache_open(&blob, BS_CACHE_LIST, key, &place, plain, &items);   // plain: blob.part[BS_CACHE_LIST].len bytes
 */
#ifndef BS_CACHEBLOB_H
#define BS_CACHEBLOB_H

#include "msgfmt.h"

#define BS_CACHE_VERSION 1
#define BS_CACHE_EPOCH 1          /* of the cache subkey: another number, another key, and no older blob opens */
#define BS_CACHE_BLOB_MAX 61440   /* Dovecot keeps no more than 64 KiB of a mail in its cache */
#define BS_CACHE_HEADER_MAX 262144 /* plaintext of a header that is kept */

enum bs_cache_kind { BS_CACHE_MESSAGE = 1, BS_CACHE_ACCOUNT = 2 };
enum bs_cache_part { BS_CACHE_LIST = 0, BS_CACHE_HEADER = 1, BS_CACHE_PARTS };

/* Numbers of the format. Those from 16 on belong to BS_CACHE_HEADER. Texts hold no NUL. */
enum bs_cache_item {
	BS_CACHE_NUMBERS = 1,    /* struct bs_cache_numbers */
	BS_CACHE_ENVELOPE = 2,   /* IMAP ENVELOPE, text without its parentheses */
	BS_CACHE_STRUCTURE = 3,  /* IMAP BODYSTRUCTURE, likewise */
	BS_CACHE_SNIPPET = 4,    /* Dovecot's body.snippet, text */
	BS_CACHE_GUID = 5,       /* the mail's GUID, text */
	BS_CACHE_MESSAGE_ID = 6, /* BS_ID_LEN: of the mail's file */
	BS_CACHE_DIGEST = 7,     /* BS_HASH_LEN: the last bytes of the mail's file */
	BS_CACHE_DATA_KEY = 8,   /* BS_KEY_LEN: the mail's */
	BS_CACHE_BLOB_KEY = 9,   /* BS_KEY_LEN: of the BS_CACHE_MESSAGE blob beside this one */
	BS_CACHE_HEADER_TEXT = 16, /* the RFC 5322 header with its empty line; bs_cache_header_*() */
	BS_CACHE_MIME_PARTS = 17,  /* Dovecot's mime.parts */
	BS_CACHE_ITEMS
};

struct bs_cache_bytes {
	const uint8_t *p; /* NULL: not there */
	size_t len;
};

struct bs_cache_items {
	struct bs_cache_bytes item[BS_CACHE_ITEMS];
};

/* Which mail a blob is for. epoch counts for BS_CACHE_ACCOUNT alone. */
struct bs_cache_place {
	uint8_t account_id[BS_ID_LEN];
	uint8_t mailbox_guid[16];
	uint32_t uid_validity;
	uint32_t uid;
	uint64_t epoch;
};

#define BS_CACHE_UNKNOWN UINT64_MAX
#define BS_CACHE_NUMBERS_LEN 41
#define BS_CACHE_NULS_UNKNOWN 0
#define BS_CACHE_NULS_NONE 1
#define BS_CACHE_NULS_SOME 2

struct bs_cache_numbers {
	uint64_t physical_len, virtual_len; /* BS_CACHE_UNKNOWN, these four too */
	uint64_t received, saved;           /* seconds since 1970 */
	uint32_t sent;                      /* as Dovecot's date.sent; UINT32_MAX: unknown */
	int32_t sent_zone;
	uint8_t nuls;
};

/* A blob's outside. Pointers lead into the caller's bytes. */
struct bs_cache_blob {
	enum bs_cache_kind kind;
	const uint8_t *nonce; /* 23 bytes */
	struct bs_cache_bytes prefix; /* BS_CACHE_MESSAGE */
	struct bs_cache_bytes part[BS_CACHE_PARTS]; /* sealed, with the tag; p is NULL when there is no such part */
};

/* How large a blob of these items gets. */
size_t bs_cache_sealed_len(const struct bs_msg_prefix *prefix, const struct bs_cache_items *items);
/* prefix: for BS_CACHE_MESSAGE, else NULL. BS_ERR_LIMIT: above size, or an item that is too long for the format. */
enum bs_err bs_cache_seal(enum bs_cache_kind kind, const uint8_t key[BS_KEY_LEN], const struct bs_cache_place *place,
    const struct bs_msg_prefix *prefix, const struct bs_cache_items *items, uint8_t *out, size_t size, size_t *out_len)
    BS_MUST_USE;
enum bs_err bs_cache_parse(const void *data, size_t len, struct bs_cache_blob *out) BS_MUST_USE;
/* plain holds part[part].len bytes; items that stand in it are set, others left alone. On an error plain was wiped.
 * BS_ERR_NOENT: no such part. */
enum bs_err bs_cache_open(const struct bs_cache_blob *blob, enum bs_cache_part part, const uint8_t key[BS_KEY_LEN],
    const struct bs_cache_place *place, uint8_t *plain, struct bs_cache_items *items) BS_MUST_USE;
/* The items of an opened part. BS_ERR_FORMAT. For fuzzing; bs_cache_open() calls it. */
enum bs_err bs_cache_items_parse(enum bs_cache_part part, const uint8_t *plain, size_t len, struct bs_cache_items *items)
    BS_MUST_USE;

/* The key of a BS_CACHE_MESSAGE blob: HKDF of the mail's data key. */
enum bs_err bs_cache_message_key(const struct bs_msg_prefix *prefix, const uint8_t data_key[BS_KEY_LEN],
    uint8_t key[BS_KEY_LEN]) BS_MUST_USE;

void bs_cache_numbers_write(const struct bs_cache_numbers *numbers, uint8_t out[BS_CACHE_NUMBERS_LEN]);
enum bs_err bs_cache_numbers_read(const struct bs_cache_bytes *item, struct bs_cache_numbers *out) BS_MUST_USE;

/* BS_CACHE_HEADER_TEXT: the text, compressed where that helps. work: BS_COMPRESS_WORK_LEN bytes; out: BS_CACHE_HEADER_BOUND(len).
 * Returns the item's length; 0 when the header is too long. */
#define BS_CACHE_HEADER_BOUND(len) ((len) + (len) / 16 + 64 + 3 + 4)
size_t bs_cache_header_pack(void *work, const uint8_t *text, size_t len, uint8_t *out, size_t size);
/* How long the text is. BS_ERR_FORMAT. */
enum bs_err bs_cache_header_len(const struct bs_cache_bytes *item, size_t *len) BS_MUST_USE;
enum bs_err bs_cache_header_unpack(const struct bs_cache_bytes *item, uint8_t *text, size_t len) BS_MUST_USE;

#endif
