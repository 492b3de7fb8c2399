/*
 * exchange: one X25519 exchange for the mails that this process seals to one account within a second.
 *
 * The exchange is most of what sealing a small mail costs, and most of what the vault pays to open one. Mails that come in
 * bursts (a delivery to many folders, an import, a sync, a busy list) share theirs: each still has a message id, a data key and
 * a key encryption key of its own. What it changes: whoever gets into this process within that time can open those mails as
 * well, and equal KEM bytes in two prefixes say that one process sealed both. The secret half of the key pair never stays; what
 * does is in locked memory and is wiped by a timer, at most a second later. Process-wide on purpose: lmtp has a mail user for each recipient.
 *
 *     opts.kem = basalt_exchange(rec->public_key);   // NULL: the encoder makes its own
 */
#ifndef BASALT_EXCHANGE_H
#define BASALT_EXCHANGE_H

#include "crypto.h"

#define BASALT_EXCHANGE_MS 1000
#define BASALT_EXCHANGES_MAX 16

/* Good until the caller returns to the event loop. */
const struct bs_kem *basalt_exchange(const uint8_t public_key[BS_KEY_LEN]);
/* Wipes and frees all, when the plugin is unloaded. */
void basalt_exchange_deinit(void);

#endif
