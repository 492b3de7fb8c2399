/*
 * recipient: is there such an account or alias of ours? The answer is given at RCPT, so that nobody is bounced later.
 *
 * A foreign domain passes: whether Postfix relays is Postfix's decision. A store that does not answer is DOWN.
 *
 * Of an account that exists Dovecot is asked, where that is set up, whether its mailbox has room. Who gets no answer there lets
 * the mail pass, whatever recipient.down says: the delivery finds out itself, and then the mail waits or comes back as it would
 * without us. "Full for now" (4xx) of one account behind an alias of several does not hold up the others, as long as it may come
 * back in the end; judge.c sees to it that nothing does to who did not send it.
 */
#include <string.h>

#include "address.h"
#include "check.h"
#include "quota.h"
#include "resolve.h"

#define QUOTA_MS 1000 /* of DEADLINE_MS */
#define DEADLINE_MS 2500 /* below milter_command_timeout, above the store's own statement timeout */

static void
refuse(struct finding *finding, const char *code, const char *status, const char *text)
{
	finding->outcome = CHECK_HIT;
	finding_reply(finding, code, status, "%s", text);
}

static void
set_down(struct finding *finding, enum bs_err err)
{
	refuse(finding, "451", "4.3.0", "Recipient lookup failed, try again later");
	finding->outcome = CHECK_DOWN;
	finding_reason(finding, "policy store: %s", bs_err_text(err));
}

static void
judge(struct finding *finding, const struct resolution *res)
{
	finding_reason(finding, "%s%s%s", resolve_state_text(res->state), res->why != NULL ? ": " : "",
	    res->why != NULL ? res->why : "");
	switch (res->state) {
	case RESOLVE_UNKNOWN:
		refuse(finding, "550", "5.1.1", "No such mailbox here");
		break;
	case RESOLVE_DISABLED:
		refuse(finding, "550", "5.2.1", "This mailbox is disabled");
		break;
	case RESOLVE_BROKEN:
		/* Ours to mend: the sender keeps the mail meanwhile. */
		refuse(finding, "451", "4.3.5", "This address is misconfigured, try again later");
		break;
	case RESOLVE_FOREIGN:
	case RESOLVE_DOMAIN:
	case RESOLVE_ACCOUNT:
	case RESOLVE_ALIAS:
		finding->outcome = CHECK_CLEAN;
		break;
	}
}

static void
rcpt(struct check_call *call)
{
	struct recipient *recipient = call->recipient;
	enum bs_err err;

	if (strchr(recipient->address, '@') == NULL) {
		/* "postmaster" alone (RFC 5321 section 4.5.1), or what Postfix completes with its own domain. */
		call->finding->outcome = CHECK_CLEAN;
		finding_reason(call->finding, "no domain");
		return;
	}
	err = resolver_get(call->services->resolver, recipient->address, call->deadline_ms, &recipient->res);
	if (err == BS_ERR_ARG)
		refuse(call->finding, "501", "5.1.3", "Bad recipient address");
	else if (err != BS_OK)
		set_down(call->finding, err);
	else
		judge(call->finding, recipient->res);
}

static void
target(struct check_call *call)
{
	const struct resolution *res = call->recipient->res;
	struct finding *finding = call->finding;
	struct quota_answer answer;
	char base[BS_ADDRESS_MAX + 1];

	if (call->services->quota == NULL)
		return;
	bs_address_base(call->final->target->address, base);
	quota_ask(call->services->quota, base, call->session->msg.size_declared, check_until_ms(call, QUOTA_MS), &answer);
	finding->outcome = CHECK_CLEAN;
	if (answer.state == QUOTA_UNKNOWN)
		finding_reason(finding, "quota: no answer");
	if (answer.state != QUOTA_FULL)
		return;
	finding_reason(finding, "mailbox is full: %s", answer.reply.status);
	if (answer.reply.code[0] == '4' && res->n > 1 && check_may_bounce(call))
		return;
	finding->outcome = CHECK_HIT;
	finding->reply = answer.reply;
}

const struct check check_recipient = {
	.id = BS_CHECK_RECIPIENT,
	.deadline_ms = DEADLINE_MS,
	.rcpt = rcpt,
	.target = target,
};
