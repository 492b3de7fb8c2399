/*
 * verdict: what the checks found, and one recipient's policy, turned into that recipient's verdict. Pure functions.
 *
 * A finding says what a check saw; the policy says what a hit of that check does to this recipient. Of all findings the
 * strictest counts, in this order:
 *
 *     accept < label < folder < drop < defer < reject
 *
 * Reject stands above defer: a check that could not answer cannot make a refusal milder. Defer stands above drop, folder
 * and label: what could not be asked might have refused, and a deferred mail is lost to nobody. Labels and folders of
 * milder findings stay beside a stricter one of label, folder or drop.
 * Of equals, the finding that comes first gives reason and text.
 *
 *     verdict_decide(findings, n, policy, &verdict);
 */
#ifndef MILTER_VERDICT_H
#define MILTER_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy.h"

#define VERDICT_REASON_MAX 160
#define VERDICT_TEXT_MAX 200
#define VERDICT_NOTE_MAX 201

enum check_outcome {
	CHECK_NOTHING, /* has not run, or has nothing to say */
	CHECK_CLEAN,
	CHECK_HIT,
	CHECK_DOWN, /* its source did not answer: the policy's .down says what follows */
};

/* An SMTP answer: code "550", status "5.1.1", text without line breaks or '%'. */
struct smtp_reply {
	char code[4];
	char status[12];
	char text[VERDICT_TEXT_MAX];
};

struct finding {
	enum bs_check id;
	enum check_outcome outcome;
	enum bs_hit most; /* a hit does this at the most, whatever the policy says; BS_HIT_OFF: no such bound */
	struct smtp_reply reply; /* for a rejection; with a 4xx code a rejection becomes a deferral; empty: a general text */
	char reason[VERDICT_REASON_MAX]; /* for log and headers: printable ASCII */
	uint32_t us;                     /* how long it took */
};

enum verdict_action {
	VERDICT_ACCEPT,
	VERDICT_LABEL,
	VERDICT_FOLDER,
	VERDICT_DROP,
	VERDICT_DEFER,
	VERDICT_REJECT,
};

struct verdict {
	enum verdict_action action;
	const struct finding *because;  /* the finding that decided; NULL: nothing was found. Borrowed from the input. */
	struct smtp_reply reply;        /* VERDICT_DEFER and VERDICT_REJECT */
	char label[BS_POLICY_LABEL_MAX + 1];   /* "" or the label, whatever else is done */
	char folder[BS_POLICY_FOLDER_MAX + 1]; /* "" or the folder */
	char note[VERDICT_NOTE_MAX];    /* "" or the checks that hit: "spf, dnsbl" */
	bool spared; /* was a refusal; nobody has verified the sender that a bounce would go to */
};

/* The verdict of one recipient. findings: of the connection, the message and this recipient, in order of the checks;
 * a NULL among them is nothing. */
void verdict_decide(const struct finding *const *findings, size_t n, const struct bs_policy *policy, struct verdict *out);

/* Whether it is a refusal for what the mailbox is (check recipient), not for what the message is: delivery can't change it. */
bool verdict_is_mailbox_refusal(const struct verdict *verdict);
/*
 * A refusal that can no longer be given to the sending server, and must not be bounced: what policy->unverified says. One of the
 * mailbox stays: the delivery would only find out the same.
 */
void verdict_spare(struct verdict *verdict, const struct bs_policy *policy);

/*
 * One answer for several recipients: a rejection only if all agree on it; a deferral if any must be deferred; a
 * discard only if all are dropped; else acceptance, and each recipient's own part is for the delivery to carry out. n of
 * 0 is acceptance.
 */
void verdict_together(const struct verdict *const *verdicts, size_t n, struct verdict *out);

const char *verdict_action_text(enum verdict_action action);
const char *check_outcome_text(enum check_outcome outcome);

#endif
