#include <stdlib.h>
#include <string.h>

#include "report_priv.h"
#include "settings.h"

static json_t *
pool_json(const struct pool_stats *pool, uint64_t statements)
{
	return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I}", "down", pool->down ? 1 : 0, "lookups", (json_int_t)pool->jobs,
	    "statements", (json_int_t)statements,
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
ledger_json(const struct ledger_stats *ledger)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "questions", (json_int_t)ledger->questions, "transactions",
	    (json_int_t)ledger->transactions, "conflicts", (json_int_t)ledger->conflicts, "failures", (json_int_t)ledger->failures,
	    "refused", (json_int_t)ledger->refused, "removed", (json_int_t)ledger->removed);
}

static json_t *
lists_json(const struct dnsbl_state *lists, size_t n)
{
	json_t *object = json_object();

	for (size_t i = 0; i < n; i++) {
		json_t *list = json_pack("{s:I, s:I, s:I}", "asked", (json_int_t)lists[i].asked, "listed",
		    (json_int_t)lists[i].listed, "errors", (json_int_t)lists[i].errors);

		if (lists[i].aside_s > 0) {
			report_put_number(list, "set_aside_s", (uint64_t)lists[i].aside_s);
			report_put_text(list, "because", lists[i].why);
		}
		(void)json_object_set_new(object, lists[i].zone, list);
	}
	return object;
}

static json_t *
counters_json(struct counters *counters)
{
	const struct {
		const char *name;
		atomic_ullong *value;
	} list[] = {
		{ "sessions", &counters->sessions }, { "sessions_open", &counters->sessions_open },
		{ "sessions_waited", &counters->sessions_waited }, { "held", &counters->held },
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
		report_put_number(object, list[i].name, atomic_load(list[i].value));
	return object;
}

/* What the worker's crashes left behind: messages of one, and of two. */
static json_t *
flight_json(const struct flight_stats *stats)
{
	return json_pack("{s:I, s:I, s:I}", "crashes", (json_int_t)stats->crashes, "suspects", (json_int_t)stats->suspects,
	    "held", (json_int_t)stats->held);
}

char *
report_status(const struct report_status *status)
{
	json_t *object = json_object();
	char *line;

	(void)json_object_set_new(object, "ok", json_true());
	report_put_text(object, "program", "basalt-milter");
	report_put_text(object, "version", MILTER_VERSION);
	report_put_number(object, "uptime_s", (uint64_t)status->uptime_s);
	(void)json_object_set_new(object, "counters", counters_json(status->counters));
	(void)json_object_set_new(object, "crashes", flight_json(&status->flight));
	(void)json_object_set_new(object, "database", pool_json(&status->pool, status->resolver.statements));
	(void)json_object_set_new(object, "cache_known", cache_json(&status->resolver.known));
	(void)json_object_set_new(object, "cache_unknown", cache_json(&status->resolver.unknown));
	(void)json_object_set_new(object, "dns", dns_json(&status->dns));
	(void)json_object_set_new(object, "ledger", ledger_json(&status->ledger));
	if (status->n_lists > 0)
		(void)json_object_set_new(object, "lists", lists_json(status->lists, status->n_lists));
	line = json_dumps(object, REPORT_FLAGS);
	json_decref(object);
	return line;
}

char *
report_error(const char *why)
{
	json_t *object = json_pack("{s:b, s:s}", "ok", 0, "error", why);
	char *line = json_dumps(object, REPORT_FLAGS);

	json_decref(object);
	return line;
}

static const char *
member(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

static enum bs_err
copy_member(const json_t *object, const char *key, char *out, size_t size)
{
	const char *text = member(object, key);

	if (strlen(text) >= size)
		return BS_ERR_LIMIT;
	memcpy(out, text, strlen(text) + 1);
	return BS_OK;
}

static enum bs_err
copy_recipients(const json_t *object, struct report_request *out)
{
	const json_t *list = json_object_get(object, "rcpt");
	size_t n = json_array_size(list);

	if (n == 0 || n > REPORT_RECIPIENTS_MAX)
		return BS_ERR_LIMIT;
	for (size_t i = 0; i < n; i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (text == NULL || strlen(text) >= sizeof(out->rcpt[i]))
			return BS_ERR_LIMIT;
		memcpy(out->rcpt[i], text, strlen(text) + 1);
	}
	out->n_rcpt = n;
	return BS_OK;
}

/* What {"op":"explain"} asks for. */
static enum bs_err
read_explain(const json_t *object, struct report_request *out)
{
	json_int_t size = json_integer_value(json_object_get(object, "size"));
	enum bs_err err;

	if (size < 0 || size > REPORT_EXPLAIN_MAX)
		return BS_ERR_LIMIT;
	out->size = (uint64_t)size;
	out->at_s = json_integer_value(json_object_get(object, "at"));
	err = copy_member(object, "from", out->from, sizeof(out->from));
	if (err == BS_OK)
		err = copy_member(object, "client", out->client, sizeof(out->client));
	if (err == BS_OK)
		err = copy_member(object, "client_name", out->client_name, sizeof(out->client_name));
	if (err == BS_OK)
		err = copy_member(object, "helo", out->helo, sizeof(out->helo));
	if (err == BS_OK)
		err = copy_member(object, "login", out->login, sizeof(out->login));
	return err == BS_OK ? copy_recipients(object, out) : err;
}

enum bs_err
report_request(const char *line, size_t len, struct report_request *out)
{
	json_t *object = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	const char *op = json_string_value(json_object_get(object, "op"));
	enum bs_err err = BS_ERR_FORMAT;

	*out = (struct report_request){ 0 };
	if (op != NULL && strcmp(op, "status") == 0) {
		out->op = REPORT_OP_STATUS;
		err = BS_OK;
	} else if (op != NULL && strcmp(op, "explain") == 0) {
		out->op = REPORT_OP_EXPLAIN;
		err = read_explain(object, out);
	} else if (op != NULL) {
		err = BS_ERR_NOENT;
	}
	json_decref(object);
	return err;
}
