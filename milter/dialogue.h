/*
 * dialogue: the way of one message: transport events become facts of the session, checks run on them, verdicts become
 * answers, headers and one log line.
 *
 *     dialogue_events(&events);
 *     err = transport->run(engine, &events, &dialogue);
 */
#ifndef MILTER_DIALOGUE_H
#define MILTER_DIALOGUE_H

#include "carry.h"
#include "check.h"
#include "counters.h"
#include "report.h"
#include "transport.h"

/* What all sessions share; immutable but for the counters. */
struct dialogue {
	struct check_services services;
	struct carry carry;
	struct counters *counters;
	/* Told of each transaction at its end, whatever end it took. verdict: NULL where it did not come that far. */
	void (*tell)(void *ctx, const struct session *session, enum report_outcome outcome, const struct verdict *verdict);
	void *tell_ctx;
	bool dry;     /* of sessions that only look: explain.h */
	int64_t at_s; /* of such: the time to take for now, or 0 */
};

/* The app pointer is a struct dialogue. */
void dialogue_events(struct transport_events *out);

#endif
