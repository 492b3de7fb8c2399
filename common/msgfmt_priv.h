/*
 * msgfmt_priv: what the writing and the reading half of msgfmt share: chunk frames, keys, trailer, line counting.
 * Nobody outside msgfmt_*.c includes it. docs/FORMAT.message.md says what each byte means. One thread an object.
 *
 *     err = bs_msg_keys_init(&keys, suite, prefix, hashed_len, data_key);
 *     err = bs_msg_chunk_seal(&keys, &head, index, plain, stored, tag);
 *     bs_msg_keys_clear(&keys);
 */
#ifndef BS_MSGFMT_PRIV_H
#define BS_MSGFMT_PRIV_H

#include "buf.h"
#include "msgfmt.h"

#define BS_MSG_KIND_HEADER 1
#define BS_MSG_KIND_BODY 2
#define BS_MSG_KIND_TRAILER 3

#define BS_MSG_FLAG_FINAL 1      /* the last body chunk */
#define BS_MSG_FLAG_LZO 2
#define BS_MSG_FLAG_ZSTD 4       /* from version 2 on */

#define BS_MSG_KEM_X25519_LEN BS_KEY_LEN
#define BS_MSG_KEM_LABEL "basalt message key v1"
#define BS_MSG_FIELDS_LEN 62     /* prefix bytes that the KEM binds: all before the KEM bytes */
#define BS_MSG_PREFIX_PLAIN_LEN 64
#define BS_MSG_HEAD_LEN 8        /* kind, flags, plain length, stored length */
#define BS_MSG_FRAME_LEN (BS_MSG_HEAD_LEN + BS_TAG_LEN)
#define BS_MSG_TRAILER_FIXED 56  /* the sizes and the two counts */
#define BS_MSG_INDEX_LEN 3       /* one chunk in the trailer */
#define BS_MSG_INDEX_LZO 0x800000u
#define BS_MSG_INDEX_ZSTD 0x400000u
#define BS_MSG_FOOTER_MAGIC "BSLe"
#define BS_MSG_DIGESTED_LEN (BS_MSG_FOOTER_LEN - BS_HASH_LEN) /* of the footer, what its own digest covers */

/* --- msgfmt_chunk.c --- */

struct bs_msg_head {
	uint8_t kind;
	uint8_t flags;
	uint32_t plain_len;
	uint32_t stored_len;
};

void bs_msg_head_write(const struct bs_msg_head *head, uint8_t out[BS_MSG_HEAD_LEN]);
/* True when the bytes at p say exactly this. */
bool bs_msg_head_is(const struct bs_msg_head *head, const uint8_t p[BS_MSG_HEAD_LEN]);

struct bs_msg_keys {
	uint8_t suite;
	uint8_t h[BS_HASH_LEN]; /* of the prefix up to the sealed data key */
	uint8_t commitment[BS_HASH_LEN];
	struct bs_gcm *chunk;   /* suite 1 */
	struct bs_gcm *trailer; /* suite 1 */
	struct bs_sha256 *hash; /* suite 0 */
};

/* data_key is unused in suite 0. After an error there is nothing to clear. */
enum bs_err bs_msg_keys_init(struct bs_msg_keys *keys, uint8_t suite, const uint8_t *prefix, size_t hashed_len,
    const uint8_t *data_key) BS_MUST_USE;
void bs_msg_keys_clear(struct bs_msg_keys *keys);

/* head->stored_len bytes of in become as many of out (may be in), and a tag. */
enum bs_err bs_msg_chunk_seal(struct bs_msg_keys *keys, const struct bs_msg_head *head, uint64_t index,
    const uint8_t *in, uint8_t *out, uint8_t tag[BS_TAG_LEN]) BS_MUST_USE;
/*
 * Checks the tag and says where the stored bytes lie in the clear: in out (suite 1, which needs head->stored_len bytes
 * there) or still in in (suite 0). BS_ERR_AUTH: out was wiped.
 */
enum bs_err bs_msg_chunk_open(struct bs_msg_keys *keys, const struct bs_msg_head *head, uint64_t index,
    const uint8_t *in, const uint8_t tag[BS_TAG_LEN], uint8_t *out, const uint8_t **stored) BS_MUST_USE;

/* --- msgfmt_trailer.c --- */

struct bs_msg_trailer {
	struct bs_msg_sizes sizes;
	uint32_t chunks;
	uint32_t header_chunks;
	const uint8_t *index; /* chunks times BS_MSG_INDEX_LEN bytes */
};

/* Chunks that so many plaintext bytes make; BS_ERR_LIMIT when they are more than BS_MSG_CHUNKS_MAX. */
enum bs_err bs_msg_count_chunks(const struct bs_msg_sizes *sizes, uint32_t *chunks, uint32_t *header_chunks) BS_MUST_USE;
/* What chunk index must say of itself, but for its stored length and how it is compressed. */
struct bs_msg_head bs_msg_expected_head(const struct bs_msg_trailer *trailer, uint32_t index);
/* Writes BS_MSG_TRAILER_FIXED plus the index's bytes. */
void bs_msg_trailer_write(const struct bs_msg_trailer *trailer, uint8_t *out);
/* index leads into data. BS_ERR_FORMAT for whatever the encoder could not have written. */
enum bs_err bs_msg_trailer_parse(const uint8_t *data, size_t len, struct bs_msg_trailer *out) BS_MUST_USE;

/* --- msgfmt_scan.c --- */

/* Lines of a message that comes in pieces; begins as all zero. */
struct bs_msg_scan {
	uint64_t len;
	uint64_t lines;    /* LFs */
	uint64_t bare_lfs; /* those without a CR before them */
	uint64_t line_len; /* of the line at hand, so far */
	bool cr;           /* the byte before was a CR of this line */
	bool empty_line;   /* the last line that ended was empty */
};

/* Counts all of data, or up to the end of the first empty line, and says how many bytes that was. */
size_t bs_msg_scan(struct bs_msg_scan *scan, const uint8_t *data, size_t len, bool stop_at_empty_line);

#endif
