/*
 * SPF (RFC 7208) of MAIL FROM and, where that does not pass, of HELO.
 *
 * fail is a hit. softfail is one that labels at the most: section 8.5 wants such mail accepted. permerror (section 8.7) is
 * treated as if nothing were published: its cause is a mistake in a record, which a sender who means ill would not make.
 * temperror: the source is down. A HELO that fails is a hit unless MAIL FROM passes: what the sender's domain vouches for
 * is not refused for its host's name.
 */
#include "auth_spf.h"
#include "check.h"
#include "settings.h"

#define DEADLINE_MS 20000 /* above any settings->spf_timeout_ms */

static void
refuse(struct check_call *call, const struct auth_spf *spf, const char *identity)
{
	const char *said = spf->explanation;

	call->finding->outcome = CHECK_HIT;
	finding_reason(call->finding, "fail: %s=%s: %s", identity, spf->domain, spf->reason);
	finding_reply(call->finding, "550", "5.7.23", "%s may not send for %s (SPF)%s%s", call->session->client_addr,
	    spf->domain, said[0] != '\0' ? "; that domain says: " : "", said);
}

/* Whoever says what of the message: MAIL FROM first. */
static void
judge(struct check_call *call, const struct auth_spf *mailfrom, const struct auth_spf *helo)
{
	struct finding *finding = call->finding;

	if (mailfrom->result == SPF_FAIL) {
		refuse(call, mailfrom, "mailfrom");
	} else if (helo != NULL && helo->result == SPF_FAIL) {
		refuse(call, helo, "helo");
	} else if (mailfrom->result == SPF_TEMPERROR) {
		finding->outcome = CHECK_DOWN;
		finding_reason(finding, "temperror: mailfrom=%s: %s", mailfrom->domain, mailfrom->reason);
	} else {
		finding->outcome = mailfrom->result == SPF_SOFTFAIL ? CHECK_HIT : CHECK_CLEAN;
		finding->most = BS_HIT_LABEL;
		finding_reason(finding, "%s: mailfrom=%s%s%s", spf_result_text(mailfrom->result), mailfrom->domain,
		    mailfrom->reason[0] != '\0' ? ": " : "", mailfrom->reason);
	}
}

static void
target(struct check_call *call)
{
	int64_t deadline_ms = check_until_ms(call, call->services->settings->spf_timeout_ms);
	const struct auth_spf *mailfrom, *helo = NULL;

	if (check_is_trusted(call))
		return;
	mailfrom = auth_spf_mailfrom(call->services, call->session, deadline_ms);
	/* Of the null sender HELO was asked about just now; where MAIL FROM decides, it would change nothing. */
	if (call->session->msg.sender[0] != '\0' && mailfrom->result != SPF_PASS && mailfrom->result != SPF_FAIL)
		helo = auth_spf_helo(call->services, call->session, deadline_ms);
	judge(call, mailfrom, helo);
}

const struct check check_spf = {
	.id = BS_CHECK_SPF,
	.deadline_ms = DEADLINE_MS,
	.strangers = true,
	.target = target,
};
