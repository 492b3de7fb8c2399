/*
 * key: what the files of `basaltctl key` share: how they begin, and what they say when keyd refuses.
 *
 *     rc = ctl_begin_change(ctl, address, &secret);
 *     return err == BS_OK ? CTL_OK : ctl_key_failed(err, address, secret, "adding a slot");
 */
#ifndef CTL_KEY_H
#define CTL_KEY_H

#include "ctl.h"
#include "keyclient_slots.h"

/* The address of word 0, and keyd; _change also what opens the account, to be freed. An exit status. */
int ctl_begin_key(struct ctl *ctl, char address[BS_ADDRESS_MAX + 1]);
int ctl_begin_change(struct ctl *ctl, char address[BS_ADDRESS_MAX + 1], char **secret);
bool ctl_has_slot(const struct bs_slot_list *list, enum bs_slot_kind kind);
/* Tells the owner of an escrow slot that his account has got together with its keys, unasked. False: that failed. */
bool ctl_tell_escrow(const struct ctl *ctl, const char *address);
/* Why there is no new active key (BS_ERR_LIMIT). An exit status. */
int ctl_ring_is_full(const char *address);
/* An exit status. */
int ctl_key_failed(enum bs_err err, const char *address, const char *secret, const char *what);

#endif
