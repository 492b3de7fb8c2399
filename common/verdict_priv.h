/*
 * verdict_priv: what the writer and the reader of verdict headers share; nobody else includes it. docs/FORMAT.verdict.md.
 */
#ifndef BS_VERDICT_PRIV_H
#define BS_VERDICT_PRIV_H

#include "verdict_header.h"

#define VERDICT_VERSION 1
#define VERDICT_ID_LEN 16
#define VERDICT_HASH_LEN 16
#define VERDICT_HEAD_LEN (1 + BS_VERDICT_KEY_ID_LEN + BS_XNONCE_LEN) /* version, key id, nonce */
#define VERDICT_FIXED_LEN (VERDICT_ID_LEN + 8 + 2 + 2 + 2)           /* plaintext without strings, outcomes and entries */
#define VERDICT_OUTCOME_LEN (1 + 1 + 6 * 2)
#define VERDICT_ENTRY_LEN (VERDICT_HASH_LEN + 2)

/* Folds: so many characters a line, each line of so many bytes. */
#define VERDICT_LINE_CHARS 76
#define VERDICT_LINE_BYTES 57
/* As many whole lines as the field may have: its name and colon, a blank, then CR, LF and a tab after each line. */
#define VERDICT_LINES_MAX ((BS_VERDICT_FIELD_MAX - sizeof(BS_VERDICT_FIELD) - 1) / (VERDICT_LINE_CHARS + 3))
#define VERDICT_SEALED_MAX (VERDICT_LINES_MAX * VERDICT_LINE_BYTES)
#define VERDICT_PLAIN_MAX (VERDICT_SEALED_MAX - VERDICT_HEAD_LEN - BS_TAG_LEN)
#define VERDICT_PLAIN_MIN 512 /* the first size class; each is twice the one before, the last is VERDICT_PLAIN_MAX */

enum { VERDICT_FLAG_SUBJECT = 1, VERDICT_FLAG_DETAIL = 2, VERDICT_FLAGS = 3 };

/* The texts of an outcome, in the order of the format. */
enum { VERDICT_FOLDER, VERDICT_LABEL, VERDICT_NOTE, VERDICT_CODE, VERDICT_STATUS, VERDICT_TEXT, VERDICT_TEXTS };

struct verdict_text {
	char *at;
	size_t size; /* with its NUL */
};

void verdict_texts(struct bs_verdict_part *part, struct verdict_text out[VERDICT_TEXTS]);
bool verdict_part_ok(const struct bs_verdict_part *part);
/* The two keys of a message, from the file's key. */
enum bs_err verdict_seal_key(const struct bs_verdict_key *key, uint8_t out[BS_KEY_LEN]) BS_MUST_USE;
enum bs_err verdict_hash_key(const struct bs_verdict_key *key, const uint8_t id[VERDICT_ID_LEN], uint8_t out[BS_KEY_LEN]) BS_MUST_USE;
/* BS_ERR_ARG: not an address that Basalt takes. */
enum bs_err verdict_hash(const uint8_t hash_key[BS_KEY_LEN], const char *address, uint8_t out[VERDICT_HASH_LEN]) BS_MUST_USE;
/* The AAD: field name, version, key id. Returns its length; out holds VERDICT_AAD_LEN. */
#define VERDICT_AAD_LEN (sizeof(BS_VERDICT_FIELD) - 1 + 1 + BS_VERDICT_KEY_ID_LEN)
void verdict_aad(const uint8_t head[VERDICT_HEAD_LEN], uint8_t out[VERDICT_AAD_LEN]);

#endif
