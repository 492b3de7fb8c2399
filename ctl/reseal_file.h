/*
 * reseal_file: one mail file of a Maildir or sdbox, sealed anew for the account's active key, in its place (swap.h). Its size stays, too.
 *
 *     err = reseal_file(&reseal, &file);
 */
#ifndef CTL_RESEAL_FILE_H
#define CTL_RESEAL_FILE_H

#include "keyclient.h"
#include "record.h"
#include "swap.h"

struct reseal {
	struct bs_keyclient *session; /* the account's */
	struct bs_record record;      /* with its active key */
};

/*
 * Not done: it is not sealed, or sealed to the active key already. BS_ERR_AUTH, _FORMAT, _SHORT, _VERSION: damaged, or not a file that we
 * know. BS_ERR_NOKEY, _ACCOUNT: not to be opened with this account's keys. Others: swap.h's, and keyd's: bs_keyclient_is_dead() says whether
 * the session is over.
 */
enum bs_err reseal_file(struct reseal *reseal, struct swap_file *file) BS_MUST_USE;

#endif
