/*
 * progress: a line of progress on standard error that is written over, and what is said of single files beside it.
 *
 *     struct ctl_progress progress = ctl_progress_init(given);
 *     if (ctl_progress_begin(&progress))
 *         fprintf(stderr, "%lld files", n);           // at most four times a second
 *     ctl_progress_complain(&progress, path, "it is damaged");
 *     ctl_progress_clear(&progress);                  // before anything else is printed, and at the end
 */
#ifndef CTL_PROGRESS_H
#define CTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct ctl_progress {
	bool shown;
	int64_t at_ms; /* of the last line */
};

/* given: CTL_PROGRESS, CTL_QUIET; with neither there is progress where standard error is a terminal. */
struct ctl_progress ctl_progress_init(uint64_t given);
/* True: it is time for a line; the cursor is where it begins. */
bool ctl_progress_begin(struct ctl_progress *progress);
void ctl_progress_clear(const struct ctl_progress *progress);
/* "basaltctl: PATH: TEXT" on standard error. */
void ctl_progress_complain(const struct ctl_progress *progress, const char *path, const char *text);

#endif
