#include "auth_spf.h"

#include <string.h>
#include <strings.h>

#include "check.h"
#include "settings.h"

static void
evaluate(const struct check_services *services, const struct session *session, enum spf_identity identity,
    int64_t deadline_ms, struct auth_spf *out)
{
	struct spf_request request = {
		.dns = services->dns,
		.identity = identity,
		.client = session->client_addr,
		.helo = session->helo,
		.sender = session->msg.sender,
		.receiver = services->settings->authserv_id,
		.deadline_ms = deadline_ms,
	};
	struct spf_outcome outcome;

	spf_check(services->settings->spf, &request, &outcome);
	*out = (struct auth_spf){ .done = true, .result = outcome.result };
	auth_clean(out->domain, sizeof(out->domain), outcome.domain);
	auth_clean(out->reason, sizeof(out->reason), outcome.reason);
	auth_clean(out->explanation, sizeof(out->explanation), outcome.explanation);
}

const struct auth_spf *
auth_spf_mailfrom(const struct check_services *services, struct session *session, int64_t deadline_ms)
{
	struct auth_spf *spf = &session->msg.auth.mailfrom;

	if (!spf->done)
		evaluate(services, session, SPF_ID_MAILFROM, deadline_ms, spf);
	return spf;
}

/* What was found for this HELO before; a failure of the DNS is no finding. */
static bool
is_remembered(const struct session *session)
{
	const struct auth_spf *spf = &session->helo_spf;

	return spf->done && spf->result != SPF_TEMPERROR && strcasecmp(spf->domain, session->helo) == 0;
}

const struct auth_spf *
auth_spf_helo(const struct check_services *services, struct session *session, int64_t deadline_ms)
{
	struct auth_spf *spf = &session->msg.auth.helo;

	if (spf->done)
		return spf;
	if (!is_remembered(session))
		evaluate(services, session, SPF_ID_HELO, deadline_ms, &session->helo_spf);
	*spf = session->helo_spf;
	return spf;
}
