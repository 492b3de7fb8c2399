#include "proxylog.h"

#include <stdlib.h>
#include <string.h>

#include "group.h"
#include "json_text.h"
#include "log.h"

#define PER_LINE 20 /* recipients; each takes at most some 600 bytes */

static const char *
verdict_text(enum bs_err err)
{
	switch (err) {
	case BS_OK:
		return "ok";
	case BS_ERR_SHORT:
		return "none";
	case BS_ERR_EXPIRED:
		return "expired";
	case BS_ERR_NOENT:
		return "unknown key";
	case BS_ERR_AUTH:
		return "forged";
	default:
		return bs_err_text(err);
	}
}

static json_t *
recipient_json(const struct recipient *rcpt)
{
	json_t *item = json_object();

	bs_json_put_text(item, "to", rcpt->path);
	if (strcmp(rcpt->orcpt, rcpt->path) != 0)
		bs_json_put_text(item, "orcpt", rcpt->orcpt);
	bs_json_put_text(item, "done", rcpt->done == NULL ? "nothing" : rcpt->done);
	if (rcpt->part != NULL && rcpt->part->what == BS_VERDICT_DELIVER) {
		bs_json_put_text(item, "folder", recipient_folder(rcpt));
		bs_json_put_text(item, "label", rcpt->part->label);
		bs_json_put_text(item, "note", rcpt->part->note);
	}
	if (rcpt->reply.code[0] != '\0') {
		bs_json_put_text(item, "code", rcpt->reply.code);
		bs_json_put_text(item, "reply", rcpt->reply.text);
	}
	return item;
}

static void
put_line(const struct inbound_message *m, json_t *take, size_t part, size_t parts)
{
	json_t *line = json_object();
	char *text;

	bs_json_put_text(line, "queue_id", m->queue_id);
	(void)json_object_set_new(line, "from", bs_json_text(m->env->sender));
	bs_json_put_text(line, "verdict", m->lost ? "not read" : verdict_text(m->summary->verdict));
	bs_json_put_text(line, "verdict_id", m->summary->verdict_id);
	if (m->summary->stripped > 1)
		(void)json_object_set_new(line, "stripped", json_integer((json_int_t)m->summary->stripped));
	if (m->lost)
		(void)json_object_set_new(line, "lost", json_true());
	if (parts > 1)
		(void)json_object_set_new(line, "part", json_pack("[I, I]", (json_int_t)part, (json_int_t)parts));
	(void)json_object_set_new(line, "rcpt", take);
	(void)json_object_set_new(line, "copies", json_integer((json_int_t)m->summary->groups));
	(void)json_object_set_new(line, "ms", json_integer((json_int_t)m->ms));
	text = json_dumps(line, JSON_COMPACT);
	bs_log(BS_LOG_INFO, "delivery %s", text == NULL ? "{}" : text);
	free(text);
	json_decref(line);
}

void
proxylog_message(const struct inbound_message *message)
{
	size_t n = message->env->n_recipients, parts = (n + PER_LINE - 1) / PER_LINE;

	for (size_t part = 0; part < parts; part++) {
		json_t *list = json_array();

		for (size_t i = part * PER_LINE; i < n && i < (part + 1) * PER_LINE; i++)
			(void)json_array_append_new(list, recipient_json(message->env->recipients[i]));
		put_line(message, list, part + 1, parts);
	}
}
