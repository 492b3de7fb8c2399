/*
 * secretcode: secrets that Basalt makes up itself, as text that a person can write down and type back (docs/FORMAT.keys.md).
 *
 *   RB2C7-9QXKF-...          eight groups of five characters: four that carry, one that checks
 *
 * The first character says what it is (A app password, R recovery code), the next three which slot, 28 more are 140
 * random bits. The alphabet has no I, L, O and U; small letters, blanks and dashes anywhere, and O for 0, I and L for 1
 * are forgiven. Each group's check character finds one wrong character, two that changed places, and a group that
 * stands at another group's place: so the group can be named. An escrow key is a third form, for files: "BASALT-ESCROW-"
 * and 64 hex digits. Pure functions, any thread; what holds a secret is the caller's to wipe.
 *
 *     bs_code_make(BS_CODE_RECOVERY, slot.id, text, &code);           // KDF(code.secret) opens the slot
 *     err = bs_code_read(text, strlen(text), &code, &group);          // BS_ERR_ARG: group 3 is mistyped
 */
#ifndef BS_SECRETCODE_H
#define BS_SECRETCODE_H

#include "crypto.h"

#define BS_CODE_GROUPS 8
#define BS_CODE_GROUP_LEN 5
#define BS_CODE_CHARS (BS_CODE_GROUPS * BS_CODE_GROUP_LEN)
#define BS_CODE_TEXT_SIZE (BS_CODE_CHARS + BS_CODE_GROUPS) /* dashes and the NUL */
#define BS_CODE_ESCROW_PREFIX "BASALT-ESCROW-"
#define BS_CODE_ESCROW_SIZE (sizeof(BS_CODE_ESCROW_PREFIX) + 2 * BS_KEY_LEN)

/* The numbers of enum bs_slot_kind. */
enum bs_code_kind { BS_CODE_APP = 2, BS_CODE_RECOVERY = 3, BS_CODE_ESCROW = 5 };

struct bs_code {
	uint8_t kind;                  /* enum bs_code_kind */
	uint16_t hint;                 /* of the slot's id: bs_code_hint(); not of an escrow key */
	uint8_t secret[BS_CODE_CHARS]; /* what the KDF gets: the characters, in upper case, without dashes; or the key itself */
	size_t secret_len;
};

/* A new app password or recovery code for the slot of this id. text holds BS_CODE_TEXT_SIZE. */
void bs_code_make(enum bs_code_kind kind, const uint8_t slot_id[16], char *text, struct bs_code *out);
/*
 * What text is. BS_ERR_FORMAT: no code at all, a password perhaps. BS_ERR_ARG: by its looks a code in which *group (1 to 8)
 * is mistyped: at least half of the groups are right, or a group that was typed apart is too short or too long.
 */
enum bs_err bs_code_read(const char *text, size_t len, struct bs_code *out, unsigned *group) BS_MUST_USE;
/* 15 bits: which slots a code may belong to. */
uint16_t bs_code_hint(const uint8_t slot_id[16]);
/* An escrow key's text; it holds BS_CODE_ESCROW_SIZE. */
void bs_code_escrow_text(const uint8_t key[BS_KEY_LEN], char *text);

#endif
