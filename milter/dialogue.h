/*
 * dialogue: the way of one message: transport events become facts of the session, checks run on them, verdicts become
 * answers, headers and one log line.
 *
 *     dialogue_events(&events);
 *     err = transport->run(engine, &events, &dialogue);
 */
#ifndef MILTER_DIALOGUE_H
#define MILTER_DIALOGUE_H

#include "check.h"
#include "counters.h"
#include "transport.h"

/* What all sessions share; immutable but for the counters. */
struct dialogue {
	struct check_services services;
	const char *authserv_id;
	struct counters *counters;
};

/* The app pointer is a struct dialogue. */
void dialogue_events(struct transport_events *out);

#endif
