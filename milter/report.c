#include "report.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "settings.h"
#include "sock.h"

#define TEXT_MAX 254     /* bytes of one string from outside */
#define FINALS_MAX 5     /* final addresses that are spelt out */
#define PART_MAX 3500    /* bytes of recipients in one line, beyond the first recipient */
#define FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(6))

static const char *const outcome_texts[] = { "accepted", "rejected", "deferred", "discarded", "aborted" };

/* A string from outside: cut, without control characters, and valid UTF-8 whatever came. */
static json_t *
text(const char *from)
{
	char clean[TEXT_MAX + 1];
	size_t n = 0;
	json_t *value;

	for (; n < TEXT_MAX && from[n] != '\0'; n++)
		clean[n] = (char)((unsigned char)from[n] < 0x20 || from[n] == 0x7f ? '?' : from[n]);
	clean[n] = '\0';
	value = json_string(clean);
	if (value != NULL)
		return value;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)clean[i] >= 0x80)
			clean[i] = '?';
	return json_string(clean);
}

/* Sets key to text, unless it is empty. The _set_new functions take a NULL value as an error, and free nothing twice. */
static void
put_text(json_t *object, const char *key, const char *from)
{
	if (from[0] != '\0')
		(void)json_object_set_new(object, key, text(from));
}

static void
put_number(json_t *object, const char *key, uint64_t number)
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
		put_text(item, "check", bs_check_name(finding->id));
		put_text(item, "outcome", check_outcome_text(finding->outcome));
		put_text(item, "reason", finding->reason);
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
		(void)json_array_append_new(list, text(res->targets[i].address));
	(void)json_object_set_new(object, "final", list);
	put_number(object, "final_count", res->n);
}

static void
put_verdict(json_t *object, const struct verdict *verdict)
{
	put_text(object, "verdict", verdict_action_text(verdict->action));
	if (verdict->because != NULL) {
		put_text(object, "by", bs_check_name(verdict->because->id));
		put_text(object, "reason", verdict->because->reason);
	}
	put_text(object, "reply", verdict->reply.status);
	put_text(object, "folder", verdict->folder);
	put_text(object, "label", verdict->label);
	if (verdict->action != VERDICT_REJECT && verdict->action != VERDICT_DEFER)
		put_text(object, "noted", verdict->note);
	if (verdict->spared)
		(void)json_object_set_new(object, "no_bounce", json_true());
}

/* The accounts behind a recipient about which there is something to say. */
static void
put_accounts(json_t *object, const struct recipient *recipient)
{
	json_t *list = NULL;

	for (size_t i = 0; i < recipient->n_finals && i < FINALS_MAX; i++) {
		const struct final *final = recipient->finals[i];
		json_t *item, *found = findings_json(&final->found);

		if (found == NULL && final->verdict.action == VERDICT_ACCEPT && final->verdict.note[0] == '\0')
			continue;
		item = json_object();
		put_text(item, "account", final->target->address);
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
recipient_json(const struct recipient *recipient)
{
	json_t *object = json_object();

	put_text(object, "to", recipient->address);
	put_verdict(object, &recipient->verdict);
	if (recipient->refused_by_mta[0] != '\0') {
		put_text(object, "by", "postfix");
		put_text(object, "reason", recipient->refused_by_mta);
	}
	put_findings(object, &recipient->found);
	put_finals(object, recipient->res);
	put_accounts(object, recipient);
	return object;
}

/* What all parts of one message's report carry. */
static json_t *
head_json(const struct session *session, enum report_outcome outcome)
{
	const struct message *msg = &session->msg;
	json_t *object = json_object();

	put_text(object, "outcome", outcome_texts[outcome]);
	put_text(object, "queue_id", msg->queue_id);
	put_text(object, "client", session->client_addr);
	put_text(object, "client_name", session->client_name);
	put_text(object, "helo", session->helo);
	put_text(object, "auth", session->auth_login);
	(void)json_object_set_new(object, "from", text(msg->sender));
	return object;
}

static void
put_message(json_t *object, const struct session *session, const struct verdict *verdict)
{
	const struct message *msg = &session->msg;

	put_text(object, "message_id", msg->message_id);
	put_number(object, "size_declared", msg->size_declared);
	put_number(object, "header_bytes", msg->header_bytes);
	if (msg->body_bytes > 0)
		put_number(object, "body_bytes", msg->body_bytes);
	if (msg->n_forged > 0)
		put_number(object, "headers_removed", msg->n_forged);
	if (verdict != NULL && verdict->because != NULL)
		put_text(object, "reason", verdict->because->reason);
	put_findings(object, &msg->found);
	put_number(object, "ms", (uint64_t)(bs_now_ms() - msg->started_ms));
}

static void
log_json(json_t *object)
{
	char *line = json_dumps(object, FLAGS);

	if (line != NULL)
		bs_log(BS_LOG_INFO, "message %s", line);
	free(line);
}

/* The bytes that object takes in the line. */
static size_t
json_len(const json_t *object)
{
	return json_dumpb(object, NULL, 0, FLAGS) + 1;
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
		(void)json_array_append_new(all, recipient_json(session->msg.recipients[i]));
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
pool_json(const struct pool_stats *pool)
{
	return json_pack("{s:b, s:I, s:I, s:I, s:I}", "down", pool->down ? 1 : 0, "lookups", (json_int_t)pool->jobs,
	    "failures", (json_int_t)pool->failures, "timeouts", (json_int_t)pool->timeouts, "refused",
	    (json_int_t)pool->refused);
}

static json_t *
cache_json(const struct cache_stats *cache)
{
	return json_pack("{s:I, s:I, s:I}", "entries", (json_int_t)cache->entries, "hits", (json_int_t)cache->hits,
	    "misses", (json_int_t)cache->misses);
}

static json_t *
dns_json(const struct dns_unbound_stats *dns)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "queries", (json_int_t)dns->queries, "cache_hits",
	    (json_int_t)dns->cache_hits, "timeouts", (json_int_t)dns->timeouts, "servfails", (json_int_t)dns->servfails,
	    "refused", (json_int_t)dns->refused, "pending", (json_int_t)dns->pending, "cached", (json_int_t)dns->cached);
}

static json_t *
counters_json(struct counters *counters)
{
	const struct {
		const char *name;
		atomic_ullong *value;
	} list[] = {
		{ "sessions", &counters->sessions }, { "sessions_open", &counters->sessions_open },
		{ "sessions_waited", &counters->sessions_waited },
		{ "messages", &counters->messages }, { "accepted", &counters->accepted },
		{ "rejected", &counters->rejected }, { "deferred", &counters->deferred },
		{ "discarded", &counters->discarded }, { "aborted", &counters->aborted },
		{ "recipients_accepted", &counters->recipients_accepted },
		{ "recipients_rejected", &counters->recipients_rejected },
		{ "recipients_deferred", &counters->recipients_deferred },
		{ "headers_removed", &counters->headers_removed }, { "map_requests", &counters->map_requests },
		{ "map_found", &counters->map_found }, { "map_not_found", &counters->map_not_found },
		{ "map_temporary", &counters->map_temporary }, { "map_malformed", &counters->map_malformed },
	};
	json_t *object = json_object();

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		put_number(object, list[i].name, atomic_load(list[i].value));
	return object;
}

char *
report_status(const struct report_status *status)
{
	json_t *object = json_object();
	char *line;

	(void)json_object_set_new(object, "ok", json_true());
	put_text(object, "program", "basalt-milter");
	put_text(object, "version", MILTER_VERSION);
	put_number(object, "uptime_s", (uint64_t)status->uptime_s);
	(void)json_object_set_new(object, "counters", counters_json(status->counters));
	(void)json_object_set_new(object, "database", pool_json(&status->pool));
	(void)json_object_set_new(object, "cache_known", cache_json(&status->resolver.known));
	(void)json_object_set_new(object, "cache_unknown", cache_json(&status->resolver.unknown));
	(void)json_object_set_new(object, "dns", dns_json(&status->dns));
	line = json_dumps(object, FLAGS);
	json_decref(object);
	return line;
}

char *
report_error(const char *why)
{
	json_t *object = json_pack("{s:b, s:s}", "ok", 0, "error", why);
	char *line = json_dumps(object, FLAGS);

	json_decref(object);
	return line;
}

enum bs_err
report_request(const char *line, size_t len, enum report_op *out)
{
	json_t *object = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	const char *op = json_string_value(json_object_get(object, "op"));
	enum bs_err err = BS_ERR_FORMAT;

	if (op != NULL && strcmp(op, "status") == 0) {
		*out = REPORT_OP_STATUS;
		err = BS_OK;
	} else if (op != NULL) {
		err = BS_ERR_NOENT;
	}
	json_decref(object);
	return err;
}
