/* verdict_header: what another implementation sealed, what we seal, and what does not open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "tests/unit/verdict_fixture.h"
#include "tests/vectors/verdict.h"

#define NOW VV_NOW

static int
setup(void **state)
{
	*state = vf_new(vv_keyfile);
	return 0;
}

static int
teardown(void **state)
{
	vf_free(*state);
	return 0;
}

static enum bs_err
open_at(struct verdict_fixture *fx, const char *value, int64_t now_s)
{
	struct bs_verdict *v = NULL;
	enum bs_err err = bs_verdict_open(fx->keys, value, strlen(value), now_s, &v);

	bs_verdict_free(v);
	return err;
}

static void
the_vector_opens(void **state)
{
	struct verdict_fixture *fx = *state;
	struct bs_verdict *v;
	struct bs_verdict_part part;

	assert_int_equal(bs_verdict_open(fx->keys, vv_good, sizeof(vv_good) - 1, NOW + 5, &v), BS_OK);
	assert_string_equal(bs_verdict_id(v), vv_id);
	assert_int_equal(bs_verdict_time(v), NOW);
	assert_int_equal(bs_verdict_find(v, "Alice+Lists@Example.ORG", &part), BS_OK);
	assert_int_equal(part.what, BS_VERDICT_DELIVER);
	assert_string_equal(part.folder, "Junk/Maybe");
	assert_string_equal(part.label, "[SPAM?]");
	assert_true(part.label_subject && !part.keep_detail);
	assert_string_equal(part.note, "score 7.1");
	assert_int_equal(bs_verdict_find(v, "bob@example.org", &part), BS_OK);
	assert_int_equal(part.what, BS_VERDICT_DROP);
	assert_int_equal(bs_verdict_find(v, "carol@example.org", &part), BS_OK);
	assert_int_equal(part.what, BS_VERDICT_REJECT);
	assert_string_equal(part.code, "550");
	assert_string_equal(part.status, "5.7.1");
	assert_string_equal(part.text, "Refused by this account's policy");
	assert_int_equal(bs_verdict_find(v, "dave@example.net", &part), BS_OK);
	assert_true(part.what == BS_VERDICT_DELIVER && part.keep_detail && part.folder[0] == '\0');
	assert_int_equal(bs_verdict_find(v, "eve@example.net", &part), BS_OK);
	assert_string_equal(part.label, "\xc3\x9c" "bel");
	assert_false(part.label_subject);
	assert_int_equal(bs_verdict_find(v, "mallory@example.org", &part), BS_ERR_NOENT);
	assert_int_equal(bs_verdict_find(v, "not an address", &part), BS_ERR_NOENT);
	bs_verdict_free(v);
	assert_int_equal(bs_verdict_open(fx->keys, vv_many, sizeof(vv_many) - 1, NOW, &v), BS_OK);
	assert_int_equal(bs_verdict_find(v, "u39@example.org", &part), BS_OK);
	assert_int_equal(bs_verdict_find(v, "u40@example.org", &part), BS_ERR_NOENT);
	bs_verdict_free(v);
}

static void
what_is_malformed_does_not_open(void **state)
{
	static const char *const bad[] = { vv_bad_outcome, vv_bad_what, vv_bad_flags, vv_bad_code, vv_bad_folder, vv_bad_padding };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(open_at(*state, bad[i], NOW), BS_ERR_FORMAT);
	assert_int_equal(open_at(*state, "", NOW), BS_ERR_FORMAT);
	assert_int_equal(open_at(*state, " pass", NOW), BS_ERR_VERSION);
	assert_int_equal(open_at(*state, " AQ==", NOW), BS_ERR_FORMAT);
	assert_int_equal(open_at(*state, " Ag==", NOW), BS_ERR_VERSION);
}

/* Each character in turn is another one. */
static void
what_is_forged_does_not_open(void **state)
{
	char text[sizeof(vv_good)];
	unsigned n[BS_ERR_COUNT] = { 0 };

	for (size_t i = 0; i < sizeof(vv_good) - 1; i++) {
		enum bs_err err;

		memcpy(text, vv_good, sizeof(text));
		if (strchr(" \r\n\t=", text[i]) != NULL)
			continue;
		text[i] = text[i] == 'A' ? 'B' : 'A';
		err = open_at(*state, text, NOW);
		assert_true(err == BS_ERR_AUTH || err == BS_ERR_NOENT || err == BS_ERR_VERSION || err == BS_ERR_FORMAT);
		n[err]++;
	}
	assert_true(n[BS_ERR_AUTH] > 600 && n[BS_ERR_NOENT] >= 8 && n[BS_ERR_VERSION] >= 1);
	for (size_t len = 0; len < sizeof(vv_good) - 1; len += 13) {
		memcpy(text, vv_good, sizeof(text));
		text[len] = '\0';
		assert_int_not_equal(open_at(*state, text, NOW), BS_OK);
	}
}

static void
folding_does_not_matter(void **state)
{
	char flat[sizeof(vv_good)], *at = flat;

	for (const char *p = vv_good; *p != '\0'; p++)
		if (strchr(" \r\n\t", *p) == NULL)
			*at++ = *p;
	*at = '\0';
	assert_int_equal(open_at(*state, flat, NOW), BS_OK);
}

static void
it_has_its_time(void **state)
{
	assert_int_equal(open_at(*state, vv_good, NOW + BS_VERDICT_LIFETIME_S), BS_OK);
	assert_int_equal(open_at(*state, vv_good, NOW + BS_VERDICT_LIFETIME_S + 1), BS_ERR_EXPIRED);
	assert_int_equal(open_at(*state, vv_good, NOW - 3600), BS_OK);
	assert_int_equal(open_at(*state, vv_good, NOW - 3601), BS_ERR_EXPIRED);
}

static size_t
add_many(struct bs_verdict_writer *w, size_t n, const struct bs_verdict_part *part, enum bs_err *err)
{
	size_t i = 0;

	for (; i < n; i++) {
		char address[64];

		(void)snprintf(address, sizeof(address), "User%zu+x@Example.org", i);
		*err = bs_verdict_writer_add(w, address, part);
		if (*err != BS_OK)
			break;
	}
	return i;
}

static void
what_we_seal_opens(void **state)
{
	struct verdict_fixture *fx = *state;
	struct bs_buf *value = bs_buf_new(BS_VERDICT_FIELD_MAX);
	struct bs_verdict_part drop = { .what = BS_VERDICT_DROP, .folder = "does not count" }, got;
	struct bs_verdict_part label = { .what = BS_VERDICT_DELIVER, .label = "x", .label_subject = true };
	struct bs_verdict_writer *w;
	struct bs_verdict *v;
	enum bs_err err = BS_OK;

	assert_int_equal(bs_verdict_writer_new(fx->keys, NOW, &w), BS_OK);
	assert_int_equal(add_many(w, 30, &drop, &err), 30);
	assert_int_equal(bs_verdict_writer_add(w, "other@example.net", &label), BS_OK);
	assert_int_equal(bs_verdict_writer_add(w, "other+y@example.net", &drop), BS_OK); /* the first one counts */
	assert_int_equal(bs_verdict_writer_add(w, "no address", &drop), BS_ERR_ARG);
	assert_int_equal(bs_verdict_writer_value(w, value), BS_OK);
	assert_int_equal(bs_verdict_open(fx->keys, (const char *)bs_buf_data(value), bs_buf_len(value), NOW, &v), BS_OK);
	assert_string_equal(bs_verdict_id(v), bs_verdict_writer_id(w));
	assert_int_equal(bs_verdict_find(v, "user29@example.org", &got), BS_OK);
	assert_int_equal(got.what, BS_VERDICT_DROP);
	assert_int_equal(bs_verdict_find(v, "user30@example.org", &got), BS_ERR_NOENT);
	assert_int_equal(bs_verdict_find(v, "other@example.net", &got), BS_OK);
	assert_true(got.what == BS_VERDICT_DELIVER && got.label_subject && strcmp(got.label, "x") == 0);
	bs_verdict_free(v);
	bs_verdict_writer_free(w);
	bs_buf_free(value);
}

/* Length of the value for n recipients with one outcome. */
static size_t
length_for(struct verdict_fixture *fx, size_t n)
{
	struct bs_buf *value = bs_buf_new(BS_VERDICT_FIELD_MAX);
	struct bs_verdict_part drop = { .what = BS_VERDICT_DROP };
	struct bs_verdict_writer *w;
	enum bs_err err = BS_OK;
	size_t len;

	assert_int_equal(bs_verdict_writer_new(fx->keys, NOW, &w), BS_OK);
	assert_int_equal(add_many(w, n, &drop, &err), n);
	assert_int_equal(bs_verdict_writer_value(w, value), BS_OK);
	len = bs_buf_len(value);
	bs_verdict_writer_free(w);
	bs_buf_free(value);
	return len;
}

static void
the_length_does_not_tell_the_number(void **state)
{
	assert_int_equal(length_for(*state, 1), length_for(*state, 26));
	assert_int_equal(length_for(*state, 27), length_for(*state, 54));
	assert_true(length_for(*state, 26) < length_for(*state, 27));
}

static void
it_has_a_largest_size(void **state)
{
	struct verdict_fixture *fx = *state;
	struct bs_buf *value = bs_buf_new(BS_VERDICT_FIELD_MAX);
	struct bs_verdict_part drop = { .what = BS_VERDICT_DROP }, got;
	struct bs_verdict_writer *w;
	struct bs_verdict *v;
	enum bs_err err = BS_OK;
	size_t n, lines = 1;

	assert_int_equal(bs_verdict_writer_new(fx->keys, NOW, &w), BS_OK);
	n = add_many(w, 5000, &drop, &err);
	assert_int_equal(err, BS_ERR_LIMIT);
	assert_int_equal(n, 1305);
	assert_int_equal(bs_verdict_writer_room(w), 0);
	assert_int_equal(bs_verdict_writer_value(w, value), BS_OK);
	for (size_t i = 0; i < bs_buf_len(value); i++)
		lines += bs_buf_data(value)[i] == '\n';
	assert_true(sizeof(BS_VERDICT_FIELD) + bs_buf_len(value) + lines + 1 <= BS_VERDICT_FIELD_MAX);
	assert_int_equal(bs_verdict_open(fx->keys, (const char *)bs_buf_data(value), bs_buf_len(value), NOW, &v), BS_OK);
	assert_int_equal(bs_verdict_find(v, "user1304@example.org", &got), BS_OK);
	bs_verdict_free(v);
	bs_verdict_writer_free(w);
	bs_buf_free(value);
}

static void
fill_text(char *text, size_t size, char c, unsigned number)
{
	memset(text, c, size - 1);
	text[size - 1] = '\0';
	(void)snprintf(text + size - 5, 5, "%04u", number % 10000);
}

/* As many fit as it said, each as long as can be and unlike the others; a refusal changes nothing. */
static void
the_room_is_kept(void **state)
{
	struct verdict_fixture *fx = *state;
	struct bs_verdict_writer *w;
	char address[64];
	size_t room;
	unsigned n = 0;
	enum bs_err err = BS_OK;

	assert_int_equal(bs_verdict_writer_new(fx->keys, NOW, &w), BS_OK);
	room = bs_verdict_writer_room(w);
	assert_true(room >= 30);
	for (; err == BS_OK; n++) {
		struct bs_verdict_part part = { .what = BS_VERDICT_DELIVER };

		assert_true(bs_verdict_writer_room(w) + n >= room);
		fill_text(part.folder, sizeof(part.folder), 'f', n);
		fill_text(part.label, sizeof(part.label), 'l', n);
		fill_text(part.note, sizeof(part.note), 'n', n);
		(void)snprintf(address, sizeof(address), "u%u@example.org", n);
		err = bs_verdict_writer_add(w, address, &part);
	}
	assert_int_equal(err, BS_ERR_LIMIT);
	assert_true(n - 1 >= room);
	assert_int_equal(bs_verdict_writer_add(w, address, &(struct bs_verdict_part){ .what = BS_VERDICT_DROP }), BS_OK);
	bs_verdict_writer_free(w);
}

static void
parts_are_checked(void **state)
{
	static const struct bs_verdict_part bad[] = {
		{ .what = 0 },
		{ .what = 4 },
		{ .what = BS_VERDICT_DELIVER, .folder = "a//b" },
		{ .what = BS_VERDICT_DELIVER, .folder = "a/.." },
		{ .what = BS_VERDICT_DELIVER, .label = "a\r\nBcc: x" },
		{ .what = BS_VERDICT_DELIVER, .note = "\xff" },
		{ .what = BS_VERDICT_REJECT, .code = "250", .status = "5.7.1", .text = "x" },
		{ .what = BS_VERDICT_REJECT, .code = "550", .status = "2.0.0", .text = "x" },
		{ .what = BS_VERDICT_REJECT, .code = "550", .status = "5.7.1", .text = "a\nb" },
		{ .what = BS_VERDICT_REJECT },
	};
	struct verdict_fixture *fx = *state;
	struct bs_verdict_writer *w;

	assert_int_equal(bs_verdict_writer_new(fx->keys, NOW, &w), BS_OK);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(bs_verdict_writer_add(w, "a@example.org", &bad[i]), BS_ERR_ARG);
	bs_verdict_writer_free(w);
}

static void
folders(void **state)
{
	static const char *const good[] = { "Junk", "INBOX", "Lists/Basalt dev", "a.b", "a+b", "it's (1)", "." "x" };
	static const char *const bad[] = { "", "/a", "a/", "a//b", "..", "a/../b", "a/.", "~root", "a\"b", "a\\b", "a*", "a%", " a", "a ",
		"a/ b", "a\tb", "\xc3\xa4" };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(bs_verdict_folder_ok(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(bs_verdict_folder_ok(bad[i]));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_vector_opens),
		cmocka_unit_test(what_is_malformed_does_not_open),
		cmocka_unit_test(what_is_forged_does_not_open),
		cmocka_unit_test(folding_does_not_matter),
		cmocka_unit_test(it_has_its_time),
		cmocka_unit_test(what_we_seal_opens),
		cmocka_unit_test(the_length_does_not_tell_the_number),
		cmocka_unit_test(it_has_a_largest_size),
		cmocka_unit_test(the_room_is_kept),
		cmocka_unit_test(parts_are_checked),
		cmocka_unit_test(folders),
	};

	return cmocka_run_group_tests_name("verdict_header", tests, setup, teardown);
}
