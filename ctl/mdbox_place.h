/*
 * mdbox_place: the folder of an account's mdbox, NAME in its mail home, and what stands beside it while another takes its place. Which names there are,
 * and what they are, says how far a run has come, whatever killed it:
 *
 *     NAME      NAME.basalt-old   NAME.basalt-new
 *     folder    - or file         - or folder       open: the new one is being filled
 *     file      folder            - or folder       shut: Dovecot finds no mail folder and puts deliveries off (451); nothing gets lost
 *     folder    folder            - or file         changed: the old one is to go
 *
 * Each step is one rename; those that count are on the disk before the next. As the folder's owner. Errors are BS_ERR_IO (errno).
 *
 *     mdbox_place_init(&place, home, "mail", home_fd);
 *     err = mdbox_place_shut(&place);
 *     err = mdbox_place_change(&place);      // or _reopen()
 *     err = mdbox_place_clean(&place);
 */
#ifndef CTL_MDBOX_PLACE_H
#define CTL_MDBOX_PLACE_H

#include "err.h"
#include "swap.h"

enum mdbox_state {
	MDBOX_OPEN,
	MDBOX_SHUT,
	MDBOX_CHANGED,
	MDBOX_STRANGE, /* none that a run leaves */
};

struct mdbox_place {
	char root[SWAP_PATH_MAX], old[SWAP_PATH_MAX], new[SWAP_PATH_MAX];
	int home_fd;
};

/* home_fd: the mail home, open. BS_ERR_LIMIT: the names are too long. */
enum bs_err mdbox_place_init(struct mdbox_place *place, const char *home, const char *name, int home_fd) BS_MUST_USE;
enum mdbox_state mdbox_place_state(const struct mdbox_place *place);
/* The NAME of one that a run did not come to an end with; false: there is none. */
bool mdbox_place_find(const char *home, char *name, size_t size);
/* Is there one that is shut? */
bool mdbox_place_is_shut(const char *home);

enum bs_err mdbox_place_shut(const struct mdbox_place *place) BS_MUST_USE;
enum bs_err mdbox_place_reopen(const struct mdbox_place *place) BS_MUST_USE;
/* From shut: the new folder takes the place, with the mode of the old one. All that was written to the file system is on the disk before. */
enum bs_err mdbox_place_change(const struct mdbox_place *place) BS_MUST_USE;
/* What no state needs goes: the old folder of a changed one; of an open one the file, and the new folder where that was asked. */
enum bs_err mdbox_place_clean(const struct mdbox_place *place, bool with_new) BS_MUST_USE;

#endif
