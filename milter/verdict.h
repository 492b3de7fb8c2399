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
 * milder findings stay beside a stricter one of label, folder or drop (the first folder counts; labels are joined).
 * Of equals, the finding that comes first gives reason and text.
 *
 *     verdict_decide(findings, n, policy, &verdict);
 */
#ifndef MILTER_VERDICT_H
#define MILTER_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VERDICT_REASON_MAX 120
#define VERDICT_TEXT_MAX 200
#define VERDICT_NAME_MAX 64

enum check_id {
	CHECK_RECIPIENT,
	CHECK_COUNT
};
#define CHECK_MAX 16 /* numbers that a policy has room for */

/* What a hit does to a recipient. CHECK_OFF: the finding is ignored; CHECK_NOTE: it stands in log and headers only. */
enum check_preference { CHECK_OFF, CHECK_NOTE, CHECK_LABEL, CHECK_FOLDER, CHECK_DROP, CHECK_REJECT };

/* What a check that cannot ask its source does: let pass, defer, or count as a hit. */
enum check_down { CHECK_DOWN_SKIP, CHECK_DOWN_DEFER, CHECK_DOWN_HIT };

enum check_outcome {
	CHECK_NOTHING, /* has not run, or has nothing to say */
	CHECK_CLEAN,
	CHECK_HIT,
	CHECK_DOWN,
};

/* An SMTP answer: code "550", status "5.1.1", text without line breaks or '%'. */
struct smtp_reply {
	char code[4];
	char status[12];
	char text[VERDICT_TEXT_MAX];
};

struct finding {
	enum check_id id;
	enum check_outcome outcome;
	enum check_down down;
	struct smtp_reply reply; /* for a rejection; with a 4xx code a rejection becomes a deferral; empty: a general text */
	char reason[VERDICT_REASON_MAX]; /* for the log line */
	uint32_t us;                     /* how long it took */
};

/* One recipient's preferences; index: enum check_id. */
struct verdict_policy {
	enum check_preference preference[CHECK_MAX];
	char folder[VERDICT_NAME_MAX]; /* where CHECK_FOLDER sorts */
	char label[VERDICT_NAME_MAX];  /* what CHECK_LABEL writes */
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
	char label[VERDICT_NAME_MAX];   /* "" or the label, whatever else is done */
	char folder[VERDICT_NAME_MAX];  /* "" or the folder */
};

/* The verdict of one recipient. findings: of the connection, the message and this recipient, in order of the checks. */
void verdict_decide(const struct finding *const *findings, size_t n, const struct verdict_policy *policy,
    struct verdict *out);

/*
 * The one answer after DATA to all recipients that were accepted at RCPT: a rejection only if all agree on it; a deferral
 * if any must be deferred; a discard only if all are dropped; else acceptance, and each recipient's own part is for
 * the delivery to carry out. n of 0 is acceptance.
 */
void verdict_message(const struct verdict *const *verdicts, size_t n, struct verdict *out);

const char *verdict_action_text(enum verdict_action action);
const char *check_outcome_text(enum check_outcome outcome);

#endif
