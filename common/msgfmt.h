/*
 * msgfmt: the sealed message format, version 2, and 1 to read (docs/FORMAT.message.md): bytes in, bytes out, no files, no users.
 *
 *   prefix | header chunks | body chunks | trailer | footer
 *
 * The encoder is push: plaintext goes in by pieces of any size, sealed bytes come out of a callback. The reader is
 * random access: it says which bytes of the file it wants, the caller fetches them, and plaintext of a chunk comes
 * out only after that chunk has authenticated. The RFC 5322 header (up to and with its empty line) has chunks of its own.
 * One object belongs to one thread at a time. Errors: BS_ERR_FORMAT, BS_ERR_VERSION, BS_ERR_LIMIT, BS_ERR_SHORT,
 * BS_ERR_AUTH (tag, commitment or digest), BS_ERR_ACCOUNT.
 *
 *     err = bs_msg_encoder_new(&opts, emit, file, &enc);
 *     err = bs_msg_encoder_write(enc, data, data_len);      // as often as needed
 *     err = bs_msg_encoder_finish(enc);
 *
 *     err = bs_msg_prefix_parse(head, head_len, &prefix);    // then get the data key from keyd
 *     err = bs_msg_reader_new(&prefix, data_key, &rd);       // checks the commitment
 *     err = bs_msg_reader_footer(rd, file_size, footer, &trailer_off, &trailer_len);
 *     err = bs_msg_reader_trailer(rd, trailer, trailer_len); // sizes and chunk index are known now
 *     err = bs_msg_reader_locate(rd, plain_off, &span);      // which bytes of the file to fetch
 *     err = bs_msg_reader_chunk(rd, &span, chunk, span.file_len, plain);
 */
#ifndef BS_MSGFMT_H
#define BS_MSGFMT_H

#include "compress.h"
#include "crypto.h"

#define BS_MSG_MAGIC "\x89" "BSL\r\n\x1a\n"
#define BS_MSG_MAGIC_LEN 8
#define BS_MSG_VERSION 2 /* what is written; 1 is read as well */
#define BS_MSG_VERSION_LZO 1 /* knew no Zstandard */
#define BS_MSG_SUITE_PLAIN 0  /* compression and digests, no encryption */
#define BS_MSG_SUITE_X25519 1 /* X25519, HKDF-SHA256, AES-256-GCM */

#define BS_ID_LEN 16                            /* account, message and key ids */
#define BS_MSG_CHUNK_LEN 65536                  /* plaintext of a full chunk */
#define BS_MSG_KEM_MAX 2048                     /* room for ML-KEM-1024 beside X25519 */
#define BS_MSG_PREFIX_MAX (64 + BS_MSG_KEM_MAX + 2 + BS_SEALED_KEY_LEN + BS_HASH_LEN)
#define BS_MSG_CHUNKS_MAX (1u << 18)            /* 16 GiB of plaintext */
#define BS_MSG_STORED_MAX (8 + BS_MSG_CHUNK_LEN + BS_TAG_LEN) /* one chunk as it lies in the file */
#define BS_MSG_FOOTER_LEN 48                    /* the fixed end of the file */

/* What the start of a sealed file says without a key. Pointers lead into the caller's bytes. */
struct bs_msg_prefix {
	uint8_t version;
	uint8_t suite;
	uint16_t flags;
	uint8_t account_id[BS_ID_LEN];
	uint8_t message_id[BS_ID_LEN];
	uint8_t key_id[BS_ID_LEN]; /* all zero in suite 0 */
	const uint8_t *kem;
	size_t kem_len;
	const uint8_t *sealed_key;
	size_t sealed_key_len;
	const uint8_t *commitment; /* NULL in suite 0 */
	const uint8_t *bytes;      /* the whole prefix */
	size_t len;                /* of the whole prefix: where the first chunk begins */
	size_t hashed_len;         /* of what h covers: up to the sealed data key, inclusive */
};

/* True when the bytes begin like one of our files; needs BS_MSG_MAGIC_LEN bytes. */
bool bs_msg_is_sealed(const void *data, size_t len);
/* BS_ERR_SHORT: give more bytes (BS_MSG_PREFIX_MAX always suffice). BS_ERR_FORMAT also says "magic was mangled". */
enum bs_err bs_msg_prefix_parse(const void *data, size_t len, struct bs_msg_prefix *out) BS_MUST_USE;
/* The key id of a public key: the first 16 bytes of SHA-256("basalt key id v1" || suite || public key). */
void bs_msg_key_id(uint8_t suite, const uint8_t pub[BS_KEY_LEN], uint8_t out[BS_ID_LEN]);
/* What keyd's vault does: opens the sealed data key. BS_ERR_NOKEY if pub is not the key named, or the suite has none;
 * BS_ERR_AUTH. The caller has compared the account id (BS_ERR_ACCOUNT) before. kem, all zero at first, is the caller's and
 * secret: the next message that one exchange of keys sealed costs a tenth. */
enum bs_err bs_msg_unwrap(const struct bs_msg_prefix *prefix, const uint8_t sec[BS_KEY_LEN],
    const uint8_t pub[BS_KEY_LEN], struct bs_kem *kem, uint8_t data_key[BS_KEY_LEN]) BS_MUST_USE;

/* --- writing --- */

struct bs_msg_encoder;

struct bs_msg_encoder_opts {
	uint8_t suite;
	uint8_t account_id[BS_ID_LEN];
	uint8_t public_key[BS_KEY_LEN]; /* unused in suite 0 */
	const struct bs_kem *kem;       /* an exchange with public_key that serves several messages; NULL: one of its own */
	bool compress;
	struct bs_zstd *zstd;           /* the caller's, until the encoder is freed; NULL: one of its own */
};

/* Takes sealed bytes in order; an error it returns ends the encoder and comes back from the call at hand. */
typedef enum bs_err (*bs_msg_emit_fn)(void *ctx, const uint8_t *data, size_t len);

/* Nothing is emitted before the first write or finish. opts is copied, kem is not looked at afterwards. An encoder takes
 * 350 KB, of which a small message touches little, and three bytes a chunk; a zstd of its own 500 KB more. An all-zero or
 * otherwise weak public key: BS_ERR_AUTH. kem of another key: BS_ERR_ARG. */
enum bs_err bs_msg_encoder_new(const struct bs_msg_encoder_opts *opts, bs_msg_emit_fn emit, void *ctx,
    struct bs_msg_encoder **out) BS_MUST_USE;
enum bs_err bs_msg_encoder_write(struct bs_msg_encoder *enc, const void *data, size_t len) BS_MUST_USE;
/* Emits the last chunk, trailer and footer. After it only _free and the two below are legal. */
enum bs_err bs_msg_encoder_finish(struct bs_msg_encoder *enc) BS_MUST_USE;
/* The data key, for a process that must read back what it just wrote; suite 1 only. */
void bs_msg_encoder_data_key(const struct bs_msg_encoder *enc, uint8_t data_key[BS_KEY_LEN]);
void bs_msg_encoder_message_id(const struct bs_msg_encoder *enc, uint8_t id[BS_ID_LEN]);
void bs_msg_encoder_free(struct bs_msg_encoder *enc);

/* --- reading --- */

struct bs_msg_reader;

/* Sizes as an IMAP server needs them, authenticated with the trailer. */
struct bs_msg_sizes {
	uint64_t physical_len;  /* plaintext bytes as they came in */
	uint64_t virtual_len;   /* the same with every bare LF counted as CRLF */
	uint64_t header_len;    /* physical, with the empty line */
	uint64_t header_virtual_len;
	uint64_t lines;         /* LFs in the whole message */
	uint64_t header_lines;
};

/* Where one chunk lies. */
struct bs_msg_span {
	uint32_t index;
	uint64_t file_off;
	uint32_t file_len;   /* bytes to fetch, at most BS_MSG_STORED_MAX */
	uint64_t plain_off;  /* of its first plaintext byte */
	uint32_t plain_len;  /* at most BS_MSG_CHUNK_LEN */
};

/* Is it this file's key? Compares the commitment alone: BS_ERR_AUTH if not, BS_ERR_NOKEY in suite 0. */
enum bs_err bs_msg_key_fits(const struct bs_msg_prefix *prefix, const uint8_t data_key[BS_KEY_LEN]) BS_MUST_USE;

/* Checks the commitment first (BS_ERR_AUTH). data_key is NULL in suite 0 (BS_ERR_NOKEY if it is elsewhere). Neither it
 * nor the prefix's bytes are needed afterwards. */
enum bs_err bs_msg_reader_new(const struct bs_msg_prefix *prefix, const uint8_t *data_key,
    struct bs_msg_reader **out) BS_MUST_USE;
/* zstd is the caller's, until the reader is freed; without it the reader makes its own when it needs one. */
void bs_msg_reader_use(struct bs_msg_reader *rd, struct bs_zstd *zstd);
void bs_msg_reader_free(struct bs_msg_reader *rd);
/* footer: the last BS_MSG_FOOTER_LEN bytes of a file of file_size bytes. Says where the trailer lies. */
enum bs_err bs_msg_reader_footer(struct bs_msg_reader *rd, uint64_t file_size, const uint8_t footer[BS_MSG_FOOTER_LEN],
    uint64_t *trailer_off, uint32_t *trailer_len) BS_MUST_USE;
/* The trailer_len bytes at trailer_off. From here on sizes, locate and chunk may be called; before, there are no chunks. */
enum bs_err bs_msg_reader_trailer(struct bs_msg_reader *rd, const uint8_t *data, size_t len) BS_MUST_USE;
const struct bs_msg_sizes *bs_msg_reader_sizes(const struct bs_msg_reader *rd);
uint32_t bs_msg_reader_chunk_count(const struct bs_msg_reader *rd);
/* The first of them, which hold the header and nothing else; 0 if there is none. */
uint32_t bs_msg_reader_header_chunks(const struct bs_msg_reader *rd);
/* The chunk that holds plaintext byte plain_off. BS_ERR_LIMIT at or past the end. */
enum bs_err bs_msg_reader_locate(const struct bs_msg_reader *rd, uint64_t plain_off, struct bs_msg_span *out) BS_MUST_USE;
/* The same by number, 0 .. chunk_count - 1; the last chunk exists even when it is empty, and must be checked too. */
enum bs_err bs_msg_reader_span(const struct bs_msg_reader *rd, uint32_t index, struct bs_msg_span *out) BS_MUST_USE;
/* Authenticates and decompresses span's file_len bytes into out (span->plain_len bytes). On an error out is wiped. */
enum bs_err bs_msg_reader_chunk(struct bs_msg_reader *rd, const struct bs_msg_span *span, const uint8_t *data,
    size_t len, uint8_t *out) BS_MUST_USE;

/* --- scrubbing without a key --- */

/* The digest that the footer carries: SHA-256 of all bytes before it. BS_ERR_FORMAT when that is no footer. */
enum bs_err bs_msg_footer_parse(const uint8_t footer[BS_MSG_FOOTER_LEN], uint64_t file_size, uint64_t *trailer_off,
    uint32_t *trailer_len, uint8_t digest[BS_HASH_LEN]) BS_MUST_USE;

#endif
