/* basalt-lmtp's parsers: where a message ends, what a field is, what a label does to a header, what an address is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lmtp/dots.h"
#include "lmtp/envelope.h"
#include "lmtp/fields.h"
#include "lmtp/rewrite.h"

/* --- dots --- */

/* Feeds in pieces of step bytes; *rest: what was behind the end. */
static size_t
feed_dots(const char *in, size_t step, char *out, bool *ended, const char **rest)
{
	struct dots d = DOTS_START;
	size_t len = strlen(in), at = 0, n = 0;

	while (at < len && !dots_ended(&d)) {
		size_t used, take = len - at < step ? len - at : step;

		n += dots_feed(&d, (const uint8_t *)in + at, take, (uint8_t *)out + n, &used);
		at += used;
	}
	out[n] = '\0';
	*ended = dots_ended(&d);
	*rest = in + at;
	return n;
}

static void
a_message_ends_at_its_dot_alone(void **state)
{
	static const struct {
		const char *in, *out, *rest; /* rest NULL: it has not ended */
	} rows[] = {
		{ ".\r\nQUIT\r\n", "", "QUIT\r\n" },
		{ "a\r\n.\r\n", "a\r\n", "" },
		{ "a\r\n..\r\n..b\r\n.\r\nx", "a\r\n..\r\n..b\r\n", "x" },
		{ "a\r\n.b\r\n.\r\n", "a\r\n.b\r\n", "" },
		{ "a\n.\r\nMAIL\r\n.\r\n", "a\n..\r\nMAIL\r\n", "" },
		{ "a\n.\nMAIL\r\n.\r\n", "a\n..\nMAIL\r\n", "" },
		{ "a\r\n.\nMAIL\r\n.\r\n", "a\r\n..\nMAIL\r\n", "" },
		{ "a\r\n.\rb\r\n.\r\n", "a\r\n.\rb\r\n", "" },
		{ "a\r\n.\r\r\n.\r\n", "a\r\n.\r\r\n", "" },
		{ "a\r.\r\nb\r\n.\r\n", "a\r.\r\nb\r\n", "" },
		{ "\r\r\n.\r\n", "\r\r\n", "" },
		{ "a\r\n.", "a\r\n", NULL },
		{ "a\r\n.\r", "a\r\n", NULL },
		{ "a.\r\n", "a.\r\n", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t step = 1; step < 8; step++) {
			char out[256];
			const char *rest;
			bool ended;

			(void)feed_dots(rows[i].in, step, out, &ended, &rest);
			assert_string_equal(out, rows[i].out);
			assert_int_equal(ended, rows[i].rest != NULL);
			if (ended)
				assert_string_equal(rest, rows[i].rest);
		}
}

/* --- fields --- */

struct seen {
	char text[300000];
	size_t len;
	unsigned fields, pieces;
	char end[8];
};

static enum bs_err
on_field(void *ctx, const struct field_piece *piece)
{
	struct seen *seen = ctx;

	seen->fields += piece->first;
	seen->pieces++;
	memcpy(seen->text + seen->len, piece->data, piece->len);
	seen->len += piece->len;
	if (piece->last && seen->len < sizeof(seen->text))
		seen->text[seen->len++] = '|';
	return BS_OK;
}

static enum bs_err
on_end(void *ctx, const uint8_t *blank_line, size_t len)
{
	struct seen *seen = ctx;

	(void)snprintf(seen->end, sizeof(seen->end), "%.*s!", (int)len, (const char *)blank_line);
	return BS_OK;
}

/* Returns how much was taken. */
static size_t
feed_fields(const char *in, size_t len, size_t step, struct seen *seen)
{
	struct fields *f = malloc(sizeof(*f));
	size_t at = 0;

	memset(seen, 0, sizeof(*seen));
	fields_init(f, on_field, on_end, seen);
	while (at < len && !f->ended) {
		size_t used;

		assert_int_equal(fields_feed(f, (const uint8_t *)in + at, len - at < step ? len - at : step, &used), BS_OK);
		at += used;
	}
	assert_int_equal(fields_finish(f), BS_OK);
	free(f);
	return at;
}

static void
a_header_is_cut_into_fields(void **state)
{
	static const struct {
		const char *in, *out, *end;
		size_t used;
	} rows[] = {
		{ "A: 1\r\nB: 2\r\n x\r\n\ty\r\n\r\nbody", "A: 1\r\n|B: 2\r\n x\r\n\ty\r\n|", "\r\n!", 22 },
		{ "A: 1\nB: 2\n\nbody", "A: 1\n|B: 2\n|", "\n!", 11 },
		{ "\r\nbody", "", "\r\n!", 2 },
		{ "\nbody", "", "\n!", 1 },
		{ "A: 1\r\n", "A: 1\r\n|", "!", 6 },
		{ "A: 1", "A: 1|", "!", 4 },
		{ "", "", "!", 0 },
		{ " folded\r\nA: 1\r\n\r\n", " folded\r\n|A: 1\r\n|", "\r\n!", 17 },
		{ "no field\r\nA: 1\r\n\r\n", "no field\r\n|A: 1\r\n|", "\r\n!", 18 },
		{ "A: 1\r\n \r\nB: 2\r\n\r\n", "A: 1\r\n \r\n|B: 2\r\n|", "\r\n!", 17 },
		{ "A: 1\r\n\rB: 2\r\n\r\n", "A: 1\r\n|\rB: 2\r\n|", "\r\n!", 15 },
		{ "A: 1\r\n\r", "A: 1\r\n|\r|", "!", 7 },
	};
	struct seen *seen = malloc(sizeof(*seen));

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t step = 1; step < 30; step += 4) {
			assert_int_equal(feed_fields(rows[i].in, strlen(rows[i].in), step, seen), rows[i].used);
			seen->text[seen->len] = '\0';
			assert_string_equal(seen->text, rows[i].out);
			assert_string_equal(seen->end, rows[i].end);
		}
	free(seen);
}

static void
a_long_field_comes_in_pieces(void **state)
{
	static char in[200000];
	struct seen *seen = malloc(sizeof(*seen));

	(void)state;
	memset(in, 'x', sizeof(in));
	memcpy(in, "A: ", 3);
	memcpy(in + sizeof(in) - 8, "\r\nB: \r\n", 7);
	assert_int_equal(feed_fields(in, sizeof(in) - 1, 5000, seen), sizeof(in) - 1);
	assert_int_equal(seen->fields, 2);
	assert_int_equal(seen->pieces, 5);
	assert_int_equal(seen->len, sizeof(in) - 1 + 2);
	free(seen);
}

static struct field_piece
piece_of(const char *text)
{
	return (struct field_piece){ .data = (const uint8_t *)text, .len = strlen(text), .first = true, .last = true };
}

static void
names_are_known_however_they_are_written(void **state)
{
	static const char *const yes[] = { "Subject: x", "SUBJECT:x", "subject \t: x" };
	static const char *const no[] = { "Subjects: x", "Subjec: x", "Subject", " Subject: x", "Subject\r\n: x", "" };
	struct field_piece later = piece_of("Subject: x");

	(void)state;
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		assert_true(field_is(&(struct field_piece){ (const uint8_t *)yes[i], strlen(yes[i]), true, true }, "Subject"));
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		assert_false(field_is(&(struct field_piece){ (const uint8_t *)no[i], strlen(no[i]), true, true }, "Subject"));
	later.first = false;
	assert_false(field_is(&later, "Subject"));
}

/* --- rewriting --- */

static enum bs_err
collect(void *ctx, const void *data, size_t len)
{
	char *text = ctx;
	size_t at = strlen(text);

	memcpy(text + at, data, len);
	text[at + len] = '\0';
	return BS_OK;
}

static void
labels_in_subjects(void **state)
{
	static const struct {
		const char *label, *in, *out;
	} rows[] = {
		{ "[SPAM]", "Subject: Hi\r\n", "Subject: [SPAM] Hi\r\n" },
		{ "[SPAM]", "subject:Hi\r\n", "subject: [SPAM] Hi\r\n" },
		{ "[SPAM]", "Subject:\r\n Hi\r\n\tho\r\n", "Subject: [SPAM]\r\n Hi\r\n\tho\r\n" },
		{ "[SPAM]", "Subject:\r\n", "Subject: [SPAM]\r\n" },
		{ "[SPAM]", "Subject: \r\n", "Subject: [SPAM] \r\n" },
		{ "[SPAM]", "Subject: [SPAM] Hi\r\n", "Subject: [SPAM] Hi\r\n" },
		{ "[SPAM]", "Subject:\r\n [SPAM]\r\n", "Subject:\r\n [SPAM]\r\n" },
		{ "[SPAM]", "Subject: [SPAM]ly\r\n", "Subject: [SPAM] [SPAM]ly\r\n" },
		{ "[SPAM]", "Subject: =?utf-8?q?x?=\r\n", "Subject: [SPAM] =?utf-8?q?x?=\r\n" },
		{ "\xc3\x9c", "Subject: Hi\r\n", "Subject: =?UTF-8?B?w5w=?= Hi\r\n" },
		{ "\xc3\x9c", "Subject: =?utf-8?q?x?=\r\n", "Subject: =?UTF-8?B?w5wg?= =?utf-8?q?x?=\r\n" },
		{ "\xc3\x9c", "Subject: =?UTF-8?B?w5wg?= =?utf-8?q?x?=\r\n", "Subject: =?UTF-8?B?w5wg?= =?utf-8?q?x?=\r\n" },
		{ "\xc3\x9c", "Subject: =?UTF-8?B?w5w=?= Hi\r\n", "Subject: =?UTF-8?B?w5w=?= Hi\r\n" },
		{ "=?x?q?y?=", "Subject: Hi\r\n", "Subject: =?UTF-8?B?PT94P3E/eT89?= Hi\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct field_piece piece = piece_of(rows[i].in);
		struct rewrite r;
		char out[2048] = "";

		rewrite_init(&r, rows[i].label, true, "");
		assert_int_equal(rewrite_begin(&r, collect, out), BS_OK);
		assert_int_equal(rewrite_field(&r, &piece, collect, out), BS_OK);
		assert_string_equal(out, rows[i].out);
		out[0] = '\0';
		assert_int_equal(rewrite_field(&r, &piece, collect, out), BS_OK);
		assert_int_equal(rewrite_end(&r, collect, out), BS_OK);
		assert_string_equal(out, rows[i].in); /* the second one stays */
	}
}

static void
labels_and_notes_in_fields_of_their_own(void **state)
{
	struct field_piece piece = piece_of("Subject: Hi\r\n");
	struct rewrite r;
	char out[4096] = "", note[201];

	(void)state;
	rewrite_init(&r, "spam", false, "score 7");
	assert_int_equal(rewrite_begin(&r, collect, out), BS_OK);
	assert_int_equal(rewrite_field(&r, &piece, collect, out), BS_OK);
	assert_int_equal(rewrite_end(&r, collect, out), BS_OK);
	assert_string_equal(out, "X-Basalt-Label: spam\r\nX-Basalt-Note: score 7\r\nSubject: Hi\r\n");
	/* The longest note, all of it of several bytes: no line is above 76, no character is cut. */
	for (size_t i = 0; i < 198; i += 3)
		memcpy(note + i, "\xe2\x82\xac", 3);
	note[198] = '\0';
	out[0] = '\0';
	rewrite_init(&r, "", true, note);
	assert_int_equal(rewrite_begin(&r, collect, out), BS_OK);
	assert_int_equal(rewrite_end(&r, collect, out), BS_OK);
	for (const char *line = out; *line != '\0'; line = strchr(line, '\n') + 1)
		assert_true(strcspn(line, "\r") <= 90);
	assert_int_equal(strncmp(out, "X-Basalt-Note: =?UTF-8?B?4oKs", 29), 0);
	assert_null(strstr(out, "Subject"));
	out[0] = '\0';
	rewrite_init(&r, "[SPAM]", true, "");
	assert_int_equal(rewrite_end(&r, collect, out), BS_OK);
	assert_string_equal(out, "Subject: [SPAM]\r\n");
}

/* --- addresses --- */

static void
addresses_are_taken_apart_and_put_together(void **state)
{
	static const struct {
		const char *args, *base, *detail, *folder, *out;
	} rows[] = {
		{ "<bob@example.org>", "bob@example.org", "", "", "bob@example.org" },
		{ "<bob+x@example.org>", "bob@example.org", "x", "", "bob@example.org" },
		{ "<bob+x+y@example.org>", "bob@example.org", "x+y", "Junk", "bob+Junk@example.org" },
		{ "<bob@example.org>", "bob@example.org", "", "Lists/a b", "\"bob+Lists/a b\"@example.org" },
		{ "<bob@example.org>", "bob@example.org", "", "x.", "\"bob+x.\"@example.org" },
		{ "<\"bob+x y\"@example.org>", "bob@example.org", "x y", "", "bob@example.org" },
		{ "<\"b\\\"o@b\"@example.org>", "b\"o@b@example.org", "", "", "\"b\\\"o@b\"@example.org" },
		{ "<\"a>b\"@example.org>", "a>b@example.org", "", "", "\"a>b\"@example.org" },
		{ "<+x@example.org>", "+x@example.org", "", "J", "+x+J@example.org" },
		{ "<postmaster>", "postmaster", "", "", "postmaster" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct envelope env = { .open = true };
		char out[512];

		assert_int_equal(envelope_rcpt(&env, rows[i].args, 10), BS_OK);
		assert_string_equal(env.recipients[0]->base, rows[i].base);
		assert_string_equal(env.recipients[0]->detail, rows[i].detail);
		assert_int_equal(envelope_address(env.recipients[0], rows[i].folder, out, sizeof(out)), BS_OK);
		assert_string_equal(out, rows[i].out);
		envelope_clear(&env);
	}
}

static void
parameters(void **state)
{
	struct envelope env = { 0 };
	static const char *const bad[] = { "<a@b", "a@b>", "<a@b>x", "<>", "<a@b> FOO=1", "", "<\"a@b>" };
	char text[16];

	(void)state;
	assert_int_equal(envelope_mail(&env, "<> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x+2By SIZE=5"), BS_OK);
	assert_true(env.open && env.body_8bit && env.smtputf8 && env.sender[0] == '\0');
	assert_string_equal(env.envid, "x+2By");
	assert_int_equal(envelope_rcpt(&env, "<x@a.b> NOTIFY=NEVER ORCPT=rfc822;team+2Bx@a.b", 2), BS_OK);
	assert_string_equal(env.recipients[0]->orcpt, "team+x@a.b");
	assert_string_equal(env.recipients[0]->raw_orcpt, "rfc822;team+2Bx@a.b");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(envelope_rcpt(&env, bad[i], 2), BS_ERR_FORMAT);
	assert_int_equal(env.n_recipients, 1);
	assert_int_equal(envelope_rcpt(&env, "<y@a.b>", 2), BS_OK);
	assert_int_equal(envelope_rcpt(&env, "<z@a.b>", 2), BS_ERR_LIMIT);
	envelope_clear(&env);
	assert_int_equal(envelope_mail(&env, "<a@b> BODY=BINARYMIME"), BS_ERR_FORMAT);
	assert_false(env.open);
	assert_false(envelope_xtext("a+00", text, sizeof(text)) || envelope_xtext("a+4", text, sizeof(text))
	    || envelope_xtext("a+4g", text, sizeof(text)) || envelope_xtext("0123456789abcdef", text, sizeof(text)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_ends_at_its_dot_alone),
		cmocka_unit_test(a_header_is_cut_into_fields),
		cmocka_unit_test(a_long_field_comes_in_pieces),
		cmocka_unit_test(names_are_known_however_they_are_written),
		cmocka_unit_test(labels_in_subjects),
		cmocka_unit_test(labels_and_notes_in_fields_of_their_own),
		cmocka_unit_test(addresses_are_taken_apart_and_put_together),
		cmocka_unit_test(parameters),
	};

	return cmocka_run_group_tests_name("lmtp", tests, NULL, NULL);
}
