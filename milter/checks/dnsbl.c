/*
 * Block and allow lists (dnsbl.h). Asked as early as each thing is known (the client's address at connect, HELO's and the
 * sender's domain as they come), waited for when the first account wants to know. The sum of all weights against the
 * account's dnsbl.score: a hit if it reaches that, whatever those lists might have said that did not answer; down if it
 * depends on them. Block lists count against whoever names a domain; allow lists count for it only where SPF says that the client
 * may use the name: anybody can say HELO and MAIL FROM. SPF that can't be asked is silent as a list is.
 */
#include "dnsbl.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "auth_spf.h"
#include "check.h"
#include "sender.h"
#include "settings.h"

/* Of a session, and likewise of a message. */
struct memory {
	struct dnsbl_look *client, *helo;    /* under way */
	struct dnsbl_score score, of_helo; /* of those that were waited for */
};
struct memory_of_message {
	struct dnsbl_look *sender;
	struct dnsbl_score score;
};

static void *
need(void **state, size_t size)
{
	if (*state == NULL)
		*state = calloc(1, size);
	return *state;
}

static void
forget_session(void *state)
{
	struct memory *memory = state;

	dnsbl_drop(memory->client);
	dnsbl_drop(memory->helo);
	free(memory);
}

static void
forget_message(void *state)
{
	struct memory_of_message *memory = state;

	dnsbl_drop(memory->sender);
	free(memory);
}

static void
connect_(struct check_call *call)
{
	struct memory *memory;
	struct network_addr addr;

	if (call->services->dnsbl == NULL || check_is_trusted(call) || !network_addr(call->session->client_addr, &addr))
		return;
	memory = need(&call->session->state[BS_CHECK_DNSBL], sizeof(*memory));
	if (memory != NULL)
		memory->client = dnsbl_begin_client(call->services->dnsbl, call->services->dns, &addr);
}

static void
helo(struct check_call *call)
{
	struct memory *memory = call->session->state[BS_CHECK_DNSBL];

	if (memory == NULL)
		return;
	/* Said again, it counts once, and another name instead of it. */
	dnsbl_drop(memory->helo);
	memory->of_helo = (struct dnsbl_score){ 0 };
	memory->helo = dnsbl_begin_domain(call->services->dnsbl, call->services->dns, call->session->helo);
}

static void
mail(struct check_call *call)
{
	struct memory_of_message *memory;
	const char *at = strrchr(call->session->msg.sender, '@');

	if (call->session->state[BS_CHECK_DNSBL] == NULL || at == NULL || strcasecmp(at + 1, call->session->helo) == 0)
		return;
	memory = need(&call->session->msg.state[BS_CHECK_DNSBL], sizeof(*memory));
	if (memory != NULL)
		memory->sender = dnsbl_begin_domain(call->services->dnsbl, call->services->dns, at + 1);
}

static enum spf_result
spf_of_sender(struct check_call *call)
{
	int64_t deadline_ms = check_until_ms(call, call->services->settings->spf_timeout_ms);

	return auth_spf_mailfrom(call->services, call->session, deadline_ms)->result;
}

/* Where both are one name, either proves it. */
static enum spf_result
spf_of_helo(struct check_call *call)
{
	int64_t deadline_ms = check_until_ms(call, call->services->settings->spf_timeout_ms);
	enum spf_result sender = SPF_NONE, helo;

	if (strcasecmp(sender_domain(call->session->msg.sender), call->session->helo) == 0)
		sender = spf_of_sender(call);
	if (sender == SPF_PASS)
		return sender;
	helo = auth_spf_helo(call->services, call->session, deadline_ms)->result;
	return helo != SPF_PASS && sender == SPF_TEMPERROR ? sender : helo;
}

/* part is a copy: what counts of it is each message's. SPF is asked for where it makes a difference. */
static void
add_name(struct check_call *call, struct dnsbl_score part, enum spf_result (*spf)(struct check_call *call), struct dnsbl_score *sum)
{
	enum spf_result result = dnsbl_has_credit(&part) ? spf(call) : SPF_PASS;

	if (result == SPF_TEMPERROR)
		dnsbl_doubt_credit(&part);
	else if (result != SPF_PASS)
		dnsbl_take_credit(&part);
	dnsbl_add(sum, &part);
}

static void
collect(struct check_call *call, struct dnsbl_score *out)
{
	struct memory *memory = call->session->state[BS_CHECK_DNSBL];
	struct memory_of_message *more = call->session->msg.state[BS_CHECK_DNSBL];

	dnsbl_finish(memory->client, &memory->score);
	dnsbl_finish(memory->helo, &memory->of_helo);
	memory->client = memory->helo = NULL;
	*out = memory->score;
	add_name(call, memory->of_helo, spf_of_helo, out);
	if (more == NULL)
		return;
	dnsbl_finish(more->sender, &more->score);
	more->sender = NULL;
	add_name(call, more->score, spf_of_sender, out);
}

static void
target(struct check_call *call)
{
	struct finding *finding = call->finding;
	int64_t limit = call->policy->dnsbl_score;
	struct dnsbl_score score;

	if (call->session->state[BS_CHECK_DNSBL] == NULL)
		return;
	collect(call, &score);
	if (score.lowest >= limit) {
		finding->outcome = CHECK_HIT;
		finding_reply(finding, "550", "5.7.1", "Client %s is on block lists: %s", call->session->client_addr, score.text);
	} else if (score.highest >= limit) {
		finding->outcome = CHECK_DOWN;
	} else {
		finding->outcome = CHECK_CLEAN;
	}
	finding_reason(finding, "score %lld of %lld%s%s%s%s", (long long)score.sum, (long long)limit,
	    score.text[0] != '\0' ? ": " : "", score.text, score.down[0] != '\0' ? "; no answer: " : "", score.down);
}

const struct check check_dnsbl = {
	.id = BS_CHECK_DNSBL,
	.deadline_ms = 10000, /* the questions have their own */
	.strangers = true,
	.connect = connect_,
	.helo = helo,
	.mail = mail,
	.target = target,
	.free_session = forget_session,
	.free_message = forget_message,
};
