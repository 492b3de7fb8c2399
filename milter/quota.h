/*
 * quota: is a mailbox full? Asked of Dovecot's quota-status service, which speaks Postfix's policy delegation protocol
 * (SMTPD_POLICY_README): "recipient=...", an empty line; then "action=...", an empty line.
 *
 * A few connections are kept open; who finds all in use waits for one. Answers are remembered for some seconds. A service that
 * does not answer is left alone for a second. Whatever goes wrong is QUOTA_UNKNOWN, which must stop no mail: the delivery
 * itself finds out, and says so with a 4xx. Any thread.
 *
 *     quota = quota_new(&(struct quota_settings){ .address = "unix:/run/dovecot/quota-status", .cache_ms = 5000 });
 *     quota_ask(quota, "alice@example.org", 4711, bs_now_ms() + 1000, &answer);
 *     if (answer.state == QUOTA_FULL) ... answer.reply ...
 */
#ifndef MILTER_QUOTA_H
#define MILTER_QUOTA_H

#include <stdint.h>

#include "verdict.h"

#define QUOTA_ANSWER_MAX 1024 /* bytes of an answer */

struct quota;

struct quota_settings {
	const char *address; /* as transport_listen.h has them; borrowed for the life of the struct quota */
	int64_t cache_ms;
};

enum quota_state { QUOTA_UNKNOWN, QUOTA_ROOM, QUOTA_FULL };

struct quota_answer {
	enum quota_state state;
	struct smtp_reply reply; /* QUOTA_FULL: as the service said it */
};

struct quota_stats {
	uint64_t asked;  /* of the service */
	uint64_t full;   /* answers */
	uint64_t failed; /* it did not answer, or not what we know */
};

/* NULL when out of memory. */
struct quota *quota_new(const struct quota_settings *settings);
void quota_free(struct quota *quota); /* NULL is legal; nobody asks any more */

/* address: an account's, without extension; size: of the message in bytes, 0: not known. */
void quota_ask(struct quota *quota, const char *address, uint64_t size, int64_t deadline_ms, struct quota_answer *out);
void quota_stats(struct quota *quota, struct quota_stats *out);

/*
 * What an answer (NUL-terminated, "action=...\n\n") means. Full is only what says so by a status x.2.2 (full) or x.2.3 (this
 * message is too large for it) whose class is that of its code; "no such user" is not, and OK, DUNNO and the like are room.
 */
void quota_read_answer(const char *text, struct quota_answer *out);

#endif
