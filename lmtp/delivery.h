/*
 * delivery: one message, from the byte behind "354" to an answer for each of its recipients.
 *
 * The header is read up to where a verdict would stand; then each recipient's part is known, and those whose copy is the same
 * share one backend connection: a transaction each, fed in parallel, no byte kept. Of whatever fails, its own recipients
 * are deferred, nobody else. When it returns BS_OK, every recipient has a reply. Anything else: the client is lost,
 * no backend was told the message's end, nothing was delivered.
 * One thread a delivery; struct delivery_site is shared.
 *
 *     err = delivery_run(&site, client, &env, &spare, &summary);
 */
#ifndef LMTP_DELIVERY_H
#define LMTP_DELIVERY_H

#include "backend.h"
#include "tally.h"

#define GROUPS_MAX 32

struct delivery_limits {
	size_t groups_max;        /* backend connections of one message */
	int64_t setup_ms;         /* connect, MAIL, RCPT and DATA of all backends together */
	int64_t data_ms;          /* longest standstill while bytes flow, of the client or of a backend */
	int64_t answer_ms;        /* a backend's answer behind the last byte */
};

struct delivery_site {
	struct backend_where where;
	struct delivery_limits limits;
	struct bs_verdict_keys *keys; /* NULL: no header opens */
	struct tally *tally;
	int64_t (*now_s)(void);
};

/* What the log says of a message beside its recipients. */
struct delivery_summary {
	enum bs_err verdict; /* how the header opened; BS_ERR_SHORT: there was none */
	char verdict_id[BS_VERDICT_ID_MAX];
	unsigned stripped; /* fields of the name that were taken off */
	size_t groups;
};

/* xforward: the client's XFORWARD arguments, or "". spare: an idle connection that is used first, or NULL; what is left over. */
enum bs_err delivery_run(const struct delivery_site *site, struct stream *client, struct envelope *env, const char *xforward,
    struct backend **spare, struct delivery_summary *summary) BS_MUST_USE;

#endif
