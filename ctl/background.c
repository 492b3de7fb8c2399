#include "background.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IOPRIO_WHO_PROCESS 1 /* linux/ioprio.h; glibc has no function for it */
#define IOPRIO_IDLE (3 << 13)

static volatile sig_atomic_t stopped;

static void
on_signal(int number)
{
	(void)number;
	stopped = 1;
}

/* Whoever waits for his mail comes first. None of this is worth failing for. */
static void
step_back(void)
{
	(void)setpriority(PRIO_PROCESS, 0, 19);
	(void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE);
}

void
ctl_background_begin(bool full_speed)
{
	struct sigaction action = { .sa_handler = on_signal };

	if (!full_speed)
		step_back();
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGINT, &action, NULL);
}

bool
ctl_background_stopped(void)
{
	return stopped != 0;
}
