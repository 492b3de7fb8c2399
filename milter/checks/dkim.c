/*
 * dkim: do the message's signatures fit? A hit is a message with signatures of which none passes. RFC 6376 section 6.1
 * advises to treat such a mail like an unsigned one, hence the preference "header" by default.
 */
#include "dkim.h"

#include "check.h"

#define DEADLINE_MS 5000 /* of the keys, all together, from the end of the header on */

static struct dkim_request
request_of(const struct check_call *call)
{
	return (struct dkim_request){ .dns = call->services->dns, .now_s = call->session->msg.now_s,
		.deadline_ms = call->deadline_ms };
}

/* At the first recipient who wants it: before the header comes. */
static void
target(struct check_call *call)
{
	void **state = &call->session->msg.state[BS_CHECK_DKIM];
	struct dkim_msg *msg;

	if (*state == NULL && dkim_msg_new(call->services->dkim, &msg) == BS_OK)
		*state = msg;
}

static void
header(struct check_call *call)
{
	struct dkim_msg *msg = call->session->msg.state[BS_CHECK_DKIM];

	if (msg != NULL)
		dkim_msg_header(msg, call->name, call->value);
}

static void
body(struct check_call *call)
{
	struct dkim_msg *msg = call->session->msg.state[BS_CHECK_DKIM];
	struct dkim_request request = request_of(call);

	if (msg != NULL)
		dkim_msg_body(msg, &request, call->data, call->len);
}

/* The signature that says most; neutral ones are like none at all. */
static const struct auth_dkim *
telling(const struct auth *auth)
{
	static const enum auth_dkim_result order[] = { AUTH_DKIM_PASS, AUTH_DKIM_TEMPERROR, AUTH_DKIM_FAIL, AUTH_DKIM_POLICY,
		AUTH_DKIM_PERMERROR };

	for (size_t k = 0; k < sizeof(order) / sizeof(order[0]); k++)
		for (size_t i = 0; i < auth->n_dkim; i++)
			if (auth->dkim[i].result == order[k])
				return &auth->dkim[i];
	return &auth->dkim[0];
}

static void
judge(struct finding *finding, const struct auth *auth)
{
	const struct auth_dkim *dkim = telling(auth);

	finding->outcome = CHECK_HIT;
	if (auth->n_dkim == 0) {
		finding->outcome = CHECK_CLEAN;
		finding_reason(finding, "not signed");
		return;
	}
	if (dkim->result == AUTH_DKIM_PASS || dkim->result == AUTH_DKIM_NEUTRAL)
		finding->outcome = CHECK_CLEAN;
	else if (dkim->result == AUTH_DKIM_TEMPERROR)
		finding->outcome = CHECK_DOWN;
	finding_reason(finding, "%s%s%s by %s", auth_dkim_result_text(dkim->result), dkim->reason[0] != '\0' ? ": " : "",
	    dkim->reason, dkim->domain[0] != '\0' ? dkim->domain : "nobody");
	finding_reply(finding, "550", "5.7.20", "No DKIM signature of this message is valid");
}

static void
end(struct check_call *call)
{
	struct auth *auth = &call->session->msg.auth;
	struct dkim_msg *msg = call->session->msg.state[BS_CHECK_DKIM];
	struct dkim_request request = request_of(call);

	if (msg == NULL) {
		call->finding->outcome = CHECK_DOWN;
		finding_reason(call->finding, "out of memory");
		return;
	}
	dkim_msg_end(msg, &request, auth);
	judge(call->finding, auth);
}

static void
free_message(void *state)
{
	dkim_msg_free(state);
}

const struct check check_dkim = {
	.id = BS_CHECK_DKIM,
	.deadline_ms = DEADLINE_MS,
	.strangers = true,
	.target = target,
	.header = header,
	.body = body,
	.end = end,
	.free_message = free_message,
};
