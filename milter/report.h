/*
 * report: the milter's own JSON: the log line of a message, the status of the process, and the request on the control
 * socket. All of libjansson is in its files.
 *
 * The log line is written at level info as "message {...}", one for each transaction, refused and aborted ones too. Of
 * a message with so many recipients that the line would be cut, the recipients go on in further lines: all carry the
 * same queue id (or, without one, sender and client) and "part": [this one, of so many].
 *
 *     report_message(session, REPORT_ACCEPTED, &verdict);
 */
#ifndef MILTER_REPORT_H
#define MILTER_REPORT_H

#include "counters.h"
#include "dns_unbound.h"
#include "dnsbl.h"
#include "ledger.h"
#include "err.h"
#include "flight.h"
#include "pool.h"
#include "resolve.h"
#include "session.h"
#include "verdict.h"

enum report_outcome { REPORT_ACCEPTED, REPORT_REJECTED, REPORT_DEFERRED, REPORT_DISCARDED, REPORT_ABORTED };

/* verdict: of the message at its end; NULL where it did not come that far. */
void report_message(const struct session *session, enum report_outcome outcome, const struct verdict *verdict);

struct report_status {
	struct counters *counters;
	struct flight_stats flight;
	struct pool_stats pool;
	struct resolver_stats resolver;
	struct dns_unbound_stats dns; /* all 0 where nobody is asked */
	struct dnsbl_state lists[DNSBL_LISTS_MAX];
	size_t n_lists;
	struct ledger_stats ledger; /* all 0 without a trace key */
	int64_t uptime_s;
};
/* One line of JSON without a line break, for free(); NULL when out of memory. */
char *report_status(const struct report_status *status);
/* {"ok":false,"error":text} */
char *report_error(const char *text);

#define REPORT_RECIPIENTS_MAX 20
#define REPORT_EXPLAIN_MAX (64 * 1024 * 1024)

enum report_op { REPORT_OP_STATUS, REPORT_OP_EXPLAIN };

/* A question on the control socket; but for op, what an explain asks for (control.h). */
struct report_request {
	enum report_op op;
	char from[321], client[64], client_name[256], helo[256], login[256];
	char rcpt[REPORT_RECIPIENTS_MAX][321];
	size_t n_rcpt;
	int64_t at_s;  /* 0: now */
	uint64_t size; /* bytes of the message that follows the line */
};
/* BS_ERR_FORMAT: no JSON object, BS_ERR_NOENT: no such operation, BS_ERR_LIMIT: something in it is too long or too many. */
enum bs_err report_request(const char *line, size_t len, struct report_request *out) BS_MUST_USE;

/* A change that a dry run would have made. */
struct report_change {
	const char *what; /* "insert", "delete", "change", "hold" */
	unsigned index;
	char *name, *value;
};
/* The answer to an explain: one line of JSON, for free(). */
char *report_explain(const struct session *session, enum report_outcome outcome, const struct verdict *verdict,
    const struct report_change *changes, size_t n_changes);

#endif
