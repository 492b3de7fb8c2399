#include "verdict.h"

#include <stdio.h>
#include <string.h>

static const char *const action_texts[] = { "accept", "label", "folder", "drop", "defer", "reject" };
static const char *const outcome_texts[] = { "nothing", "clean", "hit", "down" };

static const struct smtp_reply general_reject = { "550", "5.7.1", "Message refused by local policy" };
static const struct smtp_reply general_defer = { "451", "4.7.1", "Try again later" };

const char *
verdict_action_text(enum verdict_action action)
{
	return action_texts[action];
}

const char *
check_outcome_text(enum check_outcome outcome)
{
	return outcome_texts[outcome];
}

static enum verdict_action
hit_action(enum bs_hit hit, const struct finding *finding)
{
	if (finding->most != BS_HIT_OFF && finding->most < hit)
		hit = finding->most;
	switch (hit) {
	case BS_HIT_LABEL:
		return VERDICT_LABEL;
	case BS_HIT_FOLDER:
		return VERDICT_FOLDER;
	case BS_HIT_DROP:
		return VERDICT_DROP;
	case BS_HIT_REJECT:
		return finding->reply.code[0] == '4' ? VERDICT_DEFER : VERDICT_REJECT;
	case BS_HIT_OFF:
	case BS_HIT_NOTE:
		break;
	}
	return VERDICT_ACCEPT;
}

static bool
counts_as_hit(const struct finding *finding, const struct bs_policy *policy)
{
	return finding->outcome == CHECK_HIT ||
	    (finding->outcome == CHECK_DOWN && policy->check[finding->id].down == BS_DOWN_HIT);
}

/* What one finding alone would do. */
static enum verdict_action
finding_action(const struct finding *finding, const struct bs_policy *policy)
{
	enum bs_hit hit = policy->check[finding->id].hit;

	if (hit == BS_HIT_OFF || hit == BS_HIT_NOTE)
		return VERDICT_ACCEPT;
	if (counts_as_hit(finding, policy))
		return hit_action(hit, finding);
	if (finding->outcome == CHECK_DOWN && policy->check[finding->id].down == BS_DOWN_DEFER)
		return VERDICT_DEFER;
	return VERDICT_ACCEPT;
}

/* The finding's own reply where its class fits the action, else a general one. */
static void
set_reply(struct verdict *verdict)
{
	const struct smtp_reply *own = &verdict->because->reply;
	bool reject = verdict->action == VERDICT_REJECT;

	if (own->code[0] == (reject ? '5' : '4'))
		verdict->reply = *own;
	else
		verdict->reply = reject ? general_reject : general_defer;
}

static void
set_marks(struct verdict *verdict, enum verdict_action action, const struct bs_policy *policy)
{
	if (action == VERDICT_LABEL)
		memcpy(verdict->label, policy->label, sizeof(verdict->label));
	if (action == VERDICT_FOLDER)
		memcpy(verdict->folder, policy->folder, sizeof(verdict->folder));
}

/* The check's name behind those that are there; one that has no room is left out. */
static void
add_note(struct verdict *verdict, const struct finding *finding)
{
	size_t len = strlen(verdict->note);
	const char *name = bs_check_name(finding->id);

	if (len + strlen(name) + 2 < sizeof(verdict->note))
		(void)snprintf(verdict->note + len, sizeof(verdict->note) - len, "%s%s", len > 0 ? ", " : "", name);
}

void
verdict_decide(const struct finding *const *findings, size_t n, const struct bs_policy *policy, struct verdict *out)
{
	*out = (struct verdict){ .action = VERDICT_ACCEPT };
	for (size_t i = 0; i < n; i++) {
		enum verdict_action action;

		if (findings[i] == NULL)
			continue;
		action = finding_action(findings[i], policy);
		set_marks(out, action, policy);
		if (policy->check[findings[i]->id].hit != BS_HIT_OFF && counts_as_hit(findings[i], policy))
			add_note(out, findings[i]);
		if (action > out->action) {
			out->action = action;
			out->because = findings[i];
		}
	}
	if (out->action == VERDICT_REJECT || out->action == VERDICT_DEFER)
		set_reply(out);
}

bool
verdict_is_mailbox_refusal(const struct verdict *verdict)
{
	return verdict->action == VERDICT_REJECT && verdict->because != NULL && verdict->because->id == BS_CHECK_RECIPIENT;
}

void
verdict_spare(struct verdict *verdict, const struct bs_policy *policy)
{
	if (verdict->action != VERDICT_REJECT || verdict_is_mailbox_refusal(verdict))
		return;
	verdict->spared = true;
	verdict->action = policy->unverified == BS_UNVERIFIED_DROP ? VERDICT_DROP : VERDICT_FOLDER;
	if (verdict->action == VERDICT_FOLDER)
		memcpy(verdict->folder, policy->folder, sizeof(verdict->folder));
}

/* The first verdict with this action; *all: whether every one has it. NULL: none has. */
static const struct verdict *
first_with(const struct verdict *const *verdicts, size_t n, enum verdict_action action, bool *all)
{
	const struct verdict *first = NULL;

	*all = n > 0;
	for (size_t i = 0; i < n; i++) {
		if (verdicts[i]->action != action)
			*all = false;
		else if (first == NULL)
			first = verdicts[i];
	}
	return first;
}

void
verdict_together(const struct verdict *const *verdicts, size_t n, struct verdict *out)
{
	const struct verdict *first;
	bool all;

	*out = (struct verdict){ .action = VERDICT_ACCEPT };
	first = first_with(verdicts, n, VERDICT_DEFER, &all);
	if (first != NULL) {
		*out = *first;
		return;
	}
	first = first_with(verdicts, n, VERDICT_REJECT, &all);
	if (all) {
		*out = *first;
		return;
	}
	first = first_with(verdicts, n, VERDICT_DROP, &all);
	if (all)
		*out = *first;
}
