/*
 * handover: all that a vault leaves to its heir at a reload, as messages of link.h over a socketpair that only the two hold.
 *
 *   HANDOVER_HEAD   u16 version, 32 boot key, 32 public half of the site key, u64 start, u16 n, n u64 counters
 *   HANDOVER_RING   u8 held, str16 record, 32 master key, u8 warm, 16 slot, 32 warm hash, u64 pruned, opened, used, idle since, allowance,
 *                   allowance since, unwraps, u8 n, n keys: 16 id, 32 public, 32 secret, u64 created, u8 active
 *   HANDOVER_TOKEN  str16 account, 32 hash, str16 service, u64 end
 *   HANDOVER_CONN   u8 front, u64 number, u32 pid, u32 uid, u8 closing, str16 account (empty: no session), str16 service, u64 since
 *   HANDOVER_SEEN, HANDOVER_USES   u16 n, n entries of seen.h, lastuse.h
 *   HANDOVER_END    u32 rings that are held, u32 tokens, u32 connections
 *   HANDOVER_ACK    back: all of it is here, and fits
 *
 * What was seen comes first: it knows how long plans let keys linger. Rings that are held come before their tokens and connections, and those that only linger after them: they alone give way where the
 * heir has less room. Moments are milliseconds of the clock that both share. One number counts for these bytes, those of
 * front_handover.c and those of succession.c: whoever changes any of them, or what one of them means, raises it.
 *
 * The reader believes the old vault no further than it must: whatever does not fit or add up is refused, and the old vault goes on.
 * Errors: BS_ERR_FORMAT, BS_ERR_VERSION, BS_ERR_ACCOUNT (of another site key), BS_ERR_LIMIT (there is no room for what is open),
 * BS_ERR_NOMEM; those of chan.h.
 *
 *     err = handover_write(v, &ch, deadline_ms);              // the old vault, then waits for HANDOVER_ACK
 *     err = handover_take(v, &handover, &msg);                // the heir, with each message until handover.done
 */
#ifndef KEYD_HANDOVER_H
#define KEYD_HANDOVER_H

#include "vault.h"

#define HANDOVER_VERSION 1

enum handover_type {
	HANDOVER_HEAD = 64,
	HANDOVER_RING = 65,
	HANDOVER_TOKEN = 66,
	HANDOVER_CONN = 67,
	HANDOVER_SEEN = 68,
	HANDOVER_USES = 69,
	HANDOVER_END = 70,
	HANDOVER_ACK = 71,
};

struct handover {
	bool begun, done;
	size_t rings, tokens, conns; /* taken; rings: those that are held */
};

/* Sends all and waits until it is taken. v->reply is used, and wiped. */
enum bs_err handover_write(struct vault *v, struct chan *ch, int64_t deadline_ms) BS_MUST_USE;
/* A vault that has served nobody yet takes one message. After a failure it is good for vault_free() alone. */
enum bs_err handover_take(struct vault *v, struct handover *h, const struct link_msg *msg) BS_MUST_USE;

#endif
