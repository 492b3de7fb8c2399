/*
 * err: the one error enum of Basalt, and its one text table.
 *
 * What can fail returns enum bs_err; 0 is success. Outputs come last and are left untouched on failure.
 * Errors are either transient (try again later: the milter and LMTP turn them into a 4xx) or permanent.
 * Any thread may call these functions; the texts are static.
 *
 *     enum bs_err err = bs_buf_append(buf, data, data_len);
 *     if (err != BS_OK)
 *         bs_log(BS_LOG_ERROR, "queueing the reply: %s", bs_err_text(err));
 */
#ifndef BS_ERR_H
#define BS_ERR_H

#include <stdbool.h>

#define BS_MUST_USE __attribute__((warn_unused_result))

/* The numbers travel in keyd's protocol (docs/PROTOCOL.keyd.md): never renumber, only append. */
enum bs_err {
	BS_OK = 0,
	BS_ERR_NOMEM = 1,     /* transient: out of memory */
	BS_ERR_IO = 2,        /* transient: a system call failed */
	BS_ERR_TIMEOUT = 3,   /* transient: a deadline passed */
	BS_ERR_BUSY = 4,      /* transient: a queue or table is full */
	BS_ERR_UNAVAIL = 5,   /* transient: a daemon or database is not there */
	BS_ERR_CONFLICT = 6,  /* transient: somebody else changed it first; read again and retry */
	BS_ERR_SHORT = 7,     /* more bytes are needed to decide */
	BS_ERR_FORMAT = 8,    /* malformed bytes */
	BS_ERR_VERSION = 9,   /* a version, suite or kind that this program does not know */
	BS_ERR_LIMIT = 10,    /* larger than its stated maximum */
	BS_ERR_AUTH = 11,     /* an authentication tag, commitment, digest or signature is wrong: damaged or forged */
	BS_ERR_NOKEY = 12,    /* the key that this was sealed to is not in the ring */
	BS_ERR_ACCOUNT = 13,  /* belongs to another account */
	BS_ERR_DENIED = 14,   /* wrong password, or no such account: callers must not be able to tell */
	BS_ERR_NOENT = 15,    /* no such thing */
	BS_ERR_EXISTS = 16,   /* is there already */
	BS_ERR_PERM = 17,     /* not permitted on this socket or in this state */
	BS_ERR_TOKEN = 18,    /* login token unknown, used or expired */
	BS_ERR_ROLLBACK = 19, /* an older generation than one that was already seen */
	BS_ERR_WEAK = 20,     /* a new password that is too weak, or that clients could not send */
	BS_ERR_CONF = 21,     /* configuration is wrong */
	BS_ERR_CRYPTO = 22,   /* a primitive failed where it never should */
	BS_ERR_INTERNAL = 23, /* a bug */
	BS_ERR_ARG = 24,      /* a bad argument from a person: name, address, number */
	BS_ERR_EXPIRED = 25,  /* was good once: its time is over, or has not come */
	BS_ERR_COUNT
};

/* A short lower-case text without a full stop, static; "unknown error" for a number out of range. */
const char *bs_err_text(enum bs_err err);

/* True when the same call may succeed later without anybody changing anything. */
bool bs_err_is_transient(enum bs_err err);

#endif
