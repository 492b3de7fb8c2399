/*
 * dmarc: does the domain in From: vouch for the message? A hit does what that domain asks for at the most: nothing for
 * p=none, the folder for p=quarantine. A From: that can't be read, or several of them, is what forgers write: the folder,
 * too. Of several authors' domains the strictest failing one counts (RFC 7489 section 6.6.1; dmarc_outweighs()).
 */
#include "dmarc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "auth_spf.h"
#include "check.h"
#include "dmarc_row.h"
#include "dmarc_stats.h"
#include "from.h"
#include "ledger.h"
#include "settings.h"

#define DEADLINE_MS 8000 /* SPF, if nobody has asked for it before, and the records */

/* What the header says. */
struct authors {
	unsigned fields; /* From fields */
	bool bad;        /* one of them can't be read to its end */
	struct from_domains domains;
};

/*
 * At the first recipient who wants it: before the header comes. What a trusted host relays has that host's address, which
 * SPF can't pass: a policy of reject would refuse everything unsigned that a backup MX has taken for us.
 */
static void
target(struct check_call *call)
{
	void **state = &call->session->msg.state[BS_CHECK_DMARC];

	if (*state == NULL && !check_is_trusted(call))
		*state = calloc(1, sizeof(struct authors));
}

static void
header(struct check_call *call)
{
	struct authors *authors = call->session->msg.state[BS_CHECK_DMARC];

	if (authors == NULL || strncasecmp(call->name, "From", 4) != 0 || call->name[4 + strspn(call->name + 4, " \t")] != '\0')
		return;
	authors->fields++;
	if (from_domains(call->value, &authors->domains) != BS_OK)
		authors->bad = true;
}

/*
 * The message's place among 100: keyed, so that nobody can write a message for the part that is spared, and the same on all nodes
 * when it comes again. Without a trace key, or of texts too long for it, by chance.
 */
static unsigned
sample(const struct check_services *services, const struct session *session)
{
	uint8_t hash[BS_LEDGER_ID_LEN];
	uint32_t number;

	if (services->ledger == NULL || ledger_key(services->ledger, "dmarc sample", session->msg.message_id, session->msg.sender,
	    session->client_addr, hash) != BS_OK)
		bs_random(hash, sizeof(hash));
	memcpy(&number, hash, sizeof(number));
	return number % 100;
}

/* Evaluates each author's domain; *out and *domain are those of the one that counts. */
static void
evaluate(struct check_call *call, const struct authors *authors, struct dmarc_outcome *out, const char **domain)
{
	struct session *session = call->session;
	struct dmarc_request request = { .dns = call->services->dns, .suffixes = call->services->suffixes,
		.auth = &session->msg.auth, .sample = sample(call->services, session), .deadline_ms = call->deadline_ms };
	struct dmarc_outcome one;

	(void)auth_spf_mailfrom(call->services, session, call->deadline_ms);
	for (size_t i = 0; i < authors->domains.n; i++) {
		dmarc_check(&request, authors->domains.name[i], &one);
		if (i > 0 && !dmarc_outweighs(&one, out))
			continue;
		*out = one;
		*domain = authors->domains.name[i];
	}
}

static void
keep(struct auth_dmarc *to, const struct dmarc_outcome *outcome, const char *domain)
{
	*to = (struct auth_dmarc){ .done = true, .result = outcome->result, .policy = outcome->policy,
		.spf_aligned = outcome->spf_aligned, .dkim_aligned = outcome->dkim_aligned };
	auth_clean(to->from, sizeof(to->from), domain);
	auth_clean(to->org, sizeof(to->org), outcome->where);
	auth_clean(to->reason, sizeof(to->reason), outcome->reason);
}

static void
set_hit(struct finding *finding, const struct dmarc_outcome *outcome, const char *domain)
{
	finding->outcome = CHECK_HIT;
	finding->most = outcome->policy == AUTH_DMARC_P_REJECT ? BS_HIT_OFF : BS_HIT_FOLDER;
	finding_reply(finding, "550", "5.7.1", "Rejected by the DMARC policy of %s", domain);
}

static void
judge(struct finding *finding, const struct dmarc_outcome *outcome, const char *domain)
{
	finding->outcome = CHECK_CLEAN;
	if (outcome->result == AUTH_DMARC_TEMPERROR)
		finding->outcome = CHECK_DOWN;
	else if (outcome->result == AUTH_DMARC_FAIL && outcome->policy != AUTH_DMARC_P_NONE)
		set_hit(finding, outcome, domain);
	finding_reason(finding, "%s: %s", domain, outcome->reason);
}

/* For the report that the author's domain may want. */
static void
count(struct check_call *call, const struct dmarc_outcome *outcome, const char *domain)
{
	struct bs_dmarc_row row;

	if (call->services->stats == NULL || call->session->dry || !outcome->found || outcome->result == AUTH_DMARC_TEMPERROR)
		return;
	dmarc_row_of(call->session, outcome, domain, &row);
	dmarc_stats_add(call->services->stats, &row);
}

/* No author whom anybody could vouch for, or too many. */
static void
judge_unreadable(struct finding *finding, struct auth_dmarc *to, const struct authors *authors)
{
	const char *what = authors->fields == 0 ? "no From" : authors->fields > 1 ? "several From fields" :
	    "From can't be read";

	if (finding->outcome == CHECK_HIT)
		return;
	if (!to->done || to->result != AUTH_DMARC_FAIL) {
		to->done = true;
		to->result = AUTH_DMARC_PERMERROR;
		auth_clean(to->reason, sizeof(to->reason), what);
	}
	finding->outcome = authors->fields == 0 ? CHECK_CLEAN : CHECK_HIT;
	finding->most = BS_HIT_FOLDER;
	finding_reason(finding, "%s", what);
}

static void
end(struct check_call *call)
{
	const struct authors *authors = call->session->msg.state[BS_CHECK_DMARC];
	struct auth_dmarc *to = &call->session->msg.auth.dmarc;
	struct dmarc_outcome outcome;
	const char *domain = "";

	if (check_is_trusted(call))
		return;
	if (authors == NULL) {
		call->finding->outcome = CHECK_DOWN;
		finding_reason(call->finding, "out of memory");
		return;
	}
	if (authors->domains.n > 0) {
		evaluate(call, authors, &outcome, &domain);
		keep(to, &outcome, domain);
		judge(call->finding, &outcome, domain);
		count(call, &outcome, domain);
	}
	if (authors->fields != 1 || authors->bad)
		judge_unreadable(call->finding, to, authors);
}

const struct check check_dmarc = {
	.id = BS_CHECK_DMARC,
	.deadline_ms = DEADLINE_MS,
	.strangers = true,
	.needs = CHECK_BIT(BS_CHECK_DKIM),
	.target = target,
	.header = header,
	.end = end,
	.free_message = free,
};
