/*
 * check: the interface of one check (recipient, DNSBL, SPF, limits, greylist, DKIM, DMARC).
 *
 * A check is a constant struct check: its number, a deadline, and one function for each stage at which it has work (NULL:
 * none). Checks fill in findings, they never answer the client: verdict.h turns findings and policies into verdicts. What
 * a hit does, and what follows when a source does not answer, is each recipient's policy (common/policy.h), never the
 * check's. The stages that no check uses are never asked of the mail server.
 *
 *   connect, helo, mail   before any recipient is known: to begin what takes time (a look-up), not to wait for it
 *   rcpt                  once a RCPT TO; the finding is about the address itself
 *   target                once for each account behind it that wants the check; the finding is about that account
 *   header, body          as they pass
 *   end                   once a message; the finding is about the message, for every recipient who wants the check
 *
 * From rcpt on a check runs only where some recipient's policy asks for it, or another check that is wanted needs it. A
 * stage function runs on the session's thread, may wait until call->deadline_ms and not longer, keeps what it must remember
 * in session->state[id] or session->msg.state[id] (released by free_session and free_message), and writes nothing and
 * counts nobody in a session that is dry.
 * A new check is one file in checks/, one number and a line of items in common/policy.h, one line in checks.c.
 *
 *     static void target(struct check_call *call) { call->finding->outcome = CHECK_CLEAN; }
 *     const struct check check_example = { .id = BS_CHECK_..., .target = target, ... };
 */
#ifndef MILTER_CHECK_H
#define MILTER_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "session.h"
#include "verdict.h"

struct dkim_engine;
struct dmarc_stats;
struct dns;
struct dnsbl;
struct ledger;
struct pool;
struct quota;
struct resolver;
struct settings;
struct suffix_list;

/* What checks may ask of the process; borrowed. */
struct check_services {
	const struct settings *settings;
	struct resolver *resolver;
	struct pool *pool; /* threads with a policy store handle */
	struct dns *dns;
	struct dnsbl *dnsbl;   /* NULL: there are no lists */
	struct ledger *ledger; /* NULL: there is no trace key */
	struct quota *quota;   /* NULL: nobody is asked */
	struct dkim_engine *dkim;
	struct suffix_list *suffixes;
	struct dmarc_stats *stats; /* NULL: none are kept */
};

struct check_call {
	const struct check_services *services;
	struct session *session;
	struct recipient *recipient;    /* at rcpt and target, else NULL */
	const struct final *final;      /* at target, else NULL */
	const struct bs_policy *policy; /* at rcpt and target: whose finding it is; else NULL */
	int64_t deadline_ms;
	struct finding *finding; /* zeroed, with id set: the function fills in the rest; nothing: leaves it */
	/* At header and body: what arrived; else NULL. */
	const char *name, *value;
	const uint8_t *data;
	size_t len;
};

typedef void (*check_fn)(struct check_call *call);

struct check {
	enum bs_check id;
	int deadline_ms;    /* of one call; 0: it waits for nothing */
	bool strangers;     /* only for clients that are not our own users */
	unsigned needs;     /* bits of other checks that must run where this one is wanted */
	check_fn connect, helo, mail, rcpt, target, header, body, end;
	void (*free_session)(void *state);
	void (*free_message)(void *state);
};
#define CHECK_BIT(id) (1u << (id))

/* All checks, in their order; the last one is followed by NULL. */
extern const struct check *const checks[];
extern const struct check check_recipient; /* checks/recipient.c, and so on */
extern const struct check check_dnsbl;
extern const struct check check_spf;
extern const struct check check_limits;
extern const struct check check_greylist;
extern const struct check check_dkim, check_dmarc;

/* Run the checks of a stage; times each and keeps its finding. */
void checks_connect(const struct check_services *services, struct session *session);
void checks_helo(const struct check_services *services, struct session *session);
void checks_mail(const struct check_services *services, struct session *session);
void checks_rcpt(const struct check_services *services, struct session *session, struct recipient *recipient);
void checks_target(const struct check_services *services, struct session *session, struct recipient *recipient,
    struct final *final);
void checks_header(const struct check_services *services, struct session *session, const char *name, const char *value);
void checks_body(const struct check_services *services, struct session *session, const uint8_t *data, size_t len);
void checks_end(const struct check_services *services, struct session *session);
/* True when some check wants the body. */
bool checks_want_body(void);
/* The checks that policy asks for, and those that they need. */
unsigned checks_wanted(const struct bs_policy *policy);
/* Release what checks keep. */
void checks_forget_message(struct session *session);
void checks_forget_session(struct session *session);

/* For checks: whether the client stands in one of the trusted networks, or has no address: it is not asked about. */
bool check_is_trusted(const struct check_call *call);
/*
 * Whether mail that is refused after RCPT comes back to who sent it: SPF passes for its sender (who is asked for, where nobody has),
 * or it is our own user's. Mail that a trusted host relays: no, its address says nothing of the sender. Mail without a sender: no,
 * there is no bounce, and what is refused would be gone.
 */
bool check_may_bounce(const struct check_call *call);
/* So long from now on, but not beyond what RCPT may take with all accounts behind the address. */
int64_t check_until_ms(const struct check_call *call, int64_t ms);
/* A reply and a reason, by printf; what is too long is cut off, what may not stand there is '?'. */
void finding_reply(struct finding *finding, const char *code, const char *status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void finding_reason(struct finding *finding, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
