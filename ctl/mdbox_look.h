/*
 * mdbox_look: what lies in a folder that has an mdbox in it, or is one: how its mails are stored, and what Dovecot would not carry over from it.
 *
 *     struct mdbox_look look = { .tally = { .record = record }, .strict = true };
 *     err = mdbox_look(&look, folder);                  // BS_ERR_BUSY: a signal ended it
 */
#ifndef CTL_MDBOX_LOOK_H
#define CTL_MDBOX_LOOK_H

#include <time.h>

#include "mailtally.h"
#include "swap.h"

struct mdbox_look {
	struct mailtally tally;
	uint64_t bytes;           /* of the files that hold mails */
	time_t since;             /* files that were not written to since then are left out */
	bool strict;              /* to look for what is foreign, the first of it */
	const char *foreign_what; /* what it is; NULL: there is none */
	char foreign[SWAP_PATH_MAX];
};

enum bs_err mdbox_look(struct mdbox_look *look, char *folder) BS_MUST_USE;

#endif
