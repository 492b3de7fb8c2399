/* milter/dmarc_record: records as they are published, right and wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "milter/dmarc_record.h"

/* What was read, as text: "p/sp/np adkim aspf pct t psd fo rua". */
static void
describe(const struct dmarc_record *r, char *out, size_t size)
{
	static const char *const psd[] = { "u", "y", "n" };

	snprintf(out, size, "%s/%s/%s %c %c %u %s %s %s %s", auth_dmarc_policy_text(r->p), auth_dmarc_policy_text(r->sp),
	    auth_dmarc_policy_text(r->np), r->adkim_strict ? 's' : 'r', r->aspf_strict ? 's' : 'r', r->pct,
	    r->testing ? "y" : r->has_t ? "n" : "-", psd[r->psd], r->fo, r->rua[0] != '\0' ? r->rua : "-");
}

static const struct {
	const char *text, *expected; /* NULL: none */
} table[] = {
	{ "v=DMARC1; p=none", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1;p=none", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1;p=none;", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; ;;", "none/none/none r r 100 - u 0 -" },
	{ "v = DMARC1 ; p = none", "none/none/none r r 100 - u 0 -" },
	{ "V=DMARC1; P=None", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=quarantine", "quarantine/quarantine/quarantine r r 100 - u 0 -" },
	{ "v=DMARC1; p=REJECT", "reject/reject/reject r r 100 - u 0 -" },
	{ "v=DMARC1; p=reject; sp=none", "reject/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; sp=none; p=reject", "reject/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; sp=quarantine; np=reject", "none/quarantine/reject r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; np=reject", "none/none/reject r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; adkim=s; aspf=s", "none/none/none s s 100 - u 0 -" },
	{ "v=DMARC1; p=none; adkim=r; aspf=S", "none/none/none r s 100 - u 0 -" },
	{ "v=DMARC1; p=none; adkim=x; aspf=", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; pct=0", "none/none/none r r 0 - u 0 -" },
	{ "v=DMARC1; p=none; pct=25", "none/none/none r r 25 - u 0 -" },
	{ "v=DMARC1; p=none; pct=100", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; pct=101", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; pct=-1", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; pct=1e1", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; pct=99999999999", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; pct=", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; t=y", "none/none/none r r 100 y u 0 -" },
	{ "v=DMARC1; p=none; t=n", "none/none/none r r 100 n u 0 -" },
	{ "v=DMARC1; p=none; t=maybe", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; psd=y", "none/none/none r r 100 - y 0 -" },
	{ "v=DMARC1; p=none; psd=n", "none/none/none r r 100 - n 0 -" },
	{ "v=DMARC1; p=none; psd=u", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; fo=1", "none/none/none r r 100 - u 1 -" },
	{ "v=DMARC1; p=none; fo=1:d:s", "none/none/none r r 100 - u 1:d:s -" },
	{ "v=DMARC1; p=none; fo=1:d:s:0:1", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; fo=1:", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; fo=x", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; rf=afrf; ri=86400; x=y; later=1", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; rua=mailto:a@example.net", "none/none/none r r 100 - u 0 mailto:a@example.net" },
	{ "v=DMARC1; p=none; rua=mailto:a@example.net!10m", "none/none/none r r 100 - u 0 mailto:a@example.net" },
	{ "v=DMARC1; p=none; rua= mailto:a@example.net , mailto:b@example.net",
	    "none/none/none r r 100 - u 0 mailto:a@example.net,mailto:b@example.net" },
	{ "v=DMARC1; p=none; rua=https://example.net/,mailto:b@example.net", "none/none/none r r 100 - u 0 mailto:b@example.net" },
	{ "v=DMARC1; p=none; rua=mailto:nobody", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; rua=mailto:", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; rua=mailto:a b@example.net", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; rua=mailto:<a@example.net>", "none/none/none r r 100 - u 0 -" },
	{ "v=DMARC1; p=none; p=reject", "reject/reject/reject r r 100 - u 0 -" },
	/* No policy that could be read: none, if somebody is to be told. */
	{ "v=DMARC1; rua=mailto:a@example.net", "none/none/none r r 100 - u 0 mailto:a@example.net" },
	{ "v=DMARC1; p=monitor; rua=mailto:a@example.net", "none/none/none r r 100 - u 0 mailto:a@example.net" },
	{ "v=DMARC1; p=reject; sp=x; rua=mailto:a@example.net", "none/none/none r r 100 - u 0 mailto:a@example.net" },
	{ "v=DMARC1; p=reject; np=x; rua=mailto:a@example.net", "none/none/none r r 100 - u 0 mailto:a@example.net" },
	{ "v=DMARC1; p=reject; sp=x", NULL },
	{ "v=DMARC1; p=monitor", NULL },
	{ "v=DMARC1; p=", NULL },
	{ "v=DMARC1;", NULL },
	{ "v=DMARC1", NULL },
	/* No record at all. */
	{ "", NULL },
	{ " v=DMARC1; p=none", NULL },
	{ "v=dmarc1; p=none", NULL },
	{ "v=DMARC2; p=none", NULL },
	{ "v=DMARC1 p=none", NULL },
	{ "v=DMARC1x; p=none", NULL },
	{ "p=none; v=DMARC1", NULL },
	{ ";v=DMARC1; p=none", NULL },
	{ "v=spf1 -all", NULL },
	{ "\"v=DMARC1; p=none\"", NULL },
	{ "DMARC1; p=none", NULL },
	{ "v=DMARC1: p=none", NULL },
};

static void
test_records(void **state)
{
	char got[DMARC_RUA_MAX + 200];

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct dmarc_record record;
		bool ok = dmarc_record_parse((const uint8_t *)table[i].text, strlen(table[i].text), &record);

		if (ok)
			describe(&record, got, sizeof(got));
		if (ok != (table[i].expected != NULL) || (ok && strcmp(got, table[i].expected) != 0))
			fail_msg("\"%s\": %s", table[i].text, ok ? got : "none");
	}
}

static bool
parses(const char *data, size_t len)
{
	struct dmarc_record record;

	return dmarc_record_parse((const uint8_t *)data, len, &record);
}

static void
test_bytes_that_no_text_has(void **state)
{
	static const char nul[] = "v=DMARC1\0; p=none", in_value[] = "v=DMARC1; p=no\0ne", in_name[] = "v=DMARC1; p\0=none";

	(void)state;
	assert_false(parses(nul, sizeof(nul) - 1));
	assert_false(parses(in_value, sizeof(in_value) - 1));
	assert_false(parses(in_name, sizeof(in_name) - 1));
}

static void
test_bounds(void **state)
{
	char text[DMARC_RECORD_MAX + 2];
	size_t n = (size_t)snprintf(text, sizeof(text), "v=DMARC1; p=none; rua=");

	(void)state;
	while (n + 20 < DMARC_RECORD_MAX)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "mailto:a@b.example,");
	assert_true(parses(text, n));
	memset(text + n, ';', sizeof(text) - n);
	assert_true(parses(text, DMARC_RECORD_MAX));
	assert_false(parses(text, DMARC_RECORD_MAX + 1));
	n = (size_t)snprintf(text, sizeof(text), "v=DMARC1;");
	for (int i = 0; i < DMARC_TAGS_MAX; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "x=%d;", i);
	n += (size_t)snprintf(text + n, sizeof(text) - n, "p=none");
	assert_false(parses(text, n));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_bytes_that_no_text_has),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
