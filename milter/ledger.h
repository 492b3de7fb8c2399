/*
 * ledger: what the milters of a site count and remember together, in the policy database: how many messages came in an hour,
 * and whom the greylist knows.
 *
 * Everything is found by a keyed hash of what it is about; no address is written. Questions of many sessions are put into one
 * transaction, which costs the disk one wait, and rest on what was really there (store_ledger.h), so that counts are exact whatever
 * the number of milters. A caller waits until its deadline and no longer.
 * An hour slides: of the hour before the current one (by the clock) the part counts that lies less than an hour back, as if its
 * messages had been spread evenly. At no time are more counted than the limit allows by that measure.
 * Rows that mean nothing any more are removed in small batches, between questions.
 *
 * Errors: those of pool.h and sql.h, all transient. Any thread.
 *
 *     ledger_key(ledger, "account", "alice@example.org", "", "", limits[0].id);
 *     limits[0].limit = 100;
 *     err = ledger_count(ledger, limits, 1, now_s, false, deadline_ms, &over);
 *     if (err == BS_OK && over < 1) ... too many ...
 */
#ifndef MILTER_LEDGER_H
#define MILTER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto.h"
#include "store_ledger.h"

#define LEDGER_LIMITS_MAX 4 /* of one question */
#define LEDGER_HOUR_S 3600

struct ledger;
struct pool;

struct ledger_limit {
	uint8_t id[BS_LEDGER_ID_LEN];
	int64_t limit; /* in an hour */
};

/* What the greylist goes by, in seconds. */
struct ledger_greylist {
	uint8_t id[BS_LEDGER_ID_LEN];     /* account, client or pool, sender */
	uint8_t client[BS_LEDGER_ID_LEN]; /* account, client or pool */
	int64_t delay_s;  /* until who is new may come again */
	int64_t window_s; /* and until when he must, or he is new again */
	int64_t keep_s;   /* how long somebody is remembered after his last message */
	int64_t passes;   /* a client with so many messages that passed waits no more; 0: never so */
};

enum ledger_greeting {
	LEDGER_NEW,   /* seen for the first time */
	LEDGER_EARLY, /* came again too early */
	LEDGER_PASS,  /* waited, or is known */
	LEDGER_TRUST, /* its client is known */
};

struct ledger_stats {
	uint64_t questions, transactions, conflicts, failures, refused, removed;
};

/* pool and key are borrowed for the ledger's life. NULL: out of memory. */
struct ledger *ledger_new(struct pool *pool, const uint8_t key[BS_KEY_LEN]);
/* After pool_free(). */
void ledger_free(struct ledger *ledger);

/* The hash of what a row is about: what kind of thing, and up to three texts, "" where there are fewer. */
enum bs_err ledger_key(const struct ledger *ledger, const char *kind, const char *a, const char *b, const char *c,
    uint8_t out[BS_LEDGER_ID_LEN]) BS_MUST_USE;

/*
 * Counts one for each of limits, or, where one of them is reached, none at all: *over is which, else n. dry: looks only.
 * Each id once.
 */
enum bs_err ledger_count(struct ledger *ledger, const struct ledger_limit *limits, size_t n, int64_t now_s, bool dry,
    int64_t deadline_ms, size_t *over) BS_MUST_USE;
/* *wait_s: on LEDGER_NEW and LEDGER_EARLY how long he is to wait. */
enum bs_err ledger_greet(struct ledger *ledger, const struct ledger_greylist *grey, int64_t now_s, bool dry, int64_t deadline_ms,
    enum ledger_greeting *greeting, int64_t *wait_s) BS_MUST_USE;

void ledger_stats(struct ledger *ledger, struct ledger_stats *out);

#endif
