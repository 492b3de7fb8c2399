#include "milter_conn.h"

#include <stdlib.h>
#include <string.h>

#define OUTPUT_MAX ((size_t)4 * 1024 * 1024) /* all changes of one message */

/* What this filter does; a server that allows less cannot be served. */
#define ACTIONS (MILTER_ADDS_HEADERS | MILTER_CHANGES_HEADERS | MILTER_QUARANTINES)
/* Never of use here. */
#define ALWAYS_OFF (MILTER_NO_UNKNOWN | MILTER_NO_DATA | MILTER_NO_END_OF_HEADER)
#define ALWAYS_ON (MILTER_REFUSED_RCPT | MILTER_LEADING_BLANK)

/* The macros of one stage as they came. */
struct macros {
	uint8_t *pairs;
	size_t len;
};

struct milter_conn {
	struct transport_session line; /* first: what the events are given */
	const struct transport_events *events;
	void *app;
	void *session; /* the application's; NULL: none is open */
	const struct milter_conn_hooks *hooks;
	void *ctx;
	uint32_t steps; /* as agreed on */
	bool negotiated, in_message, over;
	bool at_end; /* changes may be asked for now, and at no other time */
	struct macros macros[MILTER_MACRO_STAGES];
	struct bs_buf *output;
};

/* Which bits spare what of each stage: "don't send" and "don't wait". */
static const struct {
	unsigned stage;
	uint32_t dont_send, dont_wait;
} stage_bits[] = {
	{ TRANSPORT_CONNECT, MILTER_NO_CONNECT, MILTER_NR_CONNECT }, { TRANSPORT_HELO, MILTER_NO_HELO, MILTER_NR_HELO },
	{ TRANSPORT_MAIL, MILTER_NO_MAIL, MILTER_NR_MAIL },          { TRANSPORT_RCPT, MILTER_NO_RCPT, MILTER_NR_RCPT },
	{ TRANSPORT_HEADER, MILTER_NO_HEADERS, MILTER_NR_HEADER },   { TRANSPORT_BODY, MILTER_NO_BODY, MILTER_NR_BODY },
};
#define N_STAGES (sizeof(stage_bits) / sizeof(stage_bits[0]))

static struct milter_conn *
conn_of(struct transport_session *line)
{
	return (struct milter_conn *)line;
}

/* --- the line --- */

/* The newest that the server sent: a later stage's hides an earlier one's. */
static const char *
get_macro(struct transport_session *line, const char *name)
{
	static const enum milter_macro_stage newest_first[] = { MILTER_AT_END, MILTER_AT_RCPT, MILTER_AT_MAIL,
		MILTER_AT_HELO, MILTER_AT_CONNECT };
	const struct milter_conn *conn = conn_of(line);

	for (size_t i = 0; i < sizeof(newest_first) / sizeof(newest_first[0]); i++) {
		const struct macros *macros = &conn->macros[newest_first[i]];
		const char *value = milter_wire_macro(macros->pairs, macros->len, name);

		if (value != NULL)
			return value;
	}
	return NULL;
}

static enum bs_err
insert_header(struct transport_session *line, int index, const char *name, const char *value)
{
	struct milter_conn *conn = conn_of(line);

	if (!conn->at_end || index < 0)
		return BS_ERR_ARG;
	return milter_wire_put_insert(conn->output, (uint32_t)index, name, value);
}

static enum bs_err
put_change(struct milter_conn *conn, const char *name, unsigned index, const char *value)
{
	if (!conn->at_end || index == 0)
		return BS_ERR_ARG;
	return milter_wire_put_change(conn->output, index, name, value);
}

static enum bs_err
delete_header(struct transport_session *line, const char *name, unsigned index)
{
	return put_change(conn_of(line), name, index, "");
}

static enum bs_err
change_header(struct transport_session *line, const char *name, unsigned index, const char *value)
{
	return value[0] == '\0' ? BS_ERR_ARG : put_change(conn_of(line), name, index, value);
}

static enum bs_err
quarantine(struct transport_session *line, const char *reason)
{
	struct milter_conn *conn = conn_of(line);

	return conn->at_end ? milter_wire_put_quarantine(conn->output, reason) : BS_ERR_ARG;
}

static enum bs_err
progress(struct transport_session *line)
{
	struct milter_conn *conn = conn_of(line);

	return conn->at_end ? conn->hooks->progress(conn->ctx) : BS_ERR_ARG;
}

static const struct transport_line conn_line = {
	.macro = get_macro,
	.insert_header = insert_header,
	.delete_header = delete_header,
	.change_header = change_header,
	.quarantine = quarantine,
	.progress = progress,
};

/* --- macros --- */

static void
forget_macros(struct milter_conn *conn, enum milter_macro_stage stage)
{
	free(conn->macros[stage].pairs);
	conn->macros[stage] = (struct macros){ 0 };
}

static void
forget_message_macros(struct milter_conn *conn)
{
	for (unsigned stage = MILTER_AT_MAIL; stage < MILTER_MACRO_STAGES; stage++)
		forget_macros(conn, stage);
}

/* BS_ERR_NOENT: those of a stage that is not listened to. */
static enum bs_err
stage_of(uint8_t command, enum milter_macro_stage *out)
{
	switch (command) {
	case MILTER_CONNECT:
		*out = MILTER_AT_CONNECT;
		return BS_OK;
	case MILTER_HELO:
		*out = MILTER_AT_HELO;
		return BS_OK;
	case MILTER_MAIL:
		*out = MILTER_AT_MAIL;
		return BS_OK;
	case MILTER_RCPT:
		*out = MILTER_AT_RCPT;
		return BS_OK;
	case MILTER_END:
		*out = MILTER_AT_END;
		return BS_OK;
	default:
		return BS_ERR_NOENT;
	}
}

static enum bs_err
on_macros(struct milter_conn *conn, const struct milter_packet *packet)
{
	enum milter_macro_stage stage;
	const uint8_t *pairs;
	uint8_t command, *copy;
	size_t len;
	enum bs_err err = milter_wire_macros(packet, &command, &pairs, &len);

	if (err != BS_OK || stage_of(command, &stage) != BS_OK)
		return err;
	forget_macros(conn, stage);
	if (len == 0)
		return BS_OK;
	copy = malloc(len);
	if (copy == NULL)
		return BS_ERR_NOMEM;
	memcpy(copy, pairs, len);
	conn->macros[stage] = (struct macros){ .pairs = copy, .len = len };
	return BS_OK;
}

/* --- sessions and messages --- */

static enum bs_err
open_session(struct milter_conn *conn)
{
	conn->session = conn->events->open(conn->app);
	return conn->session != NULL ? BS_OK : BS_ERR_NOMEM;
}

static void
end_message(struct milter_conn *conn)
{
	if (!conn->in_message)
		return;
	conn->in_message = false;
	forget_message_macros(conn);
	conn->hooks->done(conn->ctx);
}

static void
close_session(struct milter_conn *conn)
{
	if (conn->session != NULL)
		conn->events->close(conn->session);
	conn->session = NULL;
	end_message(conn);
	for (unsigned stage = 0; stage < MILTER_MACRO_STAGES; stage++)
		forget_macros(conn, stage);
}

static enum bs_err
give(struct milter_conn *conn, uint32_t dont_wait, const struct transport_answer *answer)
{
	if ((conn->steps & dont_wait) != 0)
		return BS_OK;
	switch (answer->action) {
	case TRANSPORT_REPLY:
		return milter_wire_put_reply(conn->output, &answer->reply);
	case TRANSPORT_DISCARD:
		return milter_wire_put(conn->output, MILTER_DISCARD, NULL, 0);
	case TRANSPORT_CONTINUE:
		break;
	}
	return milter_wire_put(conn->output, MILTER_CONTINUE, NULL, 0);
}

/* Spares the server every stage that nobody looks at, and every wait for an answer that is never given. */
static uint32_t
wanted_steps(const struct transport_events *events, uint32_t offered)
{
	uint32_t steps = ALWAYS_OFF | ALWAYS_ON;

	for (size_t i = 0; i < N_STAGES; i++) {
		if ((events->want & stage_bits[i].stage) == 0)
			steps |= stage_bits[i].dont_send;
		else if ((events->answers & stage_bits[i].stage) == 0)
			steps |= stage_bits[i].dont_wait;
	}
	return steps & offered;
}

static enum bs_err
on_negotiate(struct milter_conn *conn, const struct milter_packet *packet)
{
	const struct transport_macros *wanted = &conn->events->macros;
	const char *macros[MILTER_MACRO_STAGES] = { [MILTER_AT_CONNECT] = wanted->connect, [MILTER_AT_HELO] = wanted->helo,
		[MILTER_AT_MAIL] = wanted->mail, [MILTER_AT_RCPT] = wanted->rcpt, [MILTER_AT_END] = wanted->end };
	struct milter_offer offer, ours = { .actions = ACTIONS };
	bool lists;
	enum bs_err err = milter_wire_offer(packet, &offer);

	if (err != BS_OK)
		return err;
	if (conn->negotiated)
		return BS_ERR_FORMAT;
	if ((offer.actions & ACTIONS) != ACTIONS)
		return BS_ERR_VERSION;
	lists = (offer.actions & MILTER_SETS_MACROS) != 0;
	ours.version = offer.version < MILTER_VERSION_MAX ? offer.version : MILTER_VERSION_MAX;
	ours.actions |= lists ? MILTER_SETS_MACROS : 0;
	ours.steps = conn->steps = wanted_steps(conn->events, offer.steps);
	conn->negotiated = true;
	err = open_session(conn);
	return err != BS_OK ? err : milter_wire_put_offer(conn->output, &ours, lists ? macros : NULL);
}

static enum bs_err
on_connect(struct milter_conn *conn, const struct milter_packet *packet)
{
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };
	struct milter_client client;
	enum bs_err err = milter_wire_client(packet, &client);

	if (err != BS_OK)
		return err;
	conn->events->connect(conn->session, client.name, client.address, &answer);
	return give(conn, MILTER_NR_CONNECT, &answer);
}

static enum bs_err
on_helo(struct milter_conn *conn, const struct milter_packet *packet)
{
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };
	const char *name;
	enum bs_err err = milter_wire_string(packet, &name);

	if (err != BS_OK)
		return err;
	conn->events->helo(conn->session, name, &answer);
	return give(conn, MILTER_NR_HELO, &answer);
}

static enum bs_err
on_mail(struct milter_conn *conn, const struct milter_packet *packet)
{
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };
	char *args[MILTER_ARGS_MAX + 1];
	enum bs_err err = milter_wire_strings(packet, args);

	if (err != BS_OK)
		return err;
	if (!conn->in_message && !conn->hooks->begin(conn->ctx)) {
		conn->over = true;
		return BS_OK;
	}
	conn->in_message = true;
	conn->events->mail(conn->session, &conn->line, args[0], args + 1, &answer);
	return give(conn, MILTER_NR_MAIL, &answer);
}

static enum bs_err
on_rcpt(struct milter_conn *conn, const struct milter_packet *packet)
{
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };
	struct transport_refusal refusal;
	char *args[MILTER_ARGS_MAX + 1];
	bool refused;
	enum bs_err err = milter_wire_strings(packet, args);

	if (err != BS_OK)
		return err;
	refused = transport_is_refused(&conn->line, &refusal);
	conn->events->rcpt(conn->session, &conn->line, args[0], refused ? &refusal : NULL, &answer);
	if (refused)
		answer.action = TRANSPORT_CONTINUE;
	return give(conn, MILTER_NR_RCPT, &answer);
}

static enum bs_err
on_header(struct milter_conn *conn, const struct milter_packet *packet)
{
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };
	const char *name, *value;
	enum bs_err err = milter_wire_pair(packet, &name, &value);

	if (err != BS_OK)
		return err;
	conn->events->header(conn->session, name, value, &answer);
	return give(conn, MILTER_NR_HEADER, &answer);
}

static enum bs_err
on_body(struct milter_conn *conn, const struct milter_packet *packet)
{
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };

	conn->events->body(conn->session, packet->data, packet->len, &answer);
	return give(conn, MILTER_NR_BODY, &answer);
}

/* Sendmail may put the last of the body into it. Changes count only for a message that is accepted. */
static enum bs_err
on_end(struct milter_conn *conn, const struct milter_packet *packet)
{
	struct transport_answer ignored = { .action = TRANSPORT_CONTINUE }, answer = { .action = TRANSPORT_CONTINUE };
	enum bs_err err;

	if (packet->len > 0)
		conn->events->body(conn->session, packet->data, packet->len, &ignored);
	conn->hooks->ending(conn->ctx, conn->at_end = true);
	conn->events->end(conn->session, &conn->line, &answer);
	conn->hooks->ending(conn->ctx, conn->at_end = false);
	if (answer.action != TRANSPORT_CONTINUE)
		bs_buf_reset(conn->output);
	err = give(conn, 0, &answer);
	end_message(conn);
	return err;
}

static enum bs_err
on_abort(struct milter_conn *conn, const struct milter_packet *packet)
{
	(void)packet;
	conn->events->abort(conn->session);
	end_message(conn);
	return BS_OK;
}

static enum bs_err
on_quit(struct milter_conn *conn, const struct milter_packet *packet)
{
	close_session(conn);
	if (packet->command == MILTER_QUIT_NEXT)
		return open_session(conn);
	conn->over = true;
	return BS_OK;
}

/* Stages that nobody asked for, of a server that cannot leave them out. */
static enum bs_err
on_other(struct milter_conn *conn, const struct milter_packet *packet)
{
	const struct transport_answer answer = { .action = TRANSPORT_CONTINUE };

	return give(conn, packet->command == MILTER_DATA ? MILTER_NR_DATA :
	    packet->command == MILTER_UNKNOWN ? MILTER_NR_UNKNOWN : MILTER_NR_END_OF_HEADER, &answer);
}

/* When a command may come. */
enum when { FIRST, IN_SESSION, IN_MESSAGE };

static const struct {
	uint8_t command;
	enum when when;
	enum bs_err (*handle)(struct milter_conn *conn, const struct milter_packet *packet);
} commands[] = {
	{ MILTER_MACRO, IN_SESSION, on_macros },    { MILTER_HEADER, IN_MESSAGE, on_header },
	{ MILTER_RCPT, IN_MESSAGE, on_rcpt },       { MILTER_BODY, IN_MESSAGE, on_body },
	{ MILTER_MAIL, IN_SESSION, on_mail },       { MILTER_END, IN_MESSAGE, on_end },
	{ MILTER_ABORT, IN_SESSION, on_abort },     { MILTER_HELO, IN_SESSION, on_helo },
	{ MILTER_CONNECT, IN_SESSION, on_connect }, { MILTER_QUIT, FIRST, on_quit },
	{ MILTER_QUIT_NEXT, IN_SESSION, on_quit },  { MILTER_NEGOTIATE, FIRST, on_negotiate },
	{ MILTER_DATA, IN_SESSION, on_other },      { MILTER_UNKNOWN, IN_SESSION, on_other },
	{ MILTER_END_OF_HEADER, IN_SESSION, on_other },
};

enum bs_err
milter_conn_packet(struct milter_conn *conn, const struct milter_packet *packet)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (commands[i].command != packet->command)
			continue;
		if (conn->over || (commands[i].when >= IN_SESSION && conn->session == NULL) ||
		    (commands[i].when == IN_MESSAGE && !conn->in_message))
			return BS_ERR_FORMAT;
		return commands[i].handle(conn, packet);
	}
	return BS_ERR_FORMAT;
}

enum bs_err
milter_conn_new(const struct transport_events *events, void *app, const struct milter_conn_hooks *hooks, void *ctx,
    struct milter_conn **out)
{
	struct milter_conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL)
		return BS_ERR_NOMEM;
	conn->output = bs_buf_new(OUTPUT_MAX);
	if (conn->output == NULL) {
		free(conn);
		return BS_ERR_NOMEM;
	}
	conn->line.does = &conn_line;
	conn->events = events;
	conn->app = app;
	conn->hooks = hooks;
	conn->ctx = ctx;
	*out = conn;
	return BS_OK;
}

void
milter_conn_free(struct milter_conn *conn)
{
	if (conn == NULL)
		return;
	close_session(conn);
	bs_buf_free(conn->output);
	free(conn);
}

bool
milter_conn_is_over(const struct milter_conn *conn)
{
	return conn->over;
}

struct bs_buf *
milter_conn_output(struct milter_conn *conn)
{
	return conn->output;
}
