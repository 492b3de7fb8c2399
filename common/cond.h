/*
 * cond: condition variables that are waited for until a deadline of bs_now_ms() (sock.h), whatever is done to the clock on the wall.
 *
 *     bs_cond_init(&cond);
 *     while (!done && rc == 0)
 *         rc = bs_cond_wait_until(&cond, &lock, deadline_ms);
 */
#ifndef BASALT_COND_H
#define BASALT_COND_H

#include <pthread.h>
#include <stdint.h>

void bs_cond_init(pthread_cond_t *cond);
/* As pthread_cond_timedwait(3): lock is held; 0 (perhaps for nothing), or ETIMEDOUT: the deadline has passed. */
int bs_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline_ms);

#endif
