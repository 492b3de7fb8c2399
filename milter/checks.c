#include <time.h>

#include "check.h"
#include "session.h"
#include "sock.h"

const struct check *const checks[] = {
	&check_recipient,
	NULL,
};

static const struct verdict_policy default_policy = {
	.preference = {
		[CHECK_RECIPIENT] = CHECK_REJECT,
	},
};

const struct verdict_policy *
checks_policy(void)
{
	return &default_policy;
}

const char *
check_name(enum check_id id)
{
	for (size_t i = 0; checks[i] != NULL; i++)
		if (checks[i]->id == id)
			return checks[i]->name;
	return "?";
}

static uint64_t
now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Runs one function of one check, into its place among findings. */
static void
run_one(const struct check *check, check_fn fn, struct check_call *call, struct finding *findings)
{
	uint64_t start;

	if (fn == NULL)
		return;
	start = now_us();
	call->finding = &findings[check->id];
	call->finding->id = check->id;
	call->finding->down = check->down;
	call->deadline_ms = bs_now_ms() + check->deadline_ms;
	fn(call);
	call->finding->us += (uint32_t)(now_us() - start);
}

void
checks_connect(const struct check_services *services, struct session *session)
{
	struct check_call call = { .services = services, .session = session };

	for (size_t i = 0; checks[i] != NULL; i++)
		run_one(checks[i], checks[i]->connect, &call, session->findings);
}

void
checks_helo(const struct check_services *services, struct session *session)
{
	struct check_call call = { .services = services, .session = session };

	for (size_t i = 0; checks[i] != NULL; i++)
		run_one(checks[i], checks[i]->helo, &call, session->findings);
}

void
checks_mail(const struct check_services *services, struct session *session)
{
	struct check_call call = { .services = services, .session = session };

	for (size_t i = 0; checks[i] != NULL; i++)
		run_one(checks[i], checks[i]->mail, &call, session->msg.findings);
}

void
checks_rcpt(const struct check_services *services, struct session *session, struct recipient *recipient)
{
	struct check_call call = { .services = services, .session = session, .recipient = recipient };

	for (size_t i = 0; checks[i] != NULL; i++)
		run_one(checks[i], checks[i]->rcpt, &call, recipient->findings);
}

void
checks_header(const struct check_services *services, struct session *session, const char *name, const char *value)
{
	struct check_call call = { .services = services, .session = session, .name = name, .value = value };

	for (size_t i = 0; checks[i] != NULL; i++)
		run_one(checks[i], checks[i]->header, &call, session->msg.findings);
}

void
checks_body(const struct check_services *services, struct session *session, const uint8_t *data, size_t len)
{
	struct check_call call = { .services = services, .session = session, .data = data, .len = len };

	for (size_t i = 0; checks[i] != NULL; i++)
		run_one(checks[i], checks[i]->body, &call, session->msg.findings);
}

void
checks_end(const struct check_services *services, struct session *session)
{
	struct check_call call = { .services = services, .session = session };

	for (size_t i = 0; checks[i] != NULL; i++)
		run_one(checks[i], checks[i]->end, &call, session->msg.findings);
}

bool
checks_want_body(void)
{
	for (size_t i = 0; checks[i] != NULL; i++)
		if (checks[i]->body != NULL)
			return true;
	return false;
}
