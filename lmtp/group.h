/*
 * group: the recipients of a message whose copies are the same, and the backend transaction that they share.
 *
 * Folders are part of the recipient's address, so that copies differ by label and note alone. A group that fails says so to
 * its own recipients, and takes no more bytes. One thread.
 *
 *     group_init(&g, part);
 *     group_open(&g, site, env, index, xforward, deadline_ms, &spare);       // MAIL, RCPT, DATA
 *     stream_put_bytes(g.backend->io, ...), groups_flush(...);
 *     groups_finish(groups, n, env, deadline_ms, &spare);       // the final dot, and everybody's answer
 */
#ifndef LMTP_GROUP_H
#define LMTP_GROUP_H

#include "delivery.h"
#include "rewrite.h"

struct group {
	struct bs_verdict_part part; /* whose label and note */
	struct rewrite rewrite;
	struct backend *backend; /* NULL once failed */
	enum bs_err failed;
	size_t index; /* recipient.group */
};

/* The folder of a recipient's copy; "": the inbox. */
const char *recipient_folder(const struct recipient *rcpt);

void group_init(struct group *g, const struct bs_verdict_part *part);
bool group_fits(const struct group *g, const struct bs_verdict_part *part);
/* Afterwards the backend waits for the message, or g->failed is set and all its recipients have a reply. */
void group_open(struct group *g, const struct delivery_site *site, struct envelope *env, size_t index, const char *xforward,
    int64_t deadline_ms, struct backend **spare);
/* Each group that has not written all by then fails. */
void groups_flush(struct group *groups, size_t n, struct envelope *env, int64_t deadline_ms);
void groups_finish(struct group *groups, size_t n, struct envelope *env, int64_t deadline_ms, struct backend **spare);
/* A connection that is still there is cut: the message was not ended. */
void group_clear(struct group *g);

#endif
