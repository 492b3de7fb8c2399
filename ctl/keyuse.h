/*
 * keyuse: which of an account's keys its mail is sealed to, found by a look at every mail below some folders.
 *
 * Made for who would throw keys away: whatever can't be told for sure is counted as unknown and said on standard error, a
 * symbolic link that leads to folders which are not looked at, too. A mail that names none of the keys is believed only if its
 * digest is right. One thread; the folders are not changed.
 *
 *     struct keyuse use = { .record = &record, .keys = keys, .count = n, .progress = ctl_progress_init(given) };
 *     rc = keyuse_look(&use, folders, n_folders);       // an exit status; use.unknown may still be more than 0
 */
#ifndef CTL_KEYUSE_H
#define CTL_KEYUSE_H

#include "ctl.h"
#include "keyclient_slots.h"
#include "mailfile.h"
#include "progress.h"

struct keyuse {
	/* the question: borrowed */
	const struct bs_record *record;
	const struct bs_key_info *keys;
	size_t count;
	struct ctl_progress progress;
	/* the answer, and what the look needs */
	json_int_t needed[BS_RING_MAX]; /* messages that are sealed to each key */
	json_int_t messages, own;       /* all; those that are sealed to one of the keys */
	json_int_t unknown;
	char *const *folders;
	size_t n;
	int fd;
};

/* CTL_TEMPFAIL: ended by a signal (background.h). It was said why. */
int keyuse_look(struct keyuse *use, char *const *folders, size_t n);
/* Does path lie in folder, or is it that? Links in both are followed; false also where one of them can't be found. */
bool keyuse_lies_below(const char *path, const char *folder);

#endif
