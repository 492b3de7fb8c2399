/* milter/dmarc: discovery, alignment and policy over zones in memory. Every row is one message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "milter/dmarc.h"
#include "milter/dmarc_walk.h"
#include "tests/unit/dns_zone.h"

static const struct {
	const char *name, *text; /* NULL: the name does not answer */
} records[] = {
	{ "_dmarc.none.example", "v=DMARC1; p=none" },
	{ "_dmarc.quarantine.example", "v=DMARC1; p=quarantine" },
	{ "_dmarc.reject.example", "v=DMARC1; p=reject" },
	{ "_dmarc.strict.example", "v=DMARC1; p=reject; adkim=s; aspf=s" },
	{ "_dmarc.sp.example", "v=DMARC1; p=reject; sp=quarantine" },
	{ "_dmarc.np.example", "v=DMARC1; p=none; sp=quarantine; np=reject" },
	{ "there.np.example", "v=nothing" },
	{ "_dmarc.own.sp.example", "v=DMARC1; p=none" },
	{ "_dmarc.pct0.example", "v=DMARC1; p=reject; pct=0" },
	{ "_dmarc.pct50.example", "v=DMARC1; p=reject; pct=50" },
	{ "_dmarc.pctq.example", "v=DMARC1; p=quarantine; pct=0" },
	{ "_dmarc.test.example", "v=DMARC1; p=reject; t=y" },
	{ "_dmarc.testq.example", "v=DMARC1; p=quarantine; t=y" },
	{ "_dmarc.testpct.example", "v=DMARC1; p=reject; t=n; pct=0" },
	{ "_dmarc.two.example", "v=DMARC1; p=reject" },
	{ "_dmarc.two.example", "v=DMARC1; p=none" },
	{ "_dmarc.one.two.example", "v=DMARC1; p=reject" },
	{ "_dmarc.noise.example", "v=spf1 -all" },
	{ "_dmarc.noise.example", "v=DMARC1; p=reject" },
	{ "_dmarc.bad.example", "v=DMARC1; p=nonsense" },
	{ "_dmarc.x.com", "v=DMARC1; p=reject" },
	{ "_dmarc.a.co.uk", "v=DMARC1; p=reject" },
	{ "_dmarc.b.co.uk", "v=DMARC1; p=reject" },
	{ "_dmarc.dead.example", NULL },
	{ "_dmarc.gap.example", NULL },
	{ "_dmarc.full.gap.example", "v=DMARC1; p=reject" },
	/* A registry that says it is one, as RFC 9989 has it, and one that forgot. */
	{ "_dmarc.bank", "v=DMARC1; p=reject; psd=y; np=reject" },
	{ "_dmarc.registered.bank", "v=DMARC1; p=quarantine" },
	{ "_dmarc.de", "v=DMARC1; p=reject" },
	{ "_dmarc.shop.de", "v=DMARC1; p=quarantine" },
	/* A part of an organisation that goes its own way. */
	{ "_dmarc.univ.example", "v=DMARC1; p=reject" },
	{ "_dmarc.cs.univ.example", "v=DMARC1; p=reject; psd=n" },
	{ "_dmarc.registry.example", "v=DMARC1; p=reject; psd=y" },
	{ "_dmarc.hole.reject.example", NULL },
	/* Only below the registered domain. */
	{ "_dmarc.lists.only.example", "v=DMARC1; p=reject" },
	{ "_dmarc.a.b.c.d.e.f.g.deep.example", "v=DMARC1; p=reject" },
	{ "_dmarc.deep.example", "v=DMARC1; p=quarantine" },
};

#define PASS AUTH_DMARC_PASS
#define FAIL AUTH_DMARC_FAIL
#define NONE AUTH_DMARC_NONE
#define TEMP AUTH_DMARC_TEMPERROR
#define P_NONE AUTH_DMARC_P_NONE
#define P_QUAR AUTH_DMARC_P_QUARANTINE
#define P_REJ AUTH_DMARC_P_REJECT

/* spf, dkim: domains that passed; "?" in front: temperror, "-": fail. */
static const struct {
	const char *from, *spf, *dkim;
	enum auth_dmarc_result result;
	enum auth_dmarc_policy policy;
	const char *where;
} table[] = {
	/* Policies. */
	{ "nothing.example", "", "", NONE, P_NONE, "" },
	{ "nothing.example", "nothing.example", "nothing.example", NONE, P_NONE, "" },
	{ "none.example", "", "", FAIL, P_NONE, "none.example" },
	{ "quarantine.example", "", "", FAIL, P_QUAR, "quarantine.example" },
	{ "reject.example", "", "", FAIL, P_REJ, "reject.example" },
	{ "noise.example", "", "", FAIL, P_REJ, "noise.example" },
	{ "two.example", "", "", NONE, P_NONE, "" },
	{ "one.two.example", "", "", FAIL, P_REJ, "one.two.example" },
	{ "x.one.two.example", "", "", FAIL, P_REJ, "one.two.example" },
	{ "bad.example", "", "", NONE, P_NONE, "" },
	{ "sub.reject.example", "", "", FAIL, P_REJ, "reject.example" },
	{ "sp.example", "", "", FAIL, P_REJ, "sp.example" },
	{ "x.sp.example", "", "", FAIL, P_QUAR, "sp.example" },
	{ "x.y.sp.example", "", "", FAIL, P_QUAR, "sp.example" },
	{ "own.sp.example", "", "", FAIL, P_NONE, "own.sp.example" },
	{ "x.own.sp.example", "", "", FAIL, P_QUAR, "sp.example" },
	{ "np.example", "", "", FAIL, P_NONE, "np.example" },
	{ "there.np.example", "", "", FAIL, P_QUAR, "np.example" },
	{ "notthere.np.example", "", "", FAIL, P_REJ, "np.example" },
	{ "pct0.example", "", "", FAIL, P_QUAR, "pct0.example" },
	{ "pctq.example", "", "", FAIL, P_NONE, "pctq.example" },
	{ "pct50.example", "", "", FAIL, P_REJ, "pct50.example" },
	{ "test.example", "", "", FAIL, P_QUAR, "test.example" },
	{ "testq.example", "", "", FAIL, P_NONE, "testq.example" },
	{ "testpct.example", "", "", FAIL, P_REJ, "testpct.example" },
	/* Alignment by SPF. */
	{ "reject.example", "reject.example", "", PASS, P_REJ, "reject.example" },
	{ "reject.example", "REJECT.Example", "", PASS, P_REJ, "reject.example" },
	{ "reject.example", "bounce.reject.example", "", PASS, P_REJ, "reject.example" },
	{ "reject.example", "a.b.c.reject.example", "", PASS, P_REJ, "reject.example" },
	{ "sub.reject.example", "reject.example", "", PASS, P_REJ, "reject.example" },
	{ "sub.reject.example", "other.reject.example", "", PASS, P_REJ, "reject.example" },
	{ "reject.example", "-reject.example", "", FAIL, P_REJ, "reject.example" },
	{ "reject.example", "?reject.example", "", TEMP, P_REJ, "reject.example" },
	{ "reject.example", "?elsewhere.example", "", FAIL, P_REJ, "reject.example" },
	{ "reject.example", "notreject.example", "", FAIL, P_REJ, "reject.example" },
	{ "reject.example", "example", "", FAIL, P_REJ, "reject.example" },
	{ "reject.example", "elsewhere.example", "", FAIL, P_REJ, "reject.example" },
	{ "reject.example", "reject.example.evil.net", "", FAIL, P_REJ, "reject.example" },
	{ "strict.example", "strict.example", "", PASS, P_REJ, "strict.example" },
	{ "strict.example", "x.strict.example", "", FAIL, P_REJ, "strict.example" },
	{ "x.strict.example", "strict.example", "", FAIL, P_REJ, "strict.example" },
	/* By DKIM. */
	{ "reject.example", "", "reject.example", PASS, P_REJ, "reject.example" },
	{ "reject.example", "", "m.reject.example", PASS, P_REJ, "reject.example" },
	{ "m.reject.example", "", "reject.example", PASS, P_REJ, "reject.example" },
	{ "reject.example", "", "-reject.example", FAIL, P_REJ, "reject.example" },
	{ "reject.example", "", "?reject.example", TEMP, P_REJ, "reject.example" },
	{ "reject.example", "", "?other.example", FAIL, P_REJ, "reject.example" },
	{ "reject.example", "", "other.example,reject.example", PASS, P_REJ, "reject.example" },
	{ "reject.example", "", "?reject.example,reject.example", PASS, P_REJ, "reject.example" },
	{ "reject.example", "", "-reject.example,other.example", FAIL, P_REJ, "reject.example" },
	{ "reject.example", "reject.example", "?reject.example", PASS, P_REJ, "reject.example" },
	{ "reject.example", "reject.example", "reject.example", PASS, P_REJ, "reject.example" },
	{ "strict.example", "", "strict.example", PASS, P_REJ, "strict.example" },
	{ "strict.example", "", "m.strict.example", FAIL, P_REJ, "strict.example" },
	/* Labels of one letter, and names below one suffix. */
	{ "x.com", "y.com", "", FAIL, P_REJ, "x.com" },
	{ "x.com", "com", "com", FAIL, P_REJ, "x.com" },
	{ "x.com", "x.com", "", PASS, P_REJ, "x.com" },
	{ "x.com", "m.x.com", "", PASS, P_REJ, "x.com" },
	{ "m.x.com", "", "x.com", PASS, P_REJ, "x.com" },
	{ "m.x.com", "", "m.y.com", FAIL, P_REJ, "x.com" },
	{ "a.co.uk", "b.co.uk", "b.co.uk", FAIL, P_REJ, "a.co.uk" },
	{ "a.co.uk", "co.uk", "", FAIL, P_REJ, "a.co.uk" },
	{ "a.co.uk", "m.a.co.uk", "", PASS, P_REJ, "a.co.uk" },
	{ "m.a.co.uk", "", "n.a.co.uk", PASS, P_REJ, "a.co.uk" },
	/* Registries. */
	{ "registered.bank", "registered.bank", "", PASS, P_QUAR, "registered.bank" },
	{ "registered.bank", "other.bank", "", FAIL, P_QUAR, "registered.bank" },
	{ "registered.bank", "", "bank", FAIL, P_QUAR, "registered.bank" },
	{ "unheard.bank", "", "", FAIL, P_REJ, "bank" },
	{ "unheard.bank", "unheard.bank", "", PASS, P_REJ, "bank" },
	{ "unheard.bank", "other.bank", "", FAIL, P_REJ, "bank" },
	{ "m.unheard.bank", "", "unheard.bank", PASS, P_REJ, "bank" },
	{ "shop.de", "other.de", "", FAIL, P_QUAR, "shop.de" },
	{ "shop.de", "", "other.de", FAIL, P_QUAR, "shop.de" },
	{ "m.shop.de", "", "n.shop.de", PASS, P_QUAR, "shop.de" },
	{ "plain.de", "other.de", "", NONE, P_NONE, "" },
	{ "registry.example", "", "example", FAIL, P_REJ, "registry.example" },
	/* psd=n: its own organisation, for both sides. */
	{ "cs.univ.example", "cs.univ.example", "", PASS, P_REJ, "cs.univ.example" },
	{ "cs.univ.example", "m.cs.univ.example", "", PASS, P_REJ, "cs.univ.example" },
	{ "cs.univ.example", "univ.example", "", FAIL, P_REJ, "cs.univ.example" },
	{ "m.cs.univ.example", "", "univ.example", FAIL, P_REJ, "cs.univ.example" },
	{ "m.cs.univ.example", "", "n.cs.univ.example", PASS, P_REJ, "cs.univ.example" },
	/* RFC 7489's organisation, where no record objects. */
	{ "lists.only.example", "only.example", "", PASS, P_REJ, "lists.only.example" },
	{ "lists.only.example", "other.only.example", "", PASS, P_REJ, "lists.only.example" },
	/* Nine labels: the last seven are asked for after the first. */
	{ "a.b.c.d.e.f.g.deep.example", "", "", FAIL, P_REJ, "a.b.c.d.e.f.g.deep.example" },
	{ "z.b.c.d.e.f.g.deep.example", "", "", FAIL, P_QUAR, "deep.example" },
	{ "z.b.c.d.e.f.g.deep.example", "deep.example", "", PASS, P_QUAR, "deep.example" },
	/* No answer. */
	{ "dead.example", "dead.example", "", TEMP, P_NONE, "" },
	{ "m.gap.example", "", "", TEMP, P_NONE, "" },
	{ "m.hole.reject.example", "", "", TEMP, P_NONE, "" },
	{ "full.gap.example", "", "", FAIL, P_REJ, "full.gap.example" },
	{ "full.gap.example", "full.gap.example", "", PASS, P_REJ, "full.gap.example" },
};

static const struct suffix_list *suffixes;

static void
fill(struct zone *zone)
{
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++)
		zone_text(zone, records[i].name, records[i].text != NULL ? DNS_TXT : ZONE_TIMEOUT,
		    records[i].text != NULL ? records[i].text : "");
}

static void
set_auth(struct auth *auth, const char *spf, const char *dkim)
{
	*auth = (struct auth){ 0 };
	if (spf[0] != '\0') {
		auth->mailfrom.done = true;
		auth->mailfrom.result = spf[0] == '?' ? SPF_TEMPERROR : spf[0] == '-' ? SPF_FAIL : SPF_PASS;
		snprintf(auth->mailfrom.domain, sizeof(auth->mailfrom.domain), "%s", spf + strspn(spf, "?-"));
	}
	while (*dkim != '\0') {
		struct auth_dkim *to = &auth->dkim[auth->n_dkim++];
		size_t sign = strspn(dkim, "?-"), len = strcspn(dkim, ",");

		to->result = dkim[0] == '?' ? AUTH_DKIM_TEMPERROR : dkim[0] == '-' ? AUTH_DKIM_FAIL : AUTH_DKIM_PASS;
		snprintf(to->domain, sizeof(to->domain), "%.*s", (int)(len - sign), dkim + sign);
		dkim += len + (dkim[len] == ',' ? 1 : 0);
	}
}

static void
check(struct zone *zone, const char *from, const struct auth *auth, unsigned sample, struct dmarc_outcome *out)
{
	struct dmarc_request request = { .dns = &zone->dns, .suffixes = suffixes, .auth = auth, .sample = sample };

	dmarc_check(&request, from, out);
}

static void
test_table(void **state)
{
	struct zone zone = ZONE_INIT;

	(void)state;
	fill(&zone);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct dmarc_outcome out;
		struct auth auth;

		set_auth(&auth, table[i].spf, table[i].dkim);
		check(&zone, table[i].from, &auth, 0, &out);
		if (out.result != table[i].result || out.policy != table[i].policy || strcmp(out.where, table[i].where) != 0)
			fail_msg("row %zu: from %s spf %s dkim %s: %s, %s of \"%s\" (%s)", i, table[i].from, table[i].spf,
			    table[i].dkim, auth_dmarc_result_text(out.result), auth_dmarc_policy_text(out.policy), out.where,
			    out.reason);
		if (out.reason[0] == '\0')
			fail_msg("row %zu: no reason", i);
	}
	zone_clear(&zone);
}

/* Whether two names below one list entry are aligned is the same whoever is asked first, and never across a suffix. */
static void
test_alignment_is_symmetric_and_stays_inside(void **state)
{
	static const char *const names[] = { "com", "x.com", "y.com", "m.x.com", "n.x.com", "a.m.x.com", "m.y.com", "co.uk",
		"a.co.uk", "b.co.uk", "m.a.co.uk", "m.b.co.uk", "uk", "github.io", "one.github.io", "two.github.io",
		"m.one.github.io", "xcom", "x.co", "ax.com", "x.com.com" };
	size_t n = sizeof(names) / sizeof(names[0]);
	char record[100];

	(void)state;
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < n; j++) {
			struct zone zone = ZONE_INIT;
			struct dmarc_outcome one, other;
			struct auth auth;

			for (size_t k = 0; k < 2; k++) {
				snprintf(record, sizeof(record), "_dmarc.%s", suffix_organisation(suffixes, names[k == 0 ? i : j]));
				if (k == 0 || strcmp(suffix_organisation(suffixes, names[i]), suffix_organisation(suffixes, names[j])) != 0)
					zone_text(&zone, record, DNS_TXT, "v=DMARC1; p=reject");
			}
			set_auth(&auth, names[j], "");
			check(&zone, names[i], &auth, 0, &one);
			set_auth(&auth, "", names[i]);
			check(&zone, names[j], &auth, 0, &other);
			if (one.result != other.result || (one.result == AUTH_DMARC_PASS) !=
			    (strcmp(suffix_organisation(suffixes, names[i]), suffix_organisation(suffixes, names[j])) == 0))
				fail_msg("%s and %s: %s, %s", names[i], names[j], auth_dmarc_result_text(one.result),
				    auth_dmarc_result_text(other.result));
			zone_clear(&zone);
		}
	}
}

static void
test_pct_divides_at_its_number(void **state)
{
	struct zone zone = ZONE_INIT;
	struct auth auth = { 0 };
	unsigned rejected = 0;

	(void)state;
	fill(&zone);
	for (unsigned sample = 0; sample < 100; sample++) {
		struct dmarc_outcome out;

		check(&zone, "pct50.example", &auth, sample, &out);
		assert_int_equal(out.policy, sample < 50 ? P_REJ : P_QUAR);
		rejected += out.policy == P_REJ ? 1 : 0;
	}
	assert_int_equal(rejected, 50);
	zone_clear(&zone);
}

/* RFC 9989 section 4.10: never more than eight names, the first one and the last seven. */
static void
test_a_walk_is_bounded(void **state)
{
	struct zone zone = ZONE_INIT;
	struct dmarc_walk walk;
	char name[DNS_NAME_MAX + 1] = "a";

	(void)state;
	for (int i = 0; i < 100; i++)
		strcat(name, ".b");
	strcat(name, ".example.com");
	dmarc_walk(&zone.dns, name, 0, &walk);
	assert_int_equal(walk.n, DMARC_WALK_MAX);
	assert_int_equal(zone.asked, DMARC_WALK_MAX);
	assert_string_equal(walk.steps[0].name, name);
	assert_string_equal(walk.steps[1].name, "b.b.b.b.b.example.com");
	assert_string_equal(walk.steps[7].name, "com");
	dmarc_walk(&zone.dns, "Example.COM", 0, &walk);
	assert_int_equal(walk.n, 2);
	assert_string_equal(walk.steps[0].name, "example.com");
}

static void
test_names_below(void **state)
{
	(void)state;
	assert_true(dmarc_is_below("a.example", "a.example"));
	assert_true(dmarc_is_below("b.a.example", "A.example"));
	assert_false(dmarc_is_below("ba.example", "a.example"));
	assert_false(dmarc_is_below("a.example", "b.a.example"));
	assert_false(dmarc_is_below("example", "a.example"));
}

static int
set_up(void **state)
{
	struct suffix_list *list;

	(void)state;
	if (suffix_list_new(&list) != BS_OK)
		return -1;
	suffixes = list;
	*state = list;
	return 0;
}

static int
tear_down(void **state)
{
	suffix_list_free(*state);
	return 0;
}

static void
test_of_several_authors(void **state)
{
	static const struct dmarc_outcome order[] = { /* each outweighs those below it */
		{ .result = FAIL, .policy = AUTH_DMARC_P_REJECT }, { .result = FAIL, .policy = AUTH_DMARC_P_QUARANTINE },
		{ .result = AUTH_DMARC_TEMPERROR }, { .result = FAIL, .policy = AUTH_DMARC_P_NONE }, { .result = AUTH_DMARC_PERMERROR },
		{ .result = PASS, .policy = AUTH_DMARC_P_REJECT }, { .result = AUTH_DMARC_NONE },
	};
	size_t n = sizeof(order) / sizeof(order[0]);

	(void)state;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			assert_int_equal(dmarc_outweighs(&order[i], &order[j]), i < j);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_alignment_is_symmetric_and_stays_inside),
		cmocka_unit_test(test_pct_divides_at_its_number),
		cmocka_unit_test(test_a_walk_is_bounded),
		cmocka_unit_test(test_names_below),
		cmocka_unit_test(test_of_several_authors),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
