#include "progress.h"

#include <stdio.h>
#include <unistd.h>

#include "ctl.h"
#include "sock.h"

#define EVERY_MS 250

struct ctl_progress
ctl_progress_init(uint64_t given)
{
	return (struct ctl_progress){ .shown = (given & CTL_PROGRESS) != 0 || ((given & CTL_QUIET) == 0 && isatty(STDERR_FILENO)) };
}

bool
ctl_progress_begin(struct ctl_progress *progress)
{
	int64_t now_ms = bs_now_ms();

	if (!progress->shown || now_ms - progress->at_ms < EVERY_MS)
		return false;
	progress->at_ms = now_ms;
	fprintf(stderr, "\r");
	return true;
}

void
ctl_progress_clear(const struct ctl_progress *progress)
{
	if (progress->shown)
		fprintf(stderr, "\r\033[K");
}

void
ctl_progress_complain(const struct ctl_progress *progress, const char *path, const char *text)
{
	ctl_progress_clear(progress);
	fprintf(stderr, "basaltctl: ");
	ctl_print_path(stderr, path);
	fprintf(stderr, ": %s\n", text);
}
