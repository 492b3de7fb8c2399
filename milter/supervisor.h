/*
 * supervisor: the process that was started; it forks the one that works, and again when that dies.
 *
 * It reads nothing from anybody: it waits for signals, and for one byte that says that the worker serves. SIGTERM, SIGINT
 * and SIGHUP go on to the worker as SIGTERM, which ends both; a worker that does not end in time is killed. Sockets
 * that are open at the fork outlive the worker. A worker that never served is not started again: let a person see it.
 * Tells the service manager (sd_notify(3): READY, STOPPING, and WATCHDOG while the worker's first thread is alive).
 *
 *     status = supervisor_run(&(struct supervisor_job){ .run = work, .crashed = blame, .arg = m, .end_ms = 30000 });
 */
#ifndef MILTER_SUPERVISOR_H
#define MILTER_SUPERVISOR_H

#include <stdatomic.h>

struct supervisor_job {
	/*
	 * In the child: works until SIGTERM (blocked, to be waited for) and returns the exit status. Writes a byte to ready_fd
	 * once it serves, and adds to *beat now and then.
	 */
	int (*run)(void *arg, int ready_fd, atomic_uint *beat);
	/* In the parent, when the child died that had served. */
	void (*crashed)(void *arg);
	void *arg;
	int end_ms; /* after which a worker that was told to end is killed */
};

/* The exit status: the worker's when it ended as told or never served. */
int supervisor_run(const struct supervisor_job *job);

#endif
