/* secretcode: codes that people type: what is forgiven, what is caught and named, and the other implementation's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/secretcode.h"
#include "tests/vectors/keys.h"

#define ROUNDS 200

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* The group that is mistyped; 0: none is; 99: it is no code. */
static unsigned
wrong_group(const char *text, struct bs_code *code)
{
	unsigned group = 77;
	enum bs_err err = bs_code_read(text, strlen(text), code, &group);

	if (err == BS_OK)
		return 0;
	assert_true(err == BS_ERR_ARG || err == BS_ERR_FORMAT);
	return err == BS_ERR_ARG ? group : 99;
}

static void
make(char text[BS_CODE_TEXT_SIZE], struct bs_code *code)
{
	uint8_t id[16];

	bs_random(id, sizeof(id));
	bs_code_make(BS_CODE_RECOVERY, id, text, code);
	assert_int_equal(strlen(text), BS_CODE_TEXT_SIZE - 1);
	assert_int_equal(code->hint, bs_code_hint(id));
}

static void
test_vectors(void **state)
{
	struct bs_code code;

	(void)state;
	assert_int_equal(wrong_group(KV2_CODE, &code), 0);
	assert_int_equal(code.kind, BS_CODE_RECOVERY);
	assert_int_equal(code.hint, bs_code_hint(kv2_code_id));
	assert_int_equal(wrong_group(KV2_APP, &code), 0);
	assert_int_equal(code.kind, BS_CODE_APP);
}

static void
test_made_is_read(void **state)
{
	char text[BS_CODE_TEXT_SIZE], other[BS_CODE_TEXT_SIZE];
	struct bs_code made, code;

	(void)state;
	make(other, &made);
	for (int i = 0; i < ROUNDS; i++) {
		make(text, &made);
		assert_string_not_equal(text, other);
		assert_int_equal(wrong_group(text, &code), 0);
		assert_int_equal(code.kind, BS_CODE_RECOVERY);
		assert_int_equal(code.hint, made.hint);
		assert_int_equal(code.secret_len, BS_CODE_CHARS);
		assert_memory_equal(code.secret, made.secret, BS_CODE_CHARS);
	}
}

/* Blanks, dashes, small letters, and the letters that the alphabet has not. */
static void
test_forgiven(void **state)
{
	char text[BS_CODE_TEXT_SIZE], typed[200];
	struct bs_code made, code;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		size_t n = 0;

		make(text, &made);
		typed[n++] = ' ';
		for (const char *c = text; *c != '\0'; c++) {
			char as = *c == '0' ? 'o' : *c == '1' ? (round % 2 == 0 ? 'l' : 'I') : (char)(*c + (*c >= 'A' ? 'a' - 'A' : 0));

			if (round % 3 == 0 && *c == '-')
				continue;
			typed[n++] = as;
			if (round % 5 == 0 && n % 7 == 0)
				typed[n++] = round % 2 == 0 ? ' ' : '\t';
		}
		typed[n++] = '-';
		typed[n] = '\0';
		assert_int_equal(wrong_group(typed, &code), 0);
		assert_memory_equal(code.secret, made.secret, BS_CODE_CHARS);
	}
}

/* Every wrong character at every place, and everything that is none. */
static void
test_one_wrong_character(void **state)
{
	char text[BS_CODE_TEXT_SIZE];
	struct bs_code made, code;

	(void)state;
	make(text, &made);
	for (unsigned at = 0; at < sizeof(text) - 1; at++) {
		char right = text[at];

		for (const char *c = alphabet; *c != '\0' && right != '-'; c++) {
			text[at] = *c;
			assert_int_equal(wrong_group(text, &code), *c == right ? 0 : at / 6 + 1);
		}
		for (unsigned c = 1; c < 256 && right != '-'; c++) {
			text[at] = (char)c;
			if (strchr("-\t ", (int)c) == NULL && strchr("oOiIlL", (int)c) == NULL && (c > 127 || strchr(alphabet, (int)c & ~32) == NULL)
			    && strchr(alphabet, (int)c) == NULL)
				assert_int_equal(wrong_group(text, &code), at / 6 + 1);
		}
		text[at] = right;
	}
}

/* Any two characters of a group, neighbours of two groups, and whole groups. */
static void
test_swaps(void **state)
{
	char text[BS_CODE_TEXT_SIZE], swapped[BS_CODE_TEXT_SIZE];
	struct bs_code made, code;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		make(text, &made);
		for (unsigned a = 0; a < sizeof(text) - 1; a++) {
			for (unsigned b = a + 1; b < sizeof(text) - 1 && b < a + 7; b++) {
				if (text[a] == '-' || text[b] == '-' || text[a] == text[b])
					continue;
				memcpy(swapped, text, sizeof(text));
				swapped[a] = text[b];
				swapped[b] = text[a];
				assert_int_equal(wrong_group(swapped, &code), a / 6 + 1);
			}
		}
		for (unsigned g = 0; g + 1 < BS_CODE_GROUPS; g++) {
			memcpy(swapped, text, sizeof(text));
			memcpy(swapped + 6 * g, text + 6 * (g + 1), 5);
			memcpy(swapped + 6 * (g + 1), text + 6 * g, 5);
			if (strcmp(swapped, text) != 0)
				assert_int_equal(wrong_group(swapped, &code), g + 1);
		}
	}
}

/* A character left out or typed twice, where the groups were kept apart. */
static void
test_too_few_and_too_many(void **state)
{
	char text[BS_CODE_TEXT_SIZE], typed[BS_CODE_TEXT_SIZE + 1];
	struct bs_code made, code;

	(void)state;
	make(text, &made);
	for (unsigned at = 0; at < sizeof(text) - 1; at++) {
		if (text[at] == '-')
			continue;
		memcpy(typed, text, at);
		memcpy(typed + at, text + at + 1, sizeof(text) - at - 1);
		assert_int_equal(wrong_group(typed, &code), at / 6 + 1);
		memcpy(typed + at + 1, text + at, sizeof(text) - at);
		typed[at] = text[at];
		assert_int_equal(wrong_group(typed, &code), at / 6 + 1);
	}
}

static void
test_no_codes(void **state)
{
	static const char *const texts[] = { "", "-", "correct horse battery staple", "RRRRR-RRRRR-RRRRR-RRRRR-RRRRR-RRRRR-RRRRR-RRRRR",
		"0123456789012345678901234567890123456789", "BASALT-ESCROW-", "BASALT-ESCROW-0123" };
	struct bs_code code = { .kind = 77 };
	char text[BS_CODE_TEXT_SIZE], longer[4 * BS_CODE_TEXT_SIZE];
	struct bs_code made;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(wrong_group(texts[i], &code), 99);
	make(text, &made);
	(void)snprintf(longer, sizeof(longer), "%s%s", text, text);
	assert_int_equal(wrong_group(longer, &code), 99);
	assert_int_equal(code.kind, 77);
}

static void
test_escrow(void **state)
{
	char text[BS_CODE_ESCROW_SIZE];
	struct bs_code code;

	(void)state;
	bs_code_escrow_text(kv2_escrow_sec, text);
	assert_int_equal(wrong_group(text, &code), 0);
	assert_int_equal(code.kind, BS_CODE_ESCROW);
	assert_int_equal(code.secret_len, BS_KEY_LEN);
	assert_memory_equal(code.secret, kv2_escrow_sec, BS_KEY_LEN);
	text[20] = 'x';
	assert_int_equal(wrong_group(text, &code), 99);
}

static int
setup_group(void **state)
{
	(void)state;
	return bs_crypto_init() == BS_OK ? 0 : -1;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_made_is_read),
		cmocka_unit_test(test_forgiven),
		cmocka_unit_test(test_one_wrong_character),
		cmocka_unit_test(test_swaps),
		cmocka_unit_test(test_too_few_and_too_many),
		cmocka_unit_test(test_no_codes),
		cmocka_unit_test(test_escrow),
	};

	return cmocka_run_group_tests_name("secretcode", tests, setup_group, NULL);
}
