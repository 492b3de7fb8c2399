/*
 * spf_case: a zone in memory, a client who asks, and the outcome: what the tests of milter/spf begin with. For one test program.
 *
 *     txt("other.example.net", "v=spf1 -all");
 *     WITH("v=spf1 include:other.example.net -all", "fail");    // example.org's record, and the result in words
 */
#ifndef SPF_CASE_H
#define SPF_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include <cmocka.h>

#include "dns_zone.h"
#include "milter/spf.h"
#include "sock.h"

#define V4 "192.0.2.1"
#define V6 "2001:db8::1"

static struct zone zone = ZONE_INIT;
static struct spf_outcome out;

/* Who asks; each test begins with these. */
static struct spf_request who;

static inline int
begin(void **state)
{
	(void)state;
	zone_clear(&zone);
	who = (struct spf_request){ .dns = &zone.dns, .client = V4, .helo = "helo.example.net", .sender = "joe@example.org",
		.receiver = "mx.example.com", .deadline_ms = bs_now_ms() + 600000 };
	return 0;
}

static inline int
end(void **state)
{
	(void)state;
	zone_clear(&zone);
	return 0;
}

static inline void
txt(const char *name, const char *text)
{
	zone_text(&zone, name, DNS_TXT, text);
}

static inline void
mx(const char *name, unsigned preference, const char *host)
{
	zone_bytes(&zone, name, DNS_MX, (uint16_t)preference, host, strlen(host));
}

static inline enum spf_result
check(void)
{
	spf_check(SPF_NATIVE, &who, &out);
	return out.result;
}

/* The result for a record of example.org, in a zone that is left as it is. */
static inline enum spf_result
with(const char *record)
{
	struct zone_record **before = zone.last != NULL ? zone.last : &zone.first, *own;
	enum spf_result result;

	txt("example.org", record);
	own = *before;
	result = check();
	*before = NULL;
	zone.last = before;
	free(own->name);
	free(own->data);
	free(own);
	return result;
}

/* What a macro string expands to, by way of an explanation. */
static inline const char *
expand(const char *text)
{
	zone_clear(&zone);
	txt("example.org", "v=spf1 exp=why.example.org -all");
	txt("why.example.org", text);
	assert_int_equal(check(), SPF_FAIL);
	return out.explanation;
}

#define WITH(record, expected) assert_string_equal(spf_result_text(with(record)), expected)
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

#endif
