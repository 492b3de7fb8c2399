/*
 * explain: a message's whole way through the checks, dry: nothing is written, counted or sent; the answer says what would
 * have been done and why.
 *
 * The request comes on the control socket, the message behind it; each is run on a thread of its own, EXPLAIN_MAX of
 * them at a time, through the very events that a mail server's messages go through, with a line that records what would
 * be changed. The answer is the log line of the message as one JSON object, with "changes" to its headers; on trouble
 * {"ok":false,"error":"..."}. A message that crashes the process here does so at no other message's expense (flight.h).
 *
 *     explain_begin(&explain, &request, fd, rest, rest_len);
 */
#ifndef MILTER_EXPLAIN_H
#define MILTER_EXPLAIN_H

#include <stdatomic.h>

#include "dialogue.h"
#include "flight.h"
#include "report.h"

#define EXPLAIN_MAX 4
#define EXPLAIN_MS 120000 /* from the request to the answer */

struct explain {
	const struct dialogue *dialogue; /* whose services and checks are used; borrowed */
	struct flight *flight;           /* borrowed */
	atomic_uint running;
};

/* fd is taken. rest: the beginning of the message, as far as it has come. */
void explain_begin(struct explain *explain, const struct report_request *request, int fd, const uint8_t *rest,
    size_t rest_len);

#endif
