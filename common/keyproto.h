/*
 * keyproto: the frames of basalt-keyd's sockets (docs/PROTOCOL.keyd.md), version 1.
 *
 *   u32 length of what follows | u8 version | u8 opcode | u16 status | u32 request id | payload
 *
 * A request has status 0; its reply the same opcode and request id, and an enum bs_err as status, with a payload only on
 * BS_OK unless said otherwise. Payloads are fields of wire.h; a field that is missing or left over is BS_ERR_FORMAT, after
 * which the daemon closes. Any number of requests may be under way on a connection; replies carry the id.
 * Strings are str16. Pure functions, any thread.
 *
 *     size_t n = bs_keyproto_frame(frame, sizeof(frame), BS_OP_RECORD, 0, 1, payload, payload_len);
 *     err = bs_keyproto_parse(buf, buf_len, BS_FRAME_MAX, &hdr);         // BS_ERR_SHORT: read more
 */
#ifndef BS_KEYPROTO_H
#define BS_KEYPROTO_H

#include "record.h"
#include "wire.h"

#define BS_KEYPROTO_VERSION 1
#define BS_FRAME_HEADER_LEN 12
#define BS_FRAME_MAX 327680       /* 320 KiB: whole frame, header included: an absolute bound; sockets have smaller ones */
#define BS_UNWRAP_MAX 256         /* prefixes in one BS_OP_UNWRAP */
#define BS_TOKEN_LEN 32
#define BS_PASSWORD_MAX 1024

/*
 * Opcode: which sockets may send it, request payload -> reply payload.
 * A = auth, M = mail, D = delivery, C = control.
 */
enum bs_op {
	/* A: str16 user, str16 password, str16 service, u8 flags -> u8 sealed, token 32 (absent with BS_LOGIN_NO_SESSION),
	 *    id 16 account. BS_ERR_DENIED for a wrong password and for no such user alike. */
	BS_OP_LOGIN = 1,
	/* A, D: str16 user -> nothing; BS_ERR_NOENT. Does the account exist? */
	BS_OP_EXISTS = 2,
	/* M: token 32, str16 user, str16 service -> id 16 account, u8 sealed, str16 record. The session is this connection. */
	BS_OP_ATTACH = 3,
	/* M after ATTACH: u16 n, n times str16 prefix of a message (up to and with the commitment)
	 *    -> u16 n, n times (u16 status, data key 32 when BS_OK) */
	BS_OP_UNWRAP = 4,
	/* M after ATTACH: u8 purpose, 16 mailbox GUID, u64 epoch -> 32 subkey */
	BS_OP_SUBKEY = 5,
	/* A, M, D, C: str16 user -> str16 record (signed; the caller verifies). BS_ERR_NOENT, BS_ERR_AUTH. */
	BS_OP_RECORD = 6,
	/* M after ATTACH: -> str32 keyset, all sealed, for the copy in the mail home */
	BS_OP_KEYSET = 7,
	/* M after ATTACH: -> nothing; the session ends, the daemon closes */
	BS_OP_CLOSE = 8,
	/* A: str16 shared mailbox, str16 member, str16 member's password, str16 service, u8 flags -> as LOGIN, of the shared one */
	BS_OP_LOGIN_MEMBER = 9,
	/* A: str16 user, str16 password that the site's own passdb just found right -> nothing. Makes an account, if keyd's
	 *    configuration lets auth do that. BS_ERR_CONF: not; BS_ERR_EXISTS, BS_ERR_WEAK: empty, or a code. */
	BS_OP_ENROL_LOGIN = 10,
	/* M after ATTACH: -> token 32, which begins a session of the same account and service in place of this one, later.
	 *    BS_ERR_CONF: keyd's configuration has it off. BS_ERR_BUSY */
	BS_OP_RESUME_TOKEN = 11,
	/* Never a request: keyd's last frame of a session that it ends, unasked, with request id 0. u8 enum bs_ended. */
	BS_OP_ENDED = 12,
	/* M after ATTACH: token 32 of the same account and service -> nothing. It is good for nothing any more. BS_ERR_TOKEN */
	BS_OP_DROP_TOKEN = 13,
	/* M after ATTACH: key id 16 -> nothing: the ring holds this key, or a keyset that is kept beside has it as its active one.
	 *    BS_ERR_NOKEY: neither. */
	BS_OP_HOLDS = 14,
	/* D: str16 user -> str32 keyset, all sealed: for the mail home, before mail is stored that is sealed by its record. Errors of RECORD. */
	BS_OP_KEYSET_OF = 15,
	/* C: str16 user, str16 password, u32 record flags -> id 16 account, u64 generation. BS_ERR_EXISTS, BS_ERR_WEAK. */
	BS_OP_ENROL = 16,
	/* C: str16 user, str16 old password, str16 new password -> u64 generation. BS_ERR_DENIED, BS_ERR_WEAK. */
	BS_OP_PASSWD = 17,
	/* C: str16 user -> nothing. Removes all generations of the account's keys, ends its sessions. BS_ERR_NOENT. */
	BS_OP_REMOVE = 18,
	/* C: -> str32 JSON object */
	BS_OP_STATUS = 19,
	/* C: str16 user, str16 password, u32 record flags -> u64 generation. Seals or un-seals; un-sealing needs the secret. */
	BS_OP_SET_FLAGS = 20,
	/* "secret" below is a password, recovery code or escrow key of the account. */
	/* C: str16 user -> str16 record, str16 name and 32 public key of the domain's escrow (empty and zeros: none),
	 *    u8 kept keysets, u16 n, n times: id 16, u8 kind, u8 flags, u64 generation, u64 created, u64 last used (0: not
	 *    since keyd started), u32 memory KiB, u32 passes, public key 32, str16 label. Nothing of it is authenticated. */
	BS_OP_SLOTS = 21,
	/* C: str16 user, str16 secret, u8 kind, str16 label, str16 member -> u64 generation, id 16, str16 new secret */
	BS_OP_ADD_SLOT = 22,
	/* C: str16 user, str16 secret, id 16 -> u64 generation, u8 new active key (0: the ring is full) */
	BS_OP_REMOVE_SLOT = 23,
	/* C: str16 user, str16 secret, u8 BS_ROTATE_* -> u64 generation */
	BS_OP_ROTATE = 24,
	/* C: str16 user, str16 secret, str16 new password, u8 BS_CHANGE_* -> u64 generation, u8 new active key */
	BS_OP_CHANGE_PASSWORD = 25,
	/* C: str16 user, str16 new password -> u64 generation. Without any secret: older mail stays shut until HEAL. */
	BS_OP_RESET = 26,
	/* C: str16 user, str16 secret, str16 secret of a kept keyset -> u64 generation, u8 kept keysets that are left */
	BS_OP_HEAL = 27,
	/* C: str16 user, str16 secret of the one with the higher generation, u64 above, str32 keyset -> u64 generation, which is above
	 *    that. No key of either side is lost. BS_ERR_EXISTS: the database's holds its keys, and the secret opens them. */
	BS_OP_RESTORE = 28,
	/* C: str16 user, str16 secret, key id 16 -> u64 generation. Mail that is sealed to this key is lost. */
	BS_OP_DROP_KEY = 29,
	/* C: str16 user, str16 secret, str16 service, u8 flags -> as LOGIN: a session for who has a secret that does not log in */
	BS_OP_OPEN = 30,
	/* C: str16 user (empty: all), u32 from (0, then the reply's) -> u32 from (0: that was all), u16 n, n times: str16 user, u64
	 *    since, u64 last use (seconds since 1970), u32 linger left (its keys stay so many seconds, if nobody comes), u16
	 *    tokens, u16 sessions, u16 listed ones, so many times: str16 service, u64 since, u32 pid */
	BS_OP_SESSIONS = 31,
	/* C: str16 user -> u16 sessions and u16 tokens that it had; they and the open keys are gone. Nobody there: zeros. */
	BS_OP_END_SESSIONS = 32,
	/* C: str16 user, str16 secret -> u64 generation, u16 n, n times: key id 16, u64 created (seconds since 1970), u8 active */
	BS_OP_KEYS = 33,
	/* C: str16 user, str16 secret, u64 above, u8 BS_RESTORE_*, str32 keyset -> u64 generation, u64 lost. As RESTORE, but says what it
	 *    costs. lost: a generation that is in no keyset any more, whose changes since the restored one are gone; 0: none. generation 0:
	 *    nothing was written, since keyd saw that one, and BS_RESTORE_OLDER does not say that its loss is meant. */
	BS_OP_RESTORE_KEYSET = 34,
	/* C: str16 user -> u64 generation, SHA-256 32 of the keyset as the database holds it */
	BS_OP_KEYSET_DIGEST = 35,
};

#define BS_LOGIN_NO_SESSION 0x01u /* judge the password only: SASL for Postfix */
#define BS_ROTATE_AMK 0x01u         /* a new account master key as well: every subkey changes, sessions end */
#define BS_CHANGE_COMPROMISED 0x01u /* new master key and active key; sessions end */
#define BS_CHANGE_PENDING 0x02u     /* the old password's slot stays until the new one logs in */
#define BS_CHANGE_UNDO 0x04u        /* removes what is pending; the new password is empty */
#define BS_RESTORE_OTHER_ACCOUNT 0x01u /* keys of another account of this name give way, for ever */
#define BS_RESTORE_OLDER 0x02u         /* what keyd saw that is newer is lost */

/* Why a session is over. Others may be added: what a client does not know is GONE to it. */
enum bs_ended {
	BS_ENDED_GONE = 0,     /* keyd did not say: it is gone, or does not answer */
	BS_ENDED_BY_ADMIN = 1,
	BS_ENDED_KEYS = 2,     /* the account's keys or secrets were changed in a way that ends what was opened by the old ones */
	BS_ENDED_REMOVED = 3,  /* the account is no more */
};

/* Purposes of subkeys. */
#define BS_SUBKEY_CACHE 1
#define BS_SUBKEY_SEARCH 2

enum bs_peer { BS_PEER_AUTH = 1, BS_PEER_MAIL = 2, BS_PEER_DELIVERY = 4, BS_PEER_CONTROL = 8 };
/* The sockets' file names inside keyd's run_dir. */
#define BS_SOCKET_AUTH "auth"
#define BS_SOCKET_MAIL "mail"
#define BS_SOCKET_DELIVERY "delivery"
#define BS_SOCKET_CONTROL "control"

struct bs_frame {
	uint8_t version;
	uint8_t opcode;
	uint16_t status;
	uint32_t request_id;
	const uint8_t *payload; /* into the caller's bytes */
	size_t payload_len;
	size_t len;             /* of the whole frame: consume so much */
};

/* BS_ERR_SHORT: not whole yet. BS_ERR_LIMIT: longer than max. BS_ERR_VERSION, BS_ERR_FORMAT. */
enum bs_err bs_keyproto_parse(const void *data, size_t len, size_t max, struct bs_frame *out) BS_MUST_USE;
/* Writes a whole frame; its length, or 0 when size is too small. */
size_t bs_keyproto_frame(uint8_t *out, size_t size, uint8_t opcode, enum bs_err status, uint32_t request_id,
    const void *payload, size_t payload_len);
/* enum bs_peer bits that may send an opcode; 0 for an unknown one. */
unsigned bs_keyproto_permitted(uint8_t opcode);
/* A status from the wire as an error: unknown numbers become BS_ERR_FORMAT. */
enum bs_err bs_keyproto_status(uint16_t status);

#endif
