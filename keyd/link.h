/*
 * link: the messages between the vault and the other roles, over a socketpair (never seen by a client):
 *
 *   u32 length of what follows | u8 type | u64 id | payload
 *
 * id is a connection's number (fronts) or a question's number (keystore, kdf). Payloads are wire.h fields:
 *   LINK_OPEN     front -> vault  u32 pid, u32 uid, u32 gid of the client (SO_PEERCRED)
 *   LINK_FRAME    both ways       one whole frame of keyproto.h
 *   LINK_CLOSE    front -> vault  the client is gone;  vault -> front: send what is queued, then close
 *   LINK_SESSION  vault -> front  the connection is a session now and may be silent for ever
 *   LINK_PAUSE    vault -> front  read and accept no more;  LINK_PAUSED  back, behind all that was read
 *   LINK_RESUME   vault -> front  go on;  LINK_PASS  pass your clients to your heir, and end
 *   LINK_KDF      vault -> kdf    u32 memory KiB, u32 passes, 16 salt, str16 password;  back: u16 error, 32 seed
 *   LINK_GET ..   vault -> keystore  str16 account, u64 generation, str32 blob
 *                 back            u16 error, u64 generation or count, str32 blob
 *   LINK_LINGER   vault -> policy  str16 account;  back: str16 account, u16 error, u32 seconds. By packets of whole messages, so
 *                 that a new process of that role goes on where one was killed; id is 0
 * Errors are chan.h's; a message longer than LINK_MAX means a broken peer: BS_ERR_FORMAT.
 *
 *     err = link_put(&ch, LINK_FRAME, id, frame, frame_len);
 *     while (link_peek(&ch, &msg) == BS_OK) { ...; link_take(&ch, &msg); }
 */
#ifndef KEYD_LINK_H
#define KEYD_LINK_H

#include "chan.h"
#include "keyproto.h"

#define LINK_HEADER_LEN 13
#define LINK_MAX (BS_FRAME_MAX + 1024)

/* In one packet, and in each of the two queues of a link that goes by packets. */
#define LINK_LINGER_ROOM 61440u

enum link_type {
	LINK_OPEN = 1,
	LINK_FRAME = 2,
	LINK_CLOSE = 3,
	LINK_SESSION = 4,
	LINK_PAUSE = 5,
	LINK_PAUSED = 6,
	LINK_RESUME = 7,
	LINK_PASS = 8,
	LINK_KDF = 16,
	LINK_GET = 32,
	LINK_PUT = 33,
	LINK_PRUNE = 34,
	LINK_REMOVE = 35,
	LINK_COUNT = 36,
	LINK_PUT_PAST = 37, /* a generation that may leave some out: keys come back from another place */
	LINK_LINGER = 48,
};

struct link_msg {
	uint8_t type;
	uint64_t id;
	const uint8_t *payload; /* into the channel's buffer, until link_take() */
	size_t len;
};

/* Queues one message. */
enum bs_err link_put(struct chan *ch, uint8_t type, uint64_t id, const void *payload, size_t len) BS_MUST_USE;
/* The next whole message; BS_ERR_SHORT: read more. */
enum bs_err link_peek(const struct chan *ch, struct link_msg *msg) BS_MUST_USE;
/* Wipes and drops the message that link_peek() gave. */
void link_take(struct chan *ch, const struct link_msg *msg);
/* For the blocking roles: sleeps until a whole message is there. */
enum bs_err link_wait(struct chan *ch, struct link_msg *msg) BS_MUST_USE;

#endif
