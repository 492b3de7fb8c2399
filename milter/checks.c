#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "auth_spf.h"
#include "check.h"
#include "log.h"
#include "settings.h"
#include "sock.h"

const struct check *const checks[] = {
	&check_recipient,
	&check_dnsbl,
	&check_spf,
	&check_limits,
	&check_greylist,
	&check_dkim,
	&check_dmarc,
	NULL,
};

bool
check_is_trusted(const struct check_call *call)
{
	struct network_addr addr;

	return !network_addr(call->session->client_addr, &addr) || networks_hold(&call->services->settings->trusted, &addr);
}

bool
check_may_bounce(const struct check_call *call)
{
	struct session *session = call->session;

	if (session->msg.sender[0] == '\0')
		return false;
	if (!session_is_inbound(session))
		return true;
	if (check_is_trusted(call))
		return false;
	(void)auth_spf_mailfrom(call->services, session, check_until_ms(call, call->services->settings->spf_timeout_ms));
	return auth_return_path_verified(&session->msg.auth, session->msg.sender);
}

int64_t
check_until_ms(const struct check_call *call, int64_t ms)
{
	int64_t until_ms = bs_now_ms() + ms, rcpt_ms = call->session->msg.rcpt_until_ms;

	return rcpt_ms != 0 && rcpt_ms < until_ms ? rcpt_ms : until_ms;
}

/* Some of what is said comes from strangers, and '%' is special to libmilter. */
static void
make_safe(char *text, char also)
{
	for (; *text != '\0'; text++)
		if (*text < 0x20 || *text >= 0x7f || *text == also)
			*text = '?';
}

void
finding_reply(struct finding *finding, const char *code, const char *status, const char *format, ...)
{
	va_list ap;

	(void)snprintf(finding->reply.code, sizeof(finding->reply.code), "%s", code);
	(void)snprintf(finding->reply.status, sizeof(finding->reply.status), "%s", status);
	va_start(ap, format);
	(void)vsnprintf(finding->reply.text, sizeof(finding->reply.text), format, ap);
	va_end(ap);
	make_safe(finding->reply.text, '%');
}

void
finding_reason(struct finding *finding, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(finding->reason, sizeof(finding->reason), format, ap);
	va_end(ap);
	make_safe(finding->reason, '?');
}

static uint64_t
now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Runs one function of one check; what it says goes to its place in found. */
static void
run_one(const struct check *check, check_fn fn, struct check_call *call, struct findings *found)
{
	struct finding finding = { .id = check->id };
	uint64_t start;

	if (fn == NULL || (check->strangers && !session_is_inbound(call->session)))
		return;
	start = now_us();
	call->finding = &finding; /* cppcheck-suppress autoVariables */
	call->deadline_ms = check_until_ms(call, check->deadline_ms);
	fn(call);
	call->finding = NULL;
	finding.us = (uint32_t)(now_us() - start);
	if (finding.outcome != CHECK_NOTHING && session_keep_finding(found, &finding) != BS_OK)
		call->session->msg.no_memory = true;
}

static bool
is_wanted(const struct session *session, const struct check *check)
{
	return (session->msg.wanted & CHECK_BIT(check->id)) != 0;
}

void
checks_connect(const struct check_services *services, struct session *session)
{
	struct check_call call = { .services = services, .session = session };

	for (size_t i = 0; checks[i] != NULL; i++)
		run_one(checks[i], checks[i]->connect, &call, &session->found);
}

void
checks_helo(const struct check_services *services, struct session *session)
{
	struct check_call call = { .services = services, .session = session };

	for (size_t i = 0; checks[i] != NULL; i++)
		run_one(checks[i], checks[i]->helo, &call, &session->found);
}

void
checks_mail(const struct check_services *services, struct session *session)
{
	struct check_call call = { .services = services, .session = session };

	for (size_t i = 0; checks[i] != NULL; i++)
		run_one(checks[i], checks[i]->mail, &call, &session->msg.found);
}

void
checks_rcpt(const struct check_services *services, struct session *session, struct recipient *recipient)
{
	struct check_call call = { .services = services, .session = session, .recipient = recipient };

	for (size_t i = 0; checks[i] != NULL; i++)
		run_one(checks[i], checks[i]->rcpt, &call, &recipient->found);
}

/* Whether the account refuses the message for what this one check said. */
static bool
is_refused(const struct finding *finding, const struct bs_policy *policy)
{
	struct verdict verdict;

	if (finding == NULL || finding->outcome == CHECK_CLEAN)
		return false;
	verdict_decide(&finding, 1, policy, &verdict);
	return verdict.action == VERDICT_REJECT;
}

void
checks_target(const struct check_services *services, struct session *session, struct recipient *recipient,
    struct final *final)
{
	struct check_call call = { .services = services, .session = session, .recipient = recipient, .final = final,
		.policy = final->target->policy };
	unsigned wanted = checks_wanted(call.policy);

	session->msg.wanted |= wanted;
	for (size_t i = 0; checks[i] != NULL; i++)
		if ((wanted & CHECK_BIT(checks[i]->id)) != 0) {
			run_one(checks[i], checks[i]->target, &call, &final->found);
			/* The others would cost time, and count what never arrives. Who wants to understand it all sees them. */
			if (!session->dry && is_refused(final->found.of[checks[i]->id], call.policy))
				break;
		}
}

void
checks_header(const struct check_services *services, struct session *session, const char *name, const char *value)
{
	struct check_call call = { .services = services, .session = session, .name = name, .value = value };

	for (size_t i = 0; checks[i] != NULL; i++)
		if (is_wanted(session, checks[i]))
			run_one(checks[i], checks[i]->header, &call, &session->msg.found);
}

void
checks_body(const struct check_services *services, struct session *session, const uint8_t *data, size_t len)
{
	struct check_call call = { .services = services, .session = session, .data = data, .len = len };

	for (size_t i = 0; checks[i] != NULL; i++)
		if (is_wanted(session, checks[i]))
			run_one(checks[i], checks[i]->body, &call, &session->msg.found);
}

void
checks_end(const struct check_services *services, struct session *session)
{
	struct check_call call = { .services = services, .session = session };

	for (size_t i = 0; checks[i] != NULL; i++)
		if (is_wanted(session, checks[i]))
			run_one(checks[i], checks[i]->end, &call, &session->msg.found);
}

bool
checks_want_body(void)
{
	for (size_t i = 0; checks[i] != NULL; i++)
		if (checks[i]->body != NULL)
			return true;
	return false;
}

unsigned
checks_wanted(const struct bs_policy *policy)
{
	unsigned wanted = 0;

	for (size_t i = 0; checks[i] != NULL; i++)
		if (policy->check[checks[i]->id].hit != BS_HIT_OFF)
			wanted |= CHECK_BIT(checks[i]->id) | checks[i]->needs;
	return wanted;
}

void
checks_forget_message(struct session *session)
{
	for (size_t i = 0; checks[i] != NULL; i++) {
		void **state = &session->msg.state[checks[i]->id];

		if (*state != NULL && checks[i]->free_message != NULL)
			checks[i]->free_message(*state);
		*state = NULL;
	}
}

void
checks_forget_session(struct session *session)
{
	for (size_t i = 0; checks[i] != NULL; i++) {
		void **state = &session->state[checks[i]->id];

		if (*state != NULL && checks[i]->free_session != NULL)
			checks[i]->free_session(*state);
		*state = NULL;
	}
}
