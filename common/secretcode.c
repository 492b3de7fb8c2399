#include "secretcode.h"

#include <string.h>

#include "hex.h"

#define CARRY_LEN (BS_CODE_GROUP_LEN - 1)
#define HINT_CHARS 3

/* Douglas Crockford's base 32. */
static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* The number of a character as people type it, or -1. */
static int
number_of(char c)
{
	const char *at;

	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');
	if (c == 'O')
		c = '0';
	if (c == 'I' || c == 'L')
		c = '1';
	at = c == '\0' ? NULL : strchr(alphabet, c);
	return at == NULL ? -1 : (int)(at - alphabet);
}

static bool
is_separator(char c)
{
	return c == '-' || c == ' ' || c == '\t';
}

/* a times x in GF(32), modulo x^5 + x^2 + 1. */
static unsigned
times_x(unsigned a)
{
	return (a << 1 ^ ((a & 16) != 0 ? 0x25u : 0)) & 31;
}

/*
 * The check number: the sum of x^4 d0 + x^3 d1 + x^2 d2 + x d3 and the group's number from 1. All weights, the check's
 * own 1 too, differ: a wrong character, and a swap within the group, change the sum.
 */
static unsigned
check_of(const uint8_t *numbers, unsigned group)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < CARRY_LEN; i++)
		sum = times_x(sum ^ numbers[i]);
	return sum ^ (group + 1);
}

uint16_t
bs_code_hint(const uint8_t slot_id[16])
{
	return (uint16_t)((slot_id[0] << 8 | slot_id[1]) >> 1);
}

void
bs_code_make(enum bs_code_kind kind, const uint8_t slot_id[16], char *text, struct bs_code *out)
{
	uint8_t numbers[BS_CODE_CHARS];
	uint16_t hint = bs_code_hint(slot_id);

	bs_random(numbers, sizeof(numbers));
	for (unsigned i = 0; i < BS_CODE_CHARS; i++)
		numbers[i] &= 31;
	numbers[0] = (uint8_t)number_of(kind == BS_CODE_APP ? 'A' : 'R');
	for (unsigned i = 0; i < HINT_CHARS; i++)
		numbers[1 + i] = (hint >> 5 * (HINT_CHARS - 1 - i)) & 31;
	for (unsigned i = 0; i < BS_CODE_GROUPS; i++)
		numbers[i * BS_CODE_GROUP_LEN + CARRY_LEN] = (uint8_t)check_of(numbers + i * BS_CODE_GROUP_LEN, i);
	for (unsigned i = 0; i < BS_CODE_CHARS; i++) {
		out->secret[i] = (uint8_t)alphabet[numbers[i]];
		*text++ = alphabet[numbers[i]];
		if (i % BS_CODE_GROUP_LEN == CARRY_LEN)
			*text++ = '-';
	}
	text[-1] = '\0';
	out->kind = (uint8_t)kind;
	out->hint = hint;
	out->secret_len = BS_CODE_CHARS;
	bs_wipe(numbers, sizeof(numbers));
}

/* What was typed, without separators. */
struct typed {
	int8_t numbers[BS_CODE_CHARS]; /* -1: not of the alphabet */
	size_t count;
	unsigned runs;                 /* stretches between separators */
	unsigned odd_run;              /* the first that is not five long, from 1; 0: none */
};

/* False: too long to be a code. */
static bool
collect(const char *text, size_t len, struct typed *t)
{
	size_t run = 0;

	memset(t, 0, sizeof(*t));
	for (size_t i = 0; i <= len; i++) {
		if (i < len && !is_separator(text[i])) {
			if (t->count < BS_CODE_CHARS)
				t->numbers[t->count] = (int8_t)number_of(text[i]);
			if (++t->count > BS_CODE_CHARS + CARRY_LEN)
				return false;
			run++;
			continue;
		}
		if (run > 0)
			t->runs++;
		if (run > 0 && run != BS_CODE_GROUP_LEN && t->odd_run == 0)
			t->odd_run = t->runs;
		run = 0;
	}
	return true;
}

/* How many groups are right; *first is the first wrong one, from 1, or 0. */
static unsigned
count_right(const struct typed *t, unsigned *first)
{
	unsigned right = 0;

	*first = 0;
	for (unsigned g = 0; g < BS_CODE_GROUPS; g++) {
		const int8_t *at = t->numbers + g * BS_CODE_GROUP_LEN;
		uint8_t numbers[BS_CODE_GROUP_LEN];
		bool fits = true;

		for (unsigned i = 0; i < BS_CODE_GROUP_LEN; i++) {
			fits = fits && at[i] >= 0;
			numbers[i] = (uint8_t)at[i];
		}
		fits = fits && check_of(numbers, g) == numbers[CARRY_LEN];
		right += fits;
		if (!fits && *first == 0)
			*first = g + 1;
	}
	return right;
}

static enum bs_err
read_typed(const struct typed *t, struct bs_code *out, unsigned *group)
{
	unsigned first, right;
	char kind;

	if (t->count != BS_CODE_CHARS) {
		/* A character too few or too many can be placed where the groups were kept apart. */
		if (t->runs != BS_CODE_GROUPS || t->odd_run == 0)
			return BS_ERR_FORMAT;
		*group = t->odd_run;
		return BS_ERR_ARG;
	}
	right = count_right(t, &first);
	if (right < BS_CODE_GROUPS / 2)
		return BS_ERR_FORMAT;
	if (first != 0) {
		*group = first;
		return BS_ERR_ARG;
	}
	kind = alphabet[t->numbers[0]];
	if (kind != 'A' && kind != 'R')
		return BS_ERR_FORMAT;
	out->kind = kind == 'A' ? BS_CODE_APP : BS_CODE_RECOVERY;
	out->hint = (uint16_t)(t->numbers[1] << 10 | t->numbers[2] << 5 | t->numbers[3]);
	for (unsigned i = 0; i < BS_CODE_CHARS; i++)
		out->secret[i] = (uint8_t)alphabet[t->numbers[i]];
	out->secret_len = BS_CODE_CHARS;
	return BS_OK;
}

static enum bs_err
read_escrow(const char *text, struct bs_code *out)
{
	uint8_t key[BS_KEY_LEN];
	bool ok = bs_hex_decode(text + strlen(BS_CODE_ESCROW_PREFIX), key, sizeof(key));

	if (ok) {
		out->kind = BS_CODE_ESCROW;
		out->hint = 0;
		memcpy(out->secret, key, sizeof(key));
		out->secret_len = sizeof(key);
	}
	bs_wipe(key, sizeof(key));
	return ok ? BS_OK : BS_ERR_FORMAT;
}

enum bs_err
bs_code_read(const char *text, size_t len, struct bs_code *out, unsigned *group)
{
	struct typed t;
	enum bs_err err = BS_ERR_FORMAT;

	if (len == BS_CODE_ESCROW_SIZE - 1 && strncmp(text, BS_CODE_ESCROW_PREFIX, strlen(BS_CODE_ESCROW_PREFIX)) == 0)
		return read_escrow(text, out);
	if (collect(text, len, &t))
		err = read_typed(&t, out, group);
	bs_wipe(&t, sizeof(t));
	return err;
}

void
bs_code_escrow_text(const uint8_t key[BS_KEY_LEN], char *text)
{
	size_t len = strlen(BS_CODE_ESCROW_PREFIX);

	memcpy(text, BS_CODE_ESCROW_PREFIX, len);
	bs_hex_encode(key, BS_KEY_LEN, text + len);
	text[len + 2 * BS_KEY_LEN] = '\0';
}
