/* The native engine: check_host() of RFC 7208 section 4. */
#include "spf_priv.h"

#include <stdio.h>
#include <string.h>

#include "sock.h"

enum match { MATCH_NO, MATCH_YES, MATCH_TEMPERROR, MATCH_PERMERROR };

/* The record under evaluation. */
struct level {
	char domain[DNS_NAME_MAX + 1];
	struct dns_answer *answer; /* holds the record's text */
	struct spf_slice terms;
	struct spf_slice redirect, exp; /* domain-specs; len 0: none */
	unsigned depth;                 /* of includes */
};

static enum spf_result check_host(struct spf_eval *eval, const char *domain, unsigned depth);

static enum match
error(struct spf_eval *eval, enum match match, const char *domain, const char *why)
{
	(void)spf_say(eval, match == MATCH_TEMPERROR ? SPF_TEMPERROR : SPF_PERMERROR, "%s: %s", domain, why);
	return match;
}

/* A name was asked for on behalf of a term: counts it when nothing was there (section 4.6.4). */
static enum match
judge(struct spf_eval *eval, const char *name, enum dns_status status)
{
	if (status == DNS_TEMPORARY)
		return error(eval, MATCH_TEMPERROR, name,
		    bs_now_ms() >= eval->request->deadline_ms ? "time is up" : "DNS failed");
	if (status != DNS_FOUND && ++eval->out->voids > SPF_VOIDS_MAX)
		return error(eval, MATCH_PERMERROR, name, "more than 2 names that do not exist");
	return MATCH_NO;
}

/* One more term that asks the DNS. */
static bool
count_lookup(struct spf_eval *eval, const char *domain)
{
	if (++eval->out->lookups <= SPF_LOOKUPS_MAX)
		return true;
	(void)error(eval, MATCH_PERMERROR, domain, "more than 10 DNS lookups");
	return false;
}

static enum dns_status
ask(struct spf_eval *eval, const char *name, enum dns_type type, struct dns_answer **answer)
{
	return dns_ask(eval->request->dns, name, type, eval->request->deadline_ms, answer);
}

/* The name that a term is about: its domain-spec, or the record's own domain. A first %{p} asks the DNS, so it counts. */
static enum match
target(struct spf_eval *eval, const struct level *level, struct spf_slice spec, char out[DNS_NAME_MAX + 1])
{
	bool asked = eval->ptr.asked;

	if (spec.len == 0) {
		(void)snprintf(out, DNS_NAME_MAX + 1, "%s", level->domain);
		return MATCH_NO;
	}
	if (spf_macro_expand(eval, level->domain, spec, SPF_MACRO_DOMAIN, out, DNS_NAME_MAX + 1) != BS_OK)
		return error(eval, MATCH_PERMERROR, level->domain, "a macro expands to no name");
	return asked == eval->ptr.asked || count_lookup(eval, level->domain) ? MATCH_NO : MATCH_PERMERROR;
}

static unsigned
prefix(const struct spf_eval *eval, const struct spf_term *term)
{
	return eval->addr_len == 4 ? term->prefix4 : term->prefix6;
}

static enum match
match_a(struct spf_eval *eval, const struct spf_term *term, const char *name)
{
	struct dns_answer *answer = NULL;
	enum match match = MATCH_NO;

	if (dns_name_ok(name))
		match = judge(eval, name, ask(eval, name, spf_addr_type(eval), &answer));
	if (answer != NULL && spf_addr_in(eval, answer, prefix(eval, term)))
		match = MATCH_YES;
	dns_answer_unref(answer);
	return match;
}

/* The addresses of one MX host; that it has none is no void lookup of the term's. */
static enum match
match_mx_host(struct spf_eval *eval, const struct spf_term *term, const char *host)
{
	struct dns_answer *answer = NULL;
	enum match match = MATCH_NO;

	if (dns_name_ok(host) && ask(eval, host, spf_addr_type(eval), &answer) == DNS_TEMPORARY)
		return judge(eval, host, DNS_TEMPORARY);
	if (answer != NULL && spf_addr_in(eval, answer, prefix(eval, term)))
		match = MATCH_YES;
	dns_answer_unref(answer);
	return match;
}

static enum match
match_mx(struct spf_eval *eval, const struct spf_term *term, const char *name)
{
	struct dns_answer *answer = NULL;
	enum match match = MATCH_NO;

	if (dns_name_ok(name))
		match = judge(eval, name, ask(eval, name, DNS_MX, &answer));
	if (answer != NULL && answer->n > SPF_HOSTS_MAX)
		match = error(eval, MATCH_PERMERROR, name, "more than 10 MX");
	for (size_t i = 0; answer != NULL && i < answer->n && match == MATCH_NO; i++)
		match = match_mx_host(eval, term, (const char *)answer->records[i].data);
	dns_answer_unref(answer);
	return match;
}

/* Section 5.5: an error is no match; the names are asked for once, and a second ptr is no second void lookup. */
static enum match
match_ptr(struct spf_eval *eval, const char *name)
{
	bool first = !eval->ptr.asked;
	const struct spf_ptr *ptr = spf_ptr_names(eval);

	if (first && (ptr->status == DNS_NO_NAME || ptr->status == DNS_NO_DATA) &&
	    judge(eval, eval->client, ptr->status) != MATCH_NO)
		return MATCH_PERMERROR;
	for (size_t i = 0; i < ptr->n; i++)
		if (spf_ptr_under(ptr->names[i], name))
			return MATCH_YES;
	return MATCH_NO;
}

static enum match
match_exists(struct spf_eval *eval, const char *name)
{
	struct dns_answer *answer = NULL;
	enum match match = MATCH_NO;

	if (dns_name_ok(name))
		match = judge(eval, name, ask(eval, name, DNS_A, &answer));
	if (answer != NULL)
		match = MATCH_YES;
	dns_answer_unref(answer);
	return match;
}

/* Section 5.2, the table. */
static enum match
match_include(struct spf_eval *eval, const struct level *level, const char *name)
{
	switch (check_host(eval, name, level->depth + 1)) {
	case SPF_PASS:
		return MATCH_YES;
	case SPF_TEMPERROR:
		return MATCH_TEMPERROR;
	case SPF_PERMERROR:
		return MATCH_PERMERROR;
	case SPF_NONE:
		return error(eval, MATCH_PERMERROR, name, "included, but has no SPF record");
	default:
		return MATCH_NO;
	}
}

/* Terms that ask the DNS. */
static enum match
match_lookup(struct spf_eval *eval, const struct level *level, const struct spf_term *term)
{
	char name[DNS_NAME_MAX + 1];

	if (!count_lookup(eval, level->domain))
		return MATCH_PERMERROR;
	if (target(eval, level, term->domain, name) != MATCH_NO)
		return MATCH_PERMERROR;
	switch (term->kind) {
	case SPF_INCLUDE:
		return match_include(eval, level, name);
	case SPF_A:
		return match_a(eval, term, name);
	case SPF_MX:
		return match_mx(eval, term, name);
	case SPF_PTR:
		return match_ptr(eval, name);
	default:
		return match_exists(eval, name);
	}
}

static enum match
match_term(struct spf_eval *eval, const struct level *level, const struct spf_term *term)
{
	switch (term->kind) {
	case SPF_ALL:
		return MATCH_YES;
	case SPF_IP4:
		return eval->addr_len == 4 && spf_addr_matches(eval, term->network, term->prefix4) ? MATCH_YES : MATCH_NO;
	case SPF_IP6:
		return eval->addr_len == 16 && spf_addr_matches(eval, term->network, term->prefix6) ? MATCH_YES : MATCH_NO;
	case SPF_REDIRECT:
	case SPF_EXP:
	case SPF_OTHER_MODIFIER:
		return MATCH_NO;
	default:
		return match_lookup(eval, level, term);
	}
}

/* Section 4.6: an error anywhere in the record is found before anything is evaluated. Notes redirect= and exp=. */
static enum spf_result
check_syntax(struct spf_eval *eval, struct level *level)
{
	struct spf_slice rest = level->terms, *modifier;
	struct spf_term term;
	enum bs_err err;

	while ((err = spf_term_next(&rest, &term)) == BS_OK) {
		if (term.kind != SPF_REDIRECT && term.kind != SPF_EXP)
			continue;
		modifier = term.kind == SPF_REDIRECT ? &level->redirect : &level->exp;
		if (modifier->len > 0)
			return spf_say(eval, SPF_PERMERROR, "%s: \"%.*s\" is there twice", level->domain,
			    term.kind == SPF_REDIRECT ? 8 : 3, term.text.at);
		*modifier = term.domain;
	}
	if (err != BS_ERR_NOENT)
		return spf_say(eval, SPF_PERMERROR, "%s: \"%.*s\" makes no sense", level->domain,
		    term.text.len < 100 ? (int)term.text.len : 100, term.text.at);
	return SPF_NEUTRAL;
}

/* Section 4.5: picks the one SPF record out of the TXT records. */
static enum spf_result
select_record(struct spf_eval *eval, struct level *level)
{
	const struct dns_answer *answer = level->answer;
	size_t found = 0;

	for (size_t i = 0; i < answer->n; i++)
		if (spf_is_record(answer->records[i].data, answer->records[i].len, &level->terms))
			found++;
	if (found == 1)
		return SPF_NEUTRAL;
	if (found == 0)
		return SPF_NONE;
	return spf_say(eval, SPF_PERMERROR, "%s: more than one SPF record", level->domain);
}

/* Fetches the record of a domain and reads it through. SPF_NEUTRAL: it is there; else the result of it all. */
static enum spf_result
load(struct spf_eval *eval, struct level *level, const char *domain)
{
	enum spf_result result = SPF_NONE;

	dns_answer_unref(level->answer);
	*level = (struct level){ .depth = level->depth };
	if (!dns_name_ok(domain) || strchr(domain, '.') == NULL)
		return SPF_NONE;
	(void)snprintf(level->domain, sizeof(level->domain), "%s", domain);
	if (ask(eval, domain, DNS_TXT, &level->answer) == DNS_TEMPORARY) {
		(void)judge(eval, domain, DNS_TEMPORARY);
		return SPF_TEMPERROR;
	}
	if (level->answer != NULL)
		result = select_record(eval, level);
	return result == SPF_NEUTRAL ? check_syntax(eval, level) : result;
}

/* The record of the identity itself decided: by a term, or by none. */
static void
note_decision(struct spf_eval *eval, const struct level *level, const struct spf_term *term)
{
	struct spf_outcome *out = eval->out;

	spf_copy_printable(out->authority, sizeof(out->authority), level->domain, strlen(level->domain));
	if (term != NULL)
		spf_copy_printable(out->mechanism, sizeof(out->mechanism), term->text.at, term->text.len);
}

/* Evaluates the terms in their order. *go_on: none matched, and there is a redirect. */
static enum spf_result
evaluate(struct spf_eval *eval, const struct level *level, bool *go_on)
{
	struct spf_slice rest = level->terms;
	struct spf_term term;
	enum match match = MATCH_NO;

	*go_on = false;
	while (match == MATCH_NO && spf_term_next(&rest, &term) == BS_OK)
		match = match_term(eval, level, &term);
	if (match == MATCH_TEMPERROR || match == MATCH_PERMERROR)
		return match == MATCH_TEMPERROR ? SPF_TEMPERROR : SPF_PERMERROR;
	if (match == MATCH_YES) {
		if (level->depth == 0)
			note_decision(eval, level, &term);
		return term.result;
	}
	*go_on = level->redirect.len > 0;
	if (level->depth == 0)
		note_decision(eval, level, NULL);
	return SPF_NEUTRAL;
}

/* Section 6.1: the record that redirect= names takes the place of this one. */
static enum spf_result
follow_redirect(struct spf_eval *eval, struct level *level)
{
	char name[DNS_NAME_MAX + 1];
	enum spf_result result;

	if (!count_lookup(eval, level->domain) || target(eval, level, level->redirect, name) != MATCH_NO)
		return SPF_PERMERROR;
	result = load(eval, level, name);
	if (result == SPF_NONE)
		return spf_say(eval, SPF_PERMERROR, "%s: redirected to, but has no SPF record", name);
	return result;
}

/* Section 6.2: what cannot be had, or is not printable, is as if there were no exp=. */
static void
explain(struct spf_eval *eval, const struct level *level)
{
	struct spf_outcome *out = eval->out;
	struct dns_answer *answer = NULL;
	char name[DNS_NAME_MAX + 1], text[SPF_TEXT_MAX];
	struct spf_slice record;

	if (spf_macro_expand(eval, level->domain, level->exp, SPF_MACRO_DOMAIN, name, sizeof(name)) != BS_OK ||
	    !dns_name_ok(name) || ask(eval, name, DNS_TXT, &answer) != DNS_FOUND || answer->n != 1)
		goto out;
	record = (struct spf_slice){ (const char *)answer->records[0].data, answer->records[0].len };
	if (!spf_macro_ok(record, SPF_MACRO_EXPLAIN) ||
	    spf_macro_expand(eval, level->domain, record, SPF_MACRO_EXPLAIN, text, sizeof(text)) != BS_OK)
		goto out;
	spf_copy_printable(out->explanation, sizeof(out->explanation), text, strlen(text));
	if (strcmp(out->explanation, text) != 0)
		out->explanation[0] = '\0';
out:
	dns_answer_unref(answer);
}

/* depth: 0 for the identity's own record, else how many includes deep. */
static enum spf_result
check_host(struct spf_eval *eval, const char *domain, unsigned depth)
{
	struct level level = { .depth = depth };
	enum spf_result result = load(eval, &level, domain);
	bool go_on = result == SPF_NEUTRAL;

	while (go_on) {
		result = evaluate(eval, &level, &go_on);
		if (go_on) {
			result = follow_redirect(eval, &level);
			go_on = result == SPF_NEUTRAL;
		}
	}
	if (result == SPF_FAIL && depth == 0 && level.exp.len > 0)
		explain(eval, &level);
	dns_answer_unref(level.answer);
	return result;
}

void
spf_native(struct spf_eval *eval)
{
	struct spf_outcome *out = eval->out;

	out->result = check_host(eval, eval->sender_domain, 0);
	if (out->result == SPF_NONE)
		(void)spf_say(eval, SPF_NONE, "%s has no SPF record", eval->sender_domain);
	else if (out->mechanism[0] != '\0')
		(void)spf_say(eval, out->result, "%s: %s matches %s", out->authority, out->mechanism, eval->client);
	else
		(void)spf_say(eval, out->result, "%s: nothing matches %s", out->authority, eval->client);
}
