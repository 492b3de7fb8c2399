/*
 * check: the interface of one check (recipient valid, and later DNSBL, SPF, limits, greylist, DKIM, virus, spam).
 *
 * A check is a constant struct check: a name, a default preference, what to do when its source is down, a deadline, and
 * one function for each stage at which it has work (NULL: none). Checks add findings to the session, they never answer
 * the client: verdict.h turns findings into verdicts. The stages that no check uses are never asked of Postfix.
 * A stage function runs on the session's thread, may block until call->deadline_ms and not longer, and keeps what it
 * must remember in the session, not in itself.
 * A new check is one file in checks/, one number in enum check_id, one line in checks.c.
 *
 *     static void rcpt(struct check_call *call) { call->finding->outcome = CHECK_CLEAN; }
 *     const struct check check_example = { .id = CHECK_..., .name = "example", .rcpt = rcpt, ... };
 */
#ifndef MILTER_CHECK_H
#define MILTER_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "verdict.h"

struct session;
struct recipient;
struct resolver;

/* What checks may ask of the process; borrowed. */
struct check_services {
	struct resolver *resolver;
};

struct check_call {
	const struct check_services *services;
	struct session *session;
	struct recipient *recipient; /* at rcpt only, else NULL */
	int64_t deadline_ms;
	struct finding *finding; /* zeroed, with id and down set: the function fills in the rest */
	/* At header and body: what arrived; else NULL. */
	const char *name, *value;
	const uint8_t *data;
	size_t len;
};

typedef void (*check_fn)(struct check_call *call);

struct check {
	enum check_id id;
	const char *name;
	enum check_preference preference; /* where neither plan nor account says otherwise */
	enum check_down down;
	int deadline_ms; /* of one call; 0: it waits for nothing */
	check_fn connect, helo, mail, rcpt, header, body, end;
};

/* All checks, in their order; the last one is followed by NULL. */
extern const struct check *const checks[];
extern const struct check check_recipient; /* checks/recipient.c */
const char *check_name(enum check_id id);
/* The verdict policy in which every check has its own default. */
const struct verdict_policy *checks_policy(void);

/* Run the checks of a stage; times each and adds its finding. recipient: at rcpt, else NULL. */
void checks_connect(const struct check_services *services, struct session *session);
void checks_helo(const struct check_services *services, struct session *session);
void checks_mail(const struct check_services *services, struct session *session);
void checks_rcpt(const struct check_services *services, struct session *session, struct recipient *recipient);
void checks_header(const struct check_services *services, struct session *session, const char *name, const char *value);
void checks_body(const struct check_services *services, struct session *session, const uint8_t *data, size_t len);
void checks_end(const struct check_services *services, struct session *session);
/* True when some check wants the body. */
bool checks_want_body(void);

#endif
