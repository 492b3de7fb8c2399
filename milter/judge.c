#include "judge.h"

#include <stdlib.h>
#include <string.h>

#include "sock.h"

#define RCPT_MS 20000 /* below milter_command_timeout, with the guard's patience before it */

static const struct smtp_reply too_many_accounts = { "452", "4.5.3", "Too many recipients" };
static const struct smtp_reply someone_is_full = { "452", "4.2.2", "A mailbox behind this address is full, try again later" };

/* What was found on the connection, the message and one more thing, in the order of the checks. */
static void
decide(const struct session *session, const struct findings *own, const struct bs_policy *policy, struct verdict *out)
{
	const struct finding *found[3 * BS_CHECK_COUNT];
	size_t n = 0;

	for (size_t i = 0; i < BS_CHECK_COUNT; i++) {
		found[n++] = session->found.of[i];
		found[n++] = session->msg.found.of[i];
		found[n++] = own->of[i];
	}
	verdict_decide(found, n, policy, out);
}

static const struct bs_policy *
policy_of(const struct recipient *recipient)
{
	static const struct bs_policy nothing_else = { .check[BS_CHECK_RECIPIENT] = { BS_HIT_REJECT, BS_DOWN_DEFER } };

	/* An address that could not be looked up has no policy but this. */
	return recipient->res != NULL ? recipient->res->policy : &nothing_else;
}

/* The verdicts of the recipient's accounts, as one. */
static enum bs_err
together(struct final *const *finals, size_t n, struct verdict *out)
{
	const struct verdict **verdicts = calloc(n + 1, sizeof(*verdicts));

	if (verdicts == NULL)
		return BS_ERR_NOMEM;
	for (size_t i = 0; i < n; i++)
		verdicts[i] = &finals[i]->verdict;
	verdict_together(verdicts, n, out);
	free(verdicts);
	return BS_OK;
}

/* Asks about each account behind the recipient; one that another recipient led to was asked already. */
static enum bs_err
judge_targets(const struct check_services *services, struct session *session, struct recipient *recipient)
{
	const struct resolution *res = recipient->res;
	size_t n_before = session->msg.n_finals;

	for (size_t i = 0; res != NULL && i < res->n; i++) {
		struct final *final;
		enum bs_err err;

		if (!res->targets[i].ours)
			continue;
		err = session_add_final(session, recipient, &res->targets[i], &final);
		if (err != BS_OK)
			return err;
		if (session->msg.n_finals > n_before) {
			n_before = session->msg.n_finals;
			checks_target(services, session, recipient, final);
		}
		decide(session, &final->found, final->target->policy, &final->verdict);
	}
	return BS_OK;
}

static bool
is_full_now(const struct verdict *refusal)
{
	return strcmp(refusal->reply.status, "5.2.2") == 0;
}

/*
 * What an account says that can't take the mail, as its mailbox is: one that never can (x.2.3, it is too large for that mailbox)
 * before one that is full now. NULL: none says so.
 */
static const struct verdict *
no_room(const struct recipient *recipient)
{
	const struct verdict *full = NULL;

	for (size_t i = 0; i < recipient->n_finals; i++) {
		const struct verdict *verdict = &recipient->finals[i]->verdict;

		if (!verdict_is_mailbox_refusal(verdict))
			continue;
		if (!is_full_now(verdict))
			return verdict;
		full = verdict;
	}
	return full;
}

/*
 * Some accounts behind an alias refuse, others do not, or some are elsewhere: RCPT is accepted, each gets his own. But a mailbox
 * that can't take it would bounce it later, and neither a folder nor throwing it away is what its owner wants: it is not ours yet
 * then, unless the bounce gets to who sent. What waiting does not mend is refused, so that his own server tells him.
 */
static enum bs_err
answer_targets(const struct check_services *services, struct session *session, struct recipient *recipient)
{
	struct check_call call = { .services = services, .session = session };
	bool others = recipient->res != NULL && recipient->n_finals < recipient->res->n;
	const struct verdict *refusal = no_room(recipient);
	struct verdict all;
	enum bs_err err = together(recipient->finals, recipient->n_finals, &all);

	if (err != BS_OK)
		return err;
	if (all.action == VERDICT_DEFER || (all.action == VERDICT_REJECT && !others))
		recipient->verdict = all;
	else if (refusal != NULL && !check_may_bounce(&call))
		recipient->verdict = is_full_now(refusal) ? (struct verdict){ .action = VERDICT_DEFER, .reply = someone_is_full } : *refusal;
	return BS_OK;
}

/*
 * What a login may send is his own account's business, not that of whom he writes to. A rate bounds only by deferring: a label or
 * a folder would mark the mail of others' mailboxes, or nothing at all where it goes elsewhere.
 */
static void
use_login_limits(const struct resolution *login, struct bs_policy *policy)
{
	policy->check[BS_CHECK_LIMITS] = login->policy->check[BS_CHECK_LIMITS];
	if (policy->check[BS_CHECK_LIMITS].hit >= BS_HIT_LABEL)
		policy->check[BS_CHECK_LIMITS].hit = BS_HIT_REJECT;
}

static void
ask_and_decide(const struct check_services *services, struct session *session, struct recipient *recipient)
{
	struct bs_policy policy;
	enum bs_err err;

	checks_rcpt(services, session, recipient);
	policy = *policy_of(recipient);
	if (session->msg.login != NULL)
		use_login_limits(session->msg.login, &policy);
	decide(session, &recipient->found, &policy, &recipient->verdict);
	if (judge_is_out(recipient))
		return;
	err = judge_targets(services, session, recipient);
	if (err == BS_OK)
		err = answer_targets(services, session, recipient);
	if (err != BS_OK)
		recipient->verdict = (struct verdict){ .action = VERDICT_DEFER, .reply = too_many_accounts };
}

void
judge_recipient(const struct check_services *services, struct session *session, struct recipient *recipient)
{
	session->msg.rcpt_until_ms = bs_now_ms() + RCPT_MS;
	ask_and_decide(services, session, recipient);
	session->msg.rcpt_until_ms = 0;
}

bool
judge_is_out(const struct recipient *recipient)
{
	return recipient->verdict.action == VERDICT_REJECT || recipient->verdict.action == VERDICT_DEFER;
}

/* The accounts that some accepted recipient leads to, each once; *foreign: some recipients lead elsewhere. */
static size_t
accounts_left(const struct message *msg, struct final **out, bool *foreign)
{
	size_t n = 0;

	*foreign = false;
	for (size_t i = 0; i < msg->n_recipients; i++) {
		const struct recipient *recipient = msg->recipients[i];

		if (judge_is_out(recipient))
			continue;
		*foreign = *foreign || recipient->res == NULL || recipient->n_finals < recipient->res->n ||
		    recipient->n_finals == 0;
		for (size_t j = 0; j < recipient->n_finals; j++) {
			size_t k = 0;

			while (k < n && out[k] != recipient->finals[j])
				k++;
			if (k == n)
				out[n++] = recipient->finals[j];
		}
	}
	return n;
}

enum bs_err
judge_message(struct session *session, struct verdict *out)
{
	struct message *msg = &session->msg;
	struct final **left = calloc(msg->n_finals + 1, sizeof(struct final *));
	bool foreign = false, verified = auth_return_path_verified(&msg->auth, msg->sender);
	size_t n;
	enum bs_err err;

	if (left == NULL)
		return BS_ERR_NOMEM;
	n = accounts_left(msg, left, &foreign);
	for (size_t i = 0; i < n; i++)
		decide(session, &left[i]->found, left[i]->target->policy, &left[i]->verdict);
	err = together(left, n, out);
	if (err == BS_OK && foreign && (out->action == VERDICT_REJECT || out->action == VERDICT_DROP))
		*out = (struct verdict){ .action = VERDICT_ACCEPT };
	for (size_t i = 0; err == BS_OK && out->action != VERDICT_REJECT && i < n; i++)
		if (!verified)
			verdict_spare(&left[i]->verdict, left[i]->target->policy);
	free(left);
	return err;
}
