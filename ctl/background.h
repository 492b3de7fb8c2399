/*
 * background: for what works on many files beside running servers: it steps behind everybody else, and ends when it is told to.
 *
 *     ctl_background_begin(full_speed);
 *     while (!ctl_background_stopped())
 *         ...
 */
#ifndef CTL_BACKGROUND_H
#define CTL_BACKGROUND_H

#include <stdbool.h>

/* Takes SIGTERM and SIGINT from here on. full_speed: at the priority of other programs. */
void ctl_background_begin(bool full_speed);
/* Others wait for what comes now: to the front again, where that is allowed. */
void ctl_background_hurry(void);
/* One of them came. */
bool ctl_background_stopped(void);

#endif
