/*
 * mailtally: how many messages of some mail files are sealed and how many lie there as text.
 *
 *     struct mailtally tally = { 0 };
 *     mailtally_add(&tally, path);
 *
 * With a record each sealed message is read whole: whether it is what was written, and to the account's active key. One thread.
 */
#ifndef CTL_MAILTALLY_H
#define CTL_MAILTALLY_H

#include <jansson.h>

#include "record.h"

struct mailtally {
	const struct bs_record *record; /* or NULL: the beginning of each says enough */
	json_int_t sealed, plain;
	json_int_t unknown; /* files of which the mails can't be told */
	/* Of the sealed, with a record: */
	json_int_t other;   /* not to the account's active key */
	json_int_t damaged;
	int fd;             /* of the file under way */
};

/* What is gone is passed over. */
void mailtally_add(struct mailtally *tally, const char *path);

#endif
