/*
 * room: buffers of a whole mail, used again and again: a session that reads a thousand mails would else have the kernel
 * hand out, clear and take back as many times 50 pages. At most BASALT_ROOMS of BASALT_ROOM_LEN bytes stay with a user.
 *
 *     uint8_t *p = basalt_room_take(bu, len);
 *     basalt_room_give(bu, p, len);            // the same len
 */
#ifndef BASALT_ROOM_H
#define BASALT_ROOM_H

#include "plugin.h"

/* At least len bytes, not cleared; never NULL: no memory ends the process, as everywhere in Dovecot. */
uint8_t *basalt_room_take(struct basalt_user *bu, size_t len);
/* p may be NULL. */
void basalt_room_give(struct basalt_user *bu, uint8_t *p, size_t len);
/* Frees what the user has, wiped: there was plaintext in it. */
void basalt_room_forget(struct basalt_user *bu);

#endif
