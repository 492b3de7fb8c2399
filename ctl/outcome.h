/*
 * outcome: what became of a change of an account's keys that keyd did not answer, or not in time.
 *
 * The database may make it all the same, at once or later, and whoever takes away what a thief uses has to know. So the account's record
 * and slots are read before, and again after an error that leaves it open; a change that they show was made, and is BS_OK: its owner is
 * told as of any other. What became of it is said on standard error. Nothing between the three lines may return.
 *
 *     rc = outcome_begin(ctl, address, &outcome);        // an exit status; what can't be read is not changed
 *     if (rc == CTL_OK)
 *         err = outcome_end(ctl, &outcome, bs_keyclient_rotate(ctl->keyd, address, secret, 0));
 */
#ifndef CTL_OUTCOME_H
#define CTL_OUTCOME_H

#include "ctl.h"
#include "keyclient_slots.h"

struct outcome {
	const char *address; /* borrowed */
	bool known;          /* before is what was there; else keyd will say why not */
	struct bs_slot_list before;
};

int outcome_begin(struct ctl *ctl, const char *address, struct outcome *out);
/* err is the change's; frees what _begin read. Takes up to 20 s, after errors that leave it open alone. */
enum bs_err outcome_end(struct ctl *ctl, struct outcome *outcome, enum bs_err err) BS_MUST_USE;

#endif
