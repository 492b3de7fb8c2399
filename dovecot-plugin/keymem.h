/*
 * keymem: data keys of single messages in locked memory, by account and message id.
 *
 * Two uses: LMTP saves a mail for its first recipient and copies it from there to the others, without being able to ask
 * keyd to open it; and a mail that imap opens again need not be unwrapped again. One small table serves the whole
 * process (lmtp makes one mail user for each recipient, and the copy reads the first one's mail): entries belong to
 * their user, go when that user does, and the oldest gives way when the table is full. Another mail user of the same account
 * may find them: a recipient who is named twice is two.
 *
 *     basalt_keymem_put(bu, message_id, data_key);
 *     if (basalt_keymem_get(bu, message_id, data_key)) ...
 */
#ifndef BASALT_KEYMEM_H
#define BASALT_KEYMEM_H

#include "msgfmt.h"

#define BASALT_KEYMEM_MAX 128

struct basalt_user;

/* Silently does nothing when no locked memory is to be had: the key is then not found later, and the read fails. */
void basalt_keymem_put(const struct basalt_user *owner, const uint8_t message_id[BS_ID_LEN],
    const uint8_t data_key[BS_KEY_LEN]);
bool basalt_keymem_get(const struct basalt_user *reader, const uint8_t message_id[BS_ID_LEN], uint8_t data_key[BS_KEY_LEN]);
/* A key that turned out to be another's. */
void basalt_keymem_drop(const struct basalt_user *reader, const uint8_t message_id[BS_ID_LEN]);
/* Wipes what belongs to owner. */
void basalt_keymem_forget(const struct basalt_user *owner);
/* Wipes and frees all, when the plugin is unloaded. */
void basalt_keymem_deinit(void);

#endif
