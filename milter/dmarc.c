#include "dmarc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "dmarc_walk.h"

/* One evaluation. */
struct evaluation {
	const struct dmarc_request *request;
	struct dmarc_outcome *out;
	struct dmarc_walk walk; /* of the author's domain */
	const char *org;        /* its organisational domain, inside walk */
	bool spf_unknown, dkim_unknown; /* an aligned one could not be asked for */
};

static void reason(struct dmarc_outcome *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void
reason(struct dmarc_outcome *out, const char *format, ...)
{
	char text[sizeof(out->reason)];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	auth_clean(out->reason, sizeof(out->reason), text);
}

static const struct dmarc_step *
step_at(const struct dmarc_walk *walk, const char *name)
{
	for (size_t i = 0; i < walk->n; i++)
		if (strcmp(walk->steps[i].name, name) == 0 && walk->steps[i].status == DNS_FOUND)
			return &walk->steps[i];
	return NULL;
}

/* The record of the public suffix above the author's domain, which says that it is one (section 4.10.1). */
static const struct dmarc_step *
suffix_step(const struct dmarc_walk *walk)
{
	for (size_t i = 1; i < walk->n; i++)
		if (walk->steps[i].status == DNS_FOUND && walk->steps[i].record.psd == DMARC_PSD_YES)
			return &walk->steps[i];
	return NULL;
}

/* The record that rules: the author's own, the organisation's, the public suffix's. */
static const struct dmarc_step *
ruling_step(const struct evaluation *e)
{
	const struct dmarc_step *step = step_at(&e->walk, e->walk.start);

	if (step == NULL)
		step = step_at(&e->walk, e->org);
	return step != NULL ? step : suffix_step(&e->walk);
}

/* np= is for a domain that is not there at all (section 4.7). Asked only where it makes a difference. */
static enum auth_dmarc_policy
policy_below(const struct evaluation *e, const struct dmarc_record *record)
{
	struct dns_answer *answer = NULL;
	enum dns_status status;

	if (!record->has_np || record->np == record->sp)
		return record->sp;
	status = dns_ask(e->request->dns, e->walk.start, DNS_A, e->request->deadline_ms, &answer);
	dns_answer_unref(answer);
	return status == DNS_NO_NAME ? record->np : record->sp;
}

static enum auth_dmarc_policy
one_milder(enum auth_dmarc_policy policy)
{
	return policy == AUTH_DMARC_P_REJECT ? AUTH_DMARC_P_QUARANTINE : AUTH_DMARC_P_NONE;
}

/* t= of RFC 9989; pct= of RFC 7489 section 6.6.4 where a record has no t=. */
static void
set_policy(struct evaluation *e, const struct dmarc_step *step)
{
	const struct dmarc_record *record = &step->record;
	struct dmarc_outcome *out = e->out;

	out->found = true;
	out->record = *record;
	(void)snprintf(out->where, sizeof(out->where), "%s", step->name);
	out->published = step->name == e->walk.start ? record->p : policy_below(e, record);
	out->eased = record->has_t ? record->testing : e->request->sample >= record->pct;
	out->eased = out->eased && out->published != AUTH_DMARC_P_NONE;
	out->policy = out->eased ? one_milder(out->published) : out->published;
}

/* Whether no record between domain and org makes a part of the organisation one of its own. */
static bool
is_same_organisation(const struct evaluation *e, const char *domain)
{
	struct dmarc_walk walk;

	if (!dmarc_is_below(domain, e->org))
		return false;
	if (strcasecmp(domain, e->org) == 0 || dmarc_is_below(e->walk.start, domain))
		return true; /* the author's own walk has passed there */
	dmarc_walk(e->request->dns, domain, e->request->deadline_ms, &walk);
	return strcmp(dmarc_walk_organisation(&walk, e->request->suffixes), e->org) == 0;
}

/* Relaxed alignment: RFC 9989's organisation, or, where no record says otherwise by psd=, RFC 7489's. */
static bool
is_aligned(const struct evaluation *e, const char *domain, bool strict)
{
	const char *author = e->walk.start;
	char lower[DNS_NAME_MAX + 1];
	size_t n = 0;

	if (domain[0] == '\0')
		return false;
	if (strcasecmp(domain, author) == 0 || strict)
		return strcasecmp(domain, author) == 0;
	for (; n < DNS_NAME_MAX && domain[n] != '\0'; n++)
		lower[n] = (char)(domain[n] >= 'A' && domain[n] <= 'Z' ? domain[n] - 'A' + 'a' : domain[n]);
	lower[n] = '\0';
	if (is_same_organisation(e, lower))
		return true;
	for (size_t i = 0; i < e->walk.n; i++)
		if (e->walk.steps[i].status == DNS_FOUND && e->walk.steps[i].record.psd != DMARC_PSD_UNKNOWN)
			return false;
	return strcmp(suffix_organisation(e->request->suffixes, lower),
	    suffix_organisation(e->request->suffixes, author)) == 0;
}

static void
look_at_spf(struct evaluation *e)
{
	const struct auth_spf *spf = &e->request->auth->mailfrom;
	bool pass = spf->done && spf->result == SPF_PASS, unknown = spf->done && spf->result == SPF_TEMPERROR;

	if ((pass || unknown) && is_aligned(e, spf->domain, e->out->record.aspf_strict)) {
		e->out->spf_aligned = pass;
		e->spf_unknown = unknown;
	}
}

static void
look_at_dkim(struct evaluation *e)
{
	const struct auth *auth = e->request->auth;

	for (size_t i = 0; i < auth->n_dkim && !e->out->dkim_aligned; i++) {
		bool pass = auth->dkim[i].result == AUTH_DKIM_PASS, unknown = auth->dkim[i].result == AUTH_DKIM_TEMPERROR;

		if ((pass || unknown) && is_aligned(e, auth->dkim[i].domain, e->out->record.adkim_strict)) {
			e->out->dkim_aligned = pass;
			e->dkim_unknown = e->dkim_unknown || unknown;
		}
	}
}

static void
conclude(struct evaluation *e)
{
	struct dmarc_outcome *out = e->out;

	if (out->spf_aligned || out->dkim_aligned) {
		out->result = AUTH_DMARC_PASS;
		reason(out, "%s%s%s aligned", out->spf_aligned ? "SPF" : "", out->spf_aligned && out->dkim_aligned ? " and " : "",
		    out->dkim_aligned ? "DKIM" : "");
	} else if (e->spf_unknown || e->dkim_unknown) {
		out->result = AUTH_DMARC_TEMPERROR;
		reason(out, "%s can't be asked for", e->dkim_unknown ? "DKIM" : "SPF");
	} else {
		out->result = AUTH_DMARC_FAIL;
		reason(out, "neither SPF nor DKIM aligned, %s asks for %s%s", out->where,
		    auth_dmarc_policy_text(out->published),
		    !out->eased ? "" : out->record.has_t ? " in a test" : " for a part");
	}
}

void
dmarc_check(const struct dmarc_request *request, const char *domain, struct dmarc_outcome *out)
{
	struct evaluation e = { .request = request, .out = out };
	const struct dmarc_step *step;

	*out = (struct dmarc_outcome){ .result = AUTH_DMARC_NONE };
	dmarc_walk(request->dns, domain, request->deadline_ms, &e.walk);
	e.org = dmarc_walk_organisation(&e.walk, request->suffixes);
	step = ruling_step(&e);
	/* Of a walk with a gap the author's own record still rules; without one, another might stand in the gap. */
	if (dmarc_walk_failed(&e.walk) && (step == NULL || step->name != e.walk.start)) {
		out->result = AUTH_DMARC_TEMPERROR;
		reason(out, "the record can't be asked for");
		return;
	}
	if (step == NULL) {
		reason(out, "no record");
		return;
	}
	set_policy(&e, step);
	look_at_spf(&e);
	look_at_dkim(&e);
	conclude(&e);
}

static int
weight(const struct dmarc_outcome *outcome)
{
	switch (outcome->result) {
	case AUTH_DMARC_FAIL:
		return outcome->policy == AUTH_DMARC_P_REJECT ? 6 : outcome->policy == AUTH_DMARC_P_QUARANTINE ? 5 : 3;
	case AUTH_DMARC_TEMPERROR:
		return 4;
	case AUTH_DMARC_PERMERROR:
		return 2;
	case AUTH_DMARC_PASS:
		return 1;
	case AUTH_DMARC_NONE:
		break;
	}
	return 0;
}

bool
dmarc_outweighs(const struct dmarc_outcome *a, const struct dmarc_outcome *b)
{
	return weight(a) > weight(b);
}
