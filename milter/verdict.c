#include "verdict.h"

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
preferred_action(enum check_preference preference, const struct finding *finding)
{
	switch (preference) {
	case CHECK_LABEL:
		return VERDICT_LABEL;
	case CHECK_FOLDER:
		return VERDICT_FOLDER;
	case CHECK_DROP:
		return VERDICT_DROP;
	case CHECK_REJECT:
		return finding->reply.code[0] == '4' ? VERDICT_DEFER : VERDICT_REJECT;
	case CHECK_OFF:
	case CHECK_NOTE:
		break;
	}
	return VERDICT_ACCEPT;
}

/* What one finding alone would do. */
static enum verdict_action
finding_action(const struct finding *finding, const struct verdict_policy *policy)
{
	enum check_preference preference = policy->preference[finding->id];

	if (preference == CHECK_OFF || preference == CHECK_NOTE)
		return VERDICT_ACCEPT;
	if (finding->outcome == CHECK_HIT)
		return preferred_action(preference, finding);
	if (finding->outcome != CHECK_DOWN || finding->down == CHECK_DOWN_SKIP)
		return VERDICT_ACCEPT;
	return finding->down == CHECK_DOWN_DEFER ? VERDICT_DEFER : preferred_action(preference, finding);
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
set_marks(struct verdict *verdict, enum verdict_action action, const struct verdict_policy *policy)
{
	if (action == VERDICT_LABEL)
		memcpy(verdict->label, policy->label, sizeof(verdict->label));
	if (action == VERDICT_FOLDER)
		memcpy(verdict->folder, policy->folder, sizeof(verdict->folder));
}

void
verdict_decide(const struct finding *const *findings, size_t n, const struct verdict_policy *policy, struct verdict *out)
{
	*out = (struct verdict){ .action = VERDICT_ACCEPT };
	for (size_t i = 0; i < n; i++) {
		enum verdict_action action = finding_action(findings[i], policy);

		set_marks(out, action, policy);
		if (action > out->action) {
			out->action = action;
			out->because = findings[i];
		}
	}
	if (out->action == VERDICT_REJECT || out->action == VERDICT_DEFER)
		set_reply(out);
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
verdict_message(const struct verdict *const *verdicts, size_t n, struct verdict *out)
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
