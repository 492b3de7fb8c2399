#include "report_priv.h"

#include <stdlib.h>
#include <string.h>

#include "json_text.h"
#include "log.h"
#include "sock.h"

#define VALUE_MAX 4000   /* of a header that a dry run would write */
#define FINALS_MAX 5     /* final addresses that are spelt out */
#define PART_MAX 3500    /* bytes of recipients in one line, beyond the first recipient */

static const char *const outcome_texts[] = { "accepted", "rejected", "deferred", "discarded", "aborted" };

json_t *
report_text(const char *from)
{
	return bs_json_text(from);
}

void
report_put_text(json_t *object, const char *key, const char *from)
{
	bs_json_put_text(object, key, from);
}

void
report_put_number(json_t *object, const char *key, uint64_t number)
{
	(void)json_object_set_new(object, key, json_integer((json_int_t)number));
}

/* [{"check":..., "outcome":..., "reason":..., "ms":...}] of the checks that said something; NULL: none did. */
static json_t *
findings_json(const struct findings *found)
{
	json_t *list = NULL;

	for (size_t i = 0; i < BS_CHECK_COUNT; i++) {
		const struct finding *finding = found->of[i];
		json_t *item;

		if (finding == NULL)
			continue;
		item = json_object();
		report_put_text(item, "check", bs_check_name(finding->id));
		report_put_text(item, "outcome", check_outcome_text(finding->outcome));
		report_put_text(item, "reason", finding->reason);
		(void)json_object_set_new(item, "ms", json_real((double)finding->us / 1000.0));
		if (list == NULL)
			list = json_array();
		(void)json_array_append_new(list, item);
	}
	return list;
}

static void
put_findings(json_t *object, const struct findings *found)
{
	json_t *list = findings_json(found);

	if (list != NULL)
		(void)json_object_set_new(object, "checks", list);
}

static void
put_finals(json_t *object, const struct resolution *res)
{
	json_t *list;

	if (res == NULL || res->state != RESOLVE_ALIAS)
		return;
	list = json_array();
	for (size_t i = 0; i < res->n && i < FINALS_MAX; i++)
		(void)json_array_append_new(list, report_text(res->targets[i].address));
	(void)json_object_set_new(object, "final", list);
	report_put_number(object, "final_count", res->n);
}

static void
put_verdict(json_t *object, const struct verdict *verdict)
{
	report_put_text(object, "verdict", verdict_action_text(verdict->action));
	if (verdict->because != NULL) {
		report_put_text(object, "by", bs_check_name(verdict->because->id));
		report_put_text(object, "reason", verdict->because->reason);
	}
	report_put_text(object, "reply", verdict->reply.status);
	report_put_text(object, "folder", verdict->folder);
	report_put_text(object, "label", verdict->label);
	if (verdict->action != VERDICT_REJECT && verdict->action != VERDICT_DEFER)
		report_put_text(object, "noted", verdict->note);
	if (verdict->spared)
		(void)json_object_set_new(object, "no_bounce", json_true());
}

/* The accounts behind a recipient about which there is something to say. */
static void
put_accounts(json_t *object, const struct recipient *recipient, size_t max)
{
	json_t *list = NULL;

	for (size_t i = 0; i < recipient->n_finals && i < max; i++) {
		const struct final *final = recipient->finals[i];
		json_t *item, *found = findings_json(&final->found);

		if (found == NULL && final->verdict.action == VERDICT_ACCEPT && final->verdict.note[0] == '\0')
			continue;
		item = json_object();
		report_put_text(item, "account", final->target->address);
		put_verdict(item, &final->verdict);
		if (found != NULL)
			(void)json_object_set_new(item, "checks", found);
		if (list == NULL)
			list = json_array();
		(void)json_array_append_new(list, item);
	}
	if (list != NULL)
		(void)json_object_set_new(object, "accounts", list);
}

static json_t *
recipient_json(const struct recipient *recipient, size_t accounts_max)
{
	json_t *object = json_object();

	report_put_text(object, "to", recipient->address);
	put_verdict(object, &recipient->verdict);
	if (recipient->refused_by_mta[0] != '\0') {
		report_put_text(object, "by", "postfix");
		report_put_text(object, "reason", recipient->refused_by_mta);
	}
	put_findings(object, &recipient->found);
	put_finals(object, recipient->res);
	put_accounts(object, recipient, accounts_max);
	return object;
}

/* What all parts of one message's report carry. */
static json_t *
head_json(const struct session *session, enum report_outcome outcome)
{
	const struct message *msg = &session->msg;
	json_t *object = json_object();

	report_put_text(object, "outcome", outcome_texts[outcome]);
	report_put_text(object, "queue_id", msg->queue_id);
	report_put_text(object, "client", session->client_addr);
	report_put_text(object, "client_name", session->client_name);
	report_put_text(object, "helo", session->helo);
	report_put_text(object, "auth", session->auth_login);
	(void)json_object_set_new(object, "from", report_text(msg->sender));
	return object;
}

static void
put_message(json_t *object, const struct session *session, const struct verdict *verdict)
{
	const struct message *msg = &session->msg;

	report_put_text(object, "message_id", msg->message_id);
	report_put_number(object, "size_declared", msg->size_declared);
	report_put_number(object, "header_bytes", msg->header_bytes);
	if (msg->body_bytes > 0)
		report_put_number(object, "body_bytes", msg->body_bytes);
	if (msg->n_forged > 0)
		report_put_number(object, "headers_removed", msg->n_forged);
	if (verdict != NULL && verdict->because != NULL)
		report_put_text(object, "reason", verdict->because->reason);
	if (msg->left)
		(void)json_object_set_new(object, "left", json_true());
	put_findings(object, &msg->found);
	report_put_number(object, "ms", (uint64_t)(bs_now_ms() - msg->started_ms));
}

static void
log_json(json_t *object)
{
	char *line = json_dumps(object, REPORT_FLAGS);

	if (line != NULL)
		bs_log(BS_LOG_INFO, "message %s", line);
	free(line);
}

/* The bytes that object takes in the line. */
static size_t
json_len(const json_t *object)
{
	return json_dumpb(object, NULL, 0, REPORT_FLAGS) + 1;
}

/* How many recipients from first on go into one line. */
static size_t
part_end(const json_t *all, size_t first)
{
	size_t end = first, n = json_array_size(all), bytes = 0;

	for (; end < n; end++) {
		bytes += json_len(json_array_get(all, end));
		if (end > first && bytes > PART_MAX)
			break;
	}
	return end;
}

static size_t
count_parts(const json_t *all)
{
	size_t parts = 0, at = 0;

	do {
		at = part_end(all, at);
		parts++;
	} while (at < json_array_size(all));
	return parts;
}

/* Recipients first to end of all, in a line of their own. */
static void
log_part(json_t *object, const json_t *all, size_t first, size_t end, size_t part, size_t parts)
{
	json_t *list = json_array();

	for (size_t i = first; i < end; i++)
		(void)json_array_append(list, json_array_get(all, i));
	(void)json_object_set_new(object, "rcpt", list);
	if (parts > 1)
		(void)json_object_set_new(object, "part", json_pack("[ii]", (int)part, (int)parts));
	log_json(object);
}

void
report_message(const struct session *session, enum report_outcome outcome, const struct verdict *verdict)
{
	json_t *all = json_array(), *object;
	size_t parts, at = 0;

	for (size_t i = 0; i < session->msg.n_recipients; i++)
		(void)json_array_append_new(all, recipient_json(session->msg.recipients[i], FINALS_MAX));
	parts = count_parts(all);
	for (size_t part = 1; part <= parts; part++) {
		size_t end = part_end(all, at);

		object = head_json(session, outcome);
		if (part == 1)
			put_message(object, session, verdict);
		log_part(object, all, at, end, part, parts);
		json_decref(object);
		at = end;
	}
	json_decref(all);
}


static json_t *
message_json(const struct session *session, enum report_outcome outcome, const struct verdict *verdict)
{
	json_t *object = head_json(session, outcome), *all = json_array();

	put_message(object, session, verdict);
	for (size_t i = 0; i < session->msg.n_recipients; i++)
		(void)json_array_append_new(all, recipient_json(session->msg.recipients[i], SESSION_FINALS_MAX));
	(void)json_object_set_new(object, "rcpt", all);
	return object;
}

/* A header's value: longer than other texts, folds as blanks. */
static json_t *
value_json(const char *value)
{
	char clean[VALUE_MAX + 1];
	size_t n = 0;

	for (; n < VALUE_MAX && value[n] != '\0'; n++)
		clean[n] = (char)(value[n] >= 0x20 && value[n] < 0x7f ? value[n] : value[n] == '\n' || value[n] == '\t' ? ' ' : '?');
	clean[n] = '\0';
	return json_string(clean);
}

char *
report_explain(const struct session *session, enum report_outcome outcome, const struct verdict *verdict,
    const struct report_change *changes, size_t n_changes)
{
	json_t *object = message_json(session, outcome, verdict), *list = json_array();
	char *line;

	(void)json_object_set_new(object, "ok", json_true());
	for (size_t i = 0; i < n_changes; i++) {
		json_t *item = json_object();

		report_put_text(item, "what", changes[i].what);
		report_put_number(item, "index", changes[i].index);
		report_put_text(item, "name", changes[i].name);
		if (changes[i].value != NULL)
			(void)json_object_set_new(item, "value", value_json(changes[i].value));
		(void)json_array_append_new(list, item);
	}
	(void)json_object_set_new(object, "changes", list);
	line = json_dumps(object, REPORT_FLAGS);
	json_decref(object);
	return line;
}
