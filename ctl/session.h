/*
 * session: a session with keyd for one account, as a mail program's login gets it, by what opens the account.
 *
 *     rc = ctl_open_session(ctl, address, "reseal", &session, &record);
 *     bs_keyclient_free(session);
 */
#ifndef CTL_SESSION_H
#define CTL_SESSION_H

#include "ctl.h"
#include "record.h"

/*
 * The address of word 0; asks for a password, recovery code or escrow key. service: what keyd calls it. The record is parsed, who signed it
 * is not asked: what keyd opens shows whose it is. An exit status; it was said why.
 */
int ctl_open_session(struct ctl *ctl, char address[BS_ADDRESS_MAX + 1], const char *service, struct bs_keyclient **out,
    struct bs_record *record);

#endif
