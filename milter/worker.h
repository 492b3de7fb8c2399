/*
 * worker: the process that does everything: look-ups, sessions, control. The supervisor starts it anew when it dies.
 *
 *     status = worker_run(&worker, ready_fd, beat);     // after the fork, as its own user
 */
#ifndef MILTER_WORKER_H
#define MILTER_WORKER_H

#include <stdatomic.h>

#include "counters.h"
#include "flight.h"
#include "settings.h"
#include "transport.h"

/* What is made before the fork and outlives the worker; all borrowed. */
struct worker {
	const struct settings *settings;
	struct counters *counters;
	struct flight *flight;
	const uint8_t *trace_key; /* NULL: none is configured */
	const struct transport *transport;
	struct transport_engine *engine;
	int map_fd, control_fd; /* listening */
};

/* Whether what the settings name can be had: the key files and the name servers' addresses. It is said in the log what is wrong. */
enum bs_err worker_check(const struct settings *settings) BS_MUST_USE;
/* As struct supervisor_job says: the exit status, after SIGTERM. */
int worker_run(const struct worker *worker, int ready_fd, atomic_uint *beat);

#endif
