#include "background.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IOPRIO_WHO_PROCESS 1 /* linux/ioprio.h; glibc has no function for it */
#define IOPRIO_IDLE (3 << 13)
#define IOPRIO_NONE 0

static volatile sig_atomic_t stopped;

static void
on_signal(int number)
{
	(void)number;
	stopped = 1;
}

/* Whoever waits for his mail comes first. None of this is worth failing for. */
static void
step(int nice, int io)
{
	(void)setpriority(PRIO_PROCESS, 0, nice);
	(void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, io);
}

void
ctl_background_begin(bool full_speed)
{
	struct sigaction action = { .sa_handler = on_signal };

	if (!full_speed)
		step(19, IOPRIO_IDLE);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGINT, &action, NULL);
}

void
ctl_background_hurry(void)
{
	step(0, IOPRIO_NONE);
}

bool
ctl_background_stopped(void)
{
	return stopped != 0;
}
