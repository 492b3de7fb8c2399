/*
 * Size and rates. Size: of what MAIL FROM declares, and at the end of what came. Rates: messages to the account in an hour, in
 * all, from one envelope sender, from one client network (strangers'); and recipients that a login of ours may send to, by the
 * login's own account's limits.
 *
 * A message counts once for an account, when its first recipient is named, and a login's recipient when it is named. Nothing is
 * given back: what a later check refuses was asked of us all the same. What an earlier check refuses is not counted, so that
 * nobody uses up an account's rate with mail that block lists keep out.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "address.h"
#include "check.h"
#include "ledger.h"
#include "network.h"
#include "sender.h"

#define DEADLINE_MS 2000

struct counting {
	struct ledger_limit limits[LEDGER_LIMITS_MAX];
	const char *what[LEDGER_LIMITS_MAX]; /* for the reason */
	size_t n;
	enum bs_err err;
};

/* limit 0: none. */
static void
add(struct check_call *call, struct counting *counting, int64_t limit, const char *what, const char *who, const char *whom)
{
	if (limit == 0 || counting->err != BS_OK)
		return;
	counting->limits[counting->n].limit = limit;
	counting->what[counting->n] = what;
	counting->err = ledger_key(call->services->ledger, what, who, whom, "", counting->limits[counting->n].id);
	counting->n++;
}

/* Who takes it for a hit defers, as for a rate that is passed: nobody has passed any. */
static void
set_down(struct finding *finding, const char *source, enum bs_err err)
{
	finding->outcome = CHECK_DOWN;
	finding_reason(finding, "%s: %s", source, bs_err_text(err));
	finding_reply(finding, "451", "4.3.0", "Messages can't be counted now, try again later");
}

static void
count(struct check_call *call, struct counting *counting)
{
	const struct session *session = call->session;
	struct finding *finding = call->finding;
	size_t over = 0;
	enum bs_err err = counting->err;

	if (err == BS_OK)
		err = ledger_count(call->services->ledger, counting->limits, counting->n, session->msg.now_s, session->dry,
		    call->deadline_ms, &over);
	if (err != BS_OK) {
		set_down(finding, "ledger", err);
	} else if (over < counting->n) {
		finding->outcome = CHECK_HIT;
		finding_reason(finding, "%s: more than %" PRId64 " in an hour", counting->what[over], counting->limits[over].limit);
		finding_reply(finding, "452", "4.7.1", "Too many messages in an hour, try again later");
	} else {
		finding->outcome = CHECK_CLEAN;
	}
}

static bool
is_too_large(struct finding *finding, const struct bs_policy *policy, uint64_t size)
{
	if (policy->size_max == 0 || size <= (uint64_t)policy->size_max)
		return false;
	finding->outcome = CHECK_HIT;
	finding_reason(finding, "%" PRIu64 " bytes of at most %" PRId64, size, policy->size_max);
	finding_reply(finding, "552", "5.3.4", "Message is larger than the %" PRId64 " bytes that this mailbox takes", policy->size_max);
	return true;
}

/* The account of a login, in whatever case and with whatever extension it was named. */
static void
account_of(const char *login, char out[BS_ADDRESS_MAX + 1])
{
	char clean[BS_ADDRESS_MAX + 1];

	if (bs_address_parse(login, clean) == BS_OK)
		bs_address_base(clean, out);
	else
		(void)snprintf(out, BS_ADDRESS_MAX + 1, "%s", login);
}

/* A login sends to one more. */
static void
rcpt(struct check_call *call)
{
	struct session *session = call->session;
	char account[BS_ADDRESS_MAX + 1];
	struct message *msg = &session->msg;
	struct counting counting = { 0 };
	enum bs_err err = BS_OK;

	if (session_is_inbound(session) || strchr(session->auth_login, '@') == NULL)
		return;
	if (msg->login == NULL)
		err = resolver_get(call->services->resolver, session->auth_login, call->deadline_ms, &msg->login);
	if (err != BS_OK) {
		set_down(call->finding, "login", err);
		return;
	}
	if (msg->login->policy->check[BS_CHECK_LIMITS].hit == BS_HIT_OFF || msg->login->policy->rate_login == 0)
		return;
	if (call->services->ledger == NULL)
		counting.err = BS_ERR_UNAVAIL;
	account_of(session->auth_login, account);
	add(call, &counting, msg->login->policy->rate_login, "login", account, "");
	count(call, &counting);
}

static void
target(struct check_call *call)
{
	const struct bs_policy *policy = call->policy;
	struct session *session = call->session;
	char account[BS_ADDRESS_MAX + 1], sender[SENDER_MAX], client[NETWORK_TEXT_MAX];
	struct counting counting = { 0 };
	struct network_addr addr;

	if (is_too_large(call->finding, policy, session->msg.size_declared))
		return;
	if (policy->rate_account == 0 && policy->rate_sender == 0 && policy->rate_client == 0)
		return;
	if (call->services->ledger == NULL)
		counting.err = BS_ERR_UNAVAIL;
	bs_address_base(call->final->target->address, account);
	sender_lower(session->msg.sender, sender);
	add(call, &counting, policy->rate_account, "account", account, "");
	add(call, &counting, policy->rate_sender, "sender", account, sender);
	if (session_is_inbound(session) && !check_is_trusted(call) && network_addr(session->client_addr, &addr)) {
		network_text(&addr, client);
		add(call, &counting, policy->rate_client, "client", account, client);
	}
	if (counting.n > 0 || counting.err != BS_OK)
		count(call, &counting);
}

/* Nothing to be seen in it: a check that takes the body has its bytes counted. */
static void
body(struct check_call *call)
{
	(void)call;
}

/* Accounts differ in what is too large, so that each gets a finding of its own. */
static void
end(struct check_call *call)
{
	struct message *msg = &call->session->msg;

	for (size_t i = 0; i < msg->n_finals; i++) {
		struct finding finding = { .id = BS_CHECK_LIMITS };

		if (is_too_large(&finding, msg->finals[i]->target->policy, msg->header_bytes + msg->body_bytes) &&
		    session_keep_finding(&msg->finals[i]->found, &finding) != BS_OK)
			msg->no_memory = true;
	}
}

const struct check check_limits = {
	.id = BS_CHECK_LIMITS,
	.deadline_ms = DEADLINE_MS,
	.rcpt = rcpt,
	.target = target,
	.body = body,
	.end = end,
};
