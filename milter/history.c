#include "history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "judge.h"
#include "store_policy_history.h"
#include "trace_key.h"

#define ROWS_MAX 2000
#define BATCH 200

struct history {
	struct batches *batches;
	const uint8_t *key;
};

static enum bs_err
write_rows(void *ctx, struct bs_store_policy *store, const void *rows, size_t n)
{
	(void)ctx;
	return bs_history_add(store, rows, n);
}

static const struct batches_kind kind = {
	.what = "history",
	.row_size = sizeof(struct bs_history_row),
	.rows_max = ROWS_MAX,
	.batch = BATCH,
	.write = write_rows,
	.forget = bs_history_forget,
};

enum bs_err
history_new(struct pool *pool, const uint8_t key[BS_KEY_LEN], int64_t keep_s, struct history **out)
{
	struct history *history = calloc(1, sizeof(*history));
	enum bs_err err;

	if (history == NULL)
		return BS_ERR_NOMEM;
	history->key = key;
	err = batches_new(pool, &kind, keep_s, &history->batches);
	if (err != BS_OK) {
		free(history);
		return err;
	}
	*out = history;
	return BS_OK;
}

void
history_stop(struct history *history)
{
	if (history != NULL)
		batches_stop(history->batches);
}

void
history_free(struct history *history)
{
	if (history == NULL)
		return;
	batches_free(history->batches);
	free(history);
}

/* What the message's end was for an account that its own verdict let in. */
static const char *
outcome_text(const struct verdict *verdict, enum report_outcome outcome)
{
	switch (outcome) {
	case REPORT_REJECTED:
		return "reject";
	case REPORT_DEFERRED:
		return "defer";
	case REPORT_DISCARDED:
		return "drop";
	case REPORT_ABORTED:
		return "aborted";
	case REPORT_ACCEPTED:
		break;
	}
	return verdict_action_text(verdict->action);
}

static void
note_one(struct history *history, const struct session *session, const char *address, const struct verdict *verdict,
    const char *outcome)
{
	struct bs_history_row row = { .at = session->msg.now_s };
	char base[BS_ADDRESS_MAX + 1];

	if (bs_address_parse(address, base) != BS_OK)
		return;
	bs_address_base(base, base);
	if (bs_trace_hash(history->key, "history", base, "", "", row.account) != BS_OK ||
	    bs_trace_hash(history->key, "history", session->msg.sender, "", "", row.sender) != BS_OK)
		return;
	bs_random(row.id, sizeof(row.id));
	(void)snprintf(row.outcome, sizeof(row.outcome), "%s", outcome);
	if (verdict->because != NULL)
		(void)snprintf(row.by, sizeof(row.by), "%s", bs_check_name(verdict->because->id));
	(void)snprintf(row.reply, sizeof(row.reply), "%s", verdict->reply.status);
	(void)snprintf(row.queue_id, sizeof(row.queue_id), "%s", session->msg.queue_id);
	batches_add(history->batches, &row);
}

/* A recipient that was refused at RCPT: the accounts behind it, or the address itself where there is none. */
static void
note_refused(struct history *history, const struct session *session, const struct recipient *recipient)
{
	const char *outcome = verdict_action_text(recipient->verdict.action);

	for (size_t i = 0; i < recipient->n_finals; i++)
		note_one(history, session, recipient->finals[i]->target->address, &recipient->verdict, outcome);
	if (recipient->n_finals == 0 && recipient->res != NULL && recipient->res->state == RESOLVE_DISABLED)
		note_one(history, session, recipient->address, &recipient->verdict, outcome);
}

void
history_note(struct history *history, const struct session *session, enum report_outcome outcome)
{
	const struct message *msg = &session->msg;

	if (history == NULL)
		return;
	for (size_t i = 0; i < msg->n_recipients; i++) {
		const struct recipient *recipient = msg->recipients[i];

		if (judge_is_out(recipient)) {
			note_refused(history, session, recipient);
			continue;
		}
		for (size_t k = 0; k < recipient->n_finals; k++)
			note_one(history, session, recipient->finals[k]->target->address, &recipient->finals[k]->verdict,
			    outcome_text(&recipient->finals[k]->verdict, outcome));
	}
}

void
history_counts(struct history *history, struct batches_counts *out)
{
	batches_read(history->batches, out);
}
