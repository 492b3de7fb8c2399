/*
 * carry: what is changed in a message that was accepted: forged fields out, Authentication-Results in, and each account's
 * verdict on its way to who carries it out.
 *
 * With keys, the verdicts travel in one sealed field (common/verdict_header.h), which basalt-lmtp opens. Without keys there
 * is no basalt-lmtp, and one queue file is one text for all: only what all accounts agree on is written into the header
 * (a label, X-Basalt-Folder for a Sieve script, X-Basalt-Note), and what they do not agree on is left undone, so that the mildest
 * holds for all. The log line says "left" then.
 *
 *     err = carry_out(&carry, session, line, &done);
 */
#ifndef MILTER_CARRY_H
#define MILTER_CARRY_H

#include "session.h"
#include "transport.h"

struct bs_verdict_keys;

#define CARRY_FOLDER_FIELD "X-Basalt-Folder"

struct carry {
	const char *authserv_id;
	struct bs_verdict_keys *keys; /* NULL: no basalt-lmtp */
};

struct carry_done {
	size_t removed; /* forged fields */
	bool left;      /* something could not be done */
};

/* BS_ERR_NOENT: no key seals now; transport.h's errors. Nothing may be accepted then. */
enum bs_err carry_out(const struct carry *carry, struct session *session, struct transport_session *line,
    struct carry_done *done) BS_MUST_USE;

#endif
