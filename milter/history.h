/*
 * history: a row of the policy database for each account that a message was for, and what became of it, for `basaltctl history`.
 *
 * Rows are written in batches and are never waited for (batches.h). Addresses go in as keyed hashes. Any thread.
 *
 *     err = history_new(pool, trace_key, 14 * 86400, &history);
 *     history_note(history, session, outcome);
 */
#ifndef MILTER_HISTORY_H
#define MILTER_HISTORY_H

#include "batches.h"
#include "crypto.h"
#include "report.h"
#include "session.h"

struct history;

/* keep_s: how long rows stay; the key is borrowed for its life. */
enum bs_err history_new(struct pool *pool, const uint8_t key[BS_KEY_LEN], int64_t keep_s, struct history **out) BS_MUST_USE;
void history_stop(struct history *history); /* as batches_stop() */
void history_free(struct history *history);
/* Of a message at its end; NULL is legal, and does nothing. */
void history_note(struct history *history, const struct session *session, enum report_outcome outcome);
void history_counts(struct history *history, struct batches_counts *out);

#endif
