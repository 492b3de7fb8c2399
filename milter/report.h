/*
 * report: the milter's own JSON: the log line of a message, the status of the process, and the request on the control
 * socket. All of libjansson is here.
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
#include "err.h"
#include "pool.h"
#include "resolve.h"
#include "session.h"
#include "verdict.h"

enum report_outcome { REPORT_ACCEPTED, REPORT_REJECTED, REPORT_DEFERRED, REPORT_DISCARDED, REPORT_ABORTED };

/* verdict: of the message at its end; NULL where it did not come that far. */
void report_message(const struct session *session, enum report_outcome outcome, const struct verdict *verdict);

struct report_status {
	struct counters *counters;
	struct pool_stats pool;
	struct resolver_stats resolver;
	struct dns_unbound_stats dns; /* all 0 where nobody is asked */
	int64_t uptime_s;
};
/* One line of JSON without a line break, for free(); NULL when out of memory. */
char *report_status(const struct report_status *status);
/* {"ok":false,"error":text} */
char *report_error(const char *text);

enum report_op { REPORT_OP_STATUS };
/* Reads {"op":"..."}; BS_ERR_FORMAT: no JSON object, BS_ERR_NOENT: no such operation. */
enum bs_err report_request(const char *line, size_t len, enum report_op *out) BS_MUST_USE;

#endif
