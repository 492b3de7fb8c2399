#include "guard.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "authres.h"
#include "buf.h"
#include "crypto.h"
#include "log.h"

#define HEADER_BYTES ((size_t)8192) /* that stand for a message without Message-ID, and are kept back until one comes */
#define AUTHRES_FIELDS_MAX 500
#define TURN_S 5 /* for a suspect's turn: below the patience of a server at RCPT */
#define REASON "killed the filter twice; not checked"

static const struct smtp_reply not_now = { "451", "4.3.0", "Message could not be processed now, try again later" };

/* One SMTP session. */
struct guarded {
	struct guard *guard;
	void *inner;
	struct flight_slot *slot;
	bool alone;          /* it is our turn */
	bool held, deferred; /* this message: the dialogue sees nothing more of it */
	bool identified;     /* its headers go straight on */
	uint8_t id[FLIGHT_ID_LEN];
	uint8_t sender[BS_HASH_LEN], recipients[BS_HASH_LEN];
	struct bs_buf *headers; /* kept back: name, NUL, value, NUL, ... */
	unsigned authres_fields;
};

/* --- identities --- */

/* The digest of a stage's name and two parts. */
static void
digest(const char *stage, const void *a, size_t a_len, const void *b, size_t b_len, uint8_t out[BS_HASH_LEN])
{
	uint8_t parts[3 * BS_HASH_LEN];

	bs_sha256(stage, strlen(stage), parts);
	bs_sha256(a, a_len, parts + BS_HASH_LEN);
	bs_sha256(b, b_len, parts + 2 * BS_HASH_LEN);
	bs_sha256(parts, sizeof(parts), out);
}

/* An exclusive or: in whatever order they come. */
static void
add_recipient(struct guarded *g, const char *address)
{
	uint8_t hash[BS_HASH_LEN];

	bs_sha256(address, strlen(address), hash);
	for (size_t i = 0; i < sizeof(hash); i++)
		g->recipients[i] ^= hash[i];
}

/* --- one at a time --- */

static bool
take_turn(struct guarded *g)
{
	struct timespec until;

	if (g->alone)
		return true;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += TURN_S;
	g->alone = sem_clockwait(&g->guard->turn, CLOCK_MONOTONIC, &until) == 0;
	return g->alone;
}

/* The work on id is over. whole: all of it was done, and nothing happened. */
static void
give_turn(struct guarded *g, bool whole)
{
	flight_forget(g->slot);
	if (!g->alone)
		return;
	if (whole)
		flight_acquit(g->guard->flight, g->id);
	g->alone = false;
	(void)sem_post(&g->guard->turn);
}

/* True when the dialogue may work on g->id now. */
static bool
may_work(struct guarded *g)
{
	switch (flight_standing(g->guard->flight, g->id)) {
	case FLIGHT_HELD:
		g->held = true;
		break;
	case FLIGHT_SUSPECT:
		g->deferred = !take_turn(g);
		break;
	case FLIGHT_CLEAN:
		break;
	}
	if (g->held || g->deferred) {
		g->guard->inner->abort(g->inner);
		return false;
	}
	flight_note(g->slot, g->id);
	return true;
}

static void
forget_message(struct guarded *g, bool whole)
{
	give_turn(g, whole);
	g->held = g->deferred = g->identified = false;
	g->authres_fields = 0;
	memset(g->recipients, 0, sizeof(g->recipients));
	bs_buf_reset(g->headers);
}

/* --- the events --- */

static void
guarded_free(struct guarded *g)
{
	flight_leave(g->slot);
	bs_buf_free(g->headers);
	free(g);
}

static void *
on_open(void *app)
{
	struct guard *guard = app;
	struct guarded *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return NULL;
	g->guard = guard;
	g->headers = bs_buf_new(2 * HEADER_BYTES);
	g->inner = g->headers == NULL ? NULL : guard->inner->open(guard->inner_app);
	if (g->inner == NULL) {
		guarded_free(g);
		return NULL;
	}
	g->slot = flight_enter(guard->flight);
	return g;
}

static void
on_connect(void *session, const char *name, const char *addr, struct transport_answer *answer)
{
	struct guarded *g = session;

	g->guard->inner->connect(g->inner, name, addr, answer);
}

static void
on_helo(void *session, const char *name, struct transport_answer *answer)
{
	struct guarded *g = session;

	g->guard->inner->helo(g->inner, name, answer);
}

static void
on_mail(void *session, struct transport_session *line, const char *address, char *const *args,
    struct transport_answer *answer)
{
	struct guarded *g = session;

	forget_message(g, false);
	bs_sha256(address, strlen(address), g->sender);
	digest("mail", g->sender, sizeof(g->sender), "", 0, g->id);
	if (!may_work(g))
		return;
	flight_attend(g->slot);
	g->guard->inner->mail(g->inner, line, address, args, answer);
	flight_attend(NULL);
	give_turn(g, true);
}

static void
on_rcpt(void *session, struct transport_session *line, const char *address, const struct transport_refusal *refused,
    struct transport_answer *answer)
{
	struct guarded *g = session;

	if (!g->held && !g->deferred) {
		digest("rcpt", g->sender, sizeof(g->sender), address, strlen(address), g->id);
		if (may_work(g)) {
			flight_attend(g->slot);
			g->guard->inner->rcpt(g->inner, line, address, refused, answer);
			flight_attend(NULL);
			give_turn(g, true);
			if (refused == NULL && answer->action == TRANSPORT_CONTINUE)
				add_recipient(g, address);
		}
	}
	if (g->deferred)
		*answer = (struct transport_answer){ .action = TRANSPORT_REPLY, .reply = not_now };
}

static void
give_header(struct guarded *g, const char *name, const char *value, struct transport_answer *answer)
{
	flight_attend(g->slot);
	g->guard->inner->header(g->inner, name, value, answer);
	flight_attend(NULL);
}

static void
give_body(struct guarded *g, const uint8_t *data, size_t len, struct transport_answer *answer)
{
	flight_attend(g->slot);
	g->guard->inner->body(g->inner, data, len, answer);
	flight_attend(NULL);
}

static void
give_end(struct guarded *g, struct transport_session *line, struct transport_answer *answer)
{
	flight_attend(g->slot);
	g->guard->inner->end(g->inner, line, answer);
	flight_attend(NULL);
}

static void
replay_headers(struct guarded *g)
{
	const char *p = (const char *)bs_buf_data(g->headers), *end = p + bs_buf_len(g->headers);
	struct transport_answer ignored = { .action = TRANSPORT_CONTINUE };

	while (p < end) {
		const char *name = p, *value = p + strlen(p) + 1;

		give_header(g, name, value, &ignored);
		p = value + strlen(value) + 1;
	}
	bs_buf_reset(g->headers);
}

/* From here on it is this message, and no other. */
static void
identify(struct guarded *g, const char *kind, const void *what, size_t len)
{
	uint8_t envelope[BS_HASH_LEN];

	g->identified = true;
	digest("envelope", g->sender, sizeof(g->sender), g->recipients, sizeof(g->recipients), envelope);
	digest(kind, envelope, sizeof(envelope), what, len, g->id);
	if (may_work(g))
		replay_headers(g);
}

static void
identify_by_header(struct guarded *g)
{
	size_t len = bs_buf_len(g->headers);

	identify(g, "header", bs_buf_data(g->headers), len < HEADER_BYTES ? len : HEADER_BYTES);
}

/* Keeps it back. False: there is no room, it goes on behind the others. */
static bool
keep(struct guarded *g, const char *name, const char *value)
{
	size_t name_len = strlen(name) + 1, value_len = strlen(value) + 1;

	if (name_len + value_len > bs_buf_room(g->headers))
		return false;
	return bs_buf_append(g->headers, name, name_len) == BS_OK && bs_buf_append(g->headers, value, value_len) == BS_OK;
}

static void
on_header(void *session, const char *name, const char *value, struct transport_answer *answer)
{
	struct guarded *g = session;
	bool kept;

	if (strcasecmp(name, AUTHRES_NAME) == 0 && g->authres_fields < AUTHRES_FIELDS_MAX)
		g->authres_fields++;
	if (g->held || g->deferred)
		return;
	if (g->identified) {
		give_header(g, name, value, answer);
		return;
	}
	kept = keep(g, name, value);
	if (strcasecmp(name, "Message-ID") == 0)
		identify(g, "message-id", value, strlen(value));
	else if (!kept || bs_buf_len(g->headers) >= HEADER_BYTES)
		identify_by_header(g);
	if (!kept && !g->held && !g->deferred)
		give_header(g, name, value, answer);
}

static void
on_body(void *session, const uint8_t *data, size_t len, struct transport_answer *answer)
{
	struct guarded *g = session;

	if (!g->identified && !g->held && !g->deferred)
		identify_by_header(g);
	if (!g->held && !g->deferred)
		give_body(g, data, len, answer);
}

/* Nothing of it is read: all fields that claim results are taken out, ours and others'. */
static enum bs_err
hold(struct guarded *g, struct transport_session *line)
{
	for (unsigned i = g->authres_fields; i > 0; i--) {
		enum bs_err err = transport_delete_header(line, AUTHRES_NAME, i);

		if (err != BS_OK)
			return err;
	}
	return transport_quarantine(line, REASON);
}

static void
end_held(struct guarded *g, struct transport_session *line, struct transport_answer *answer)
{
	const char *queue_id = transport_macro(line, "i");

	if (hold(g, line) != BS_OK) {
		*answer = (struct transport_answer){ .action = TRANSPORT_REPLY, .reply = not_now };
		return;
	}
	atomic_fetch_add(&g->guard->counters->held, 1);
	bs_log(BS_LOG_ERROR, "message %s " REASON ": it waits in the hold queue (docs/POSTFIX.md, \"The message that kills\")",
	    queue_id != NULL ? queue_id : "without queue id");
}

static void
on_end(void *session, struct transport_session *line, struct transport_answer *answer)
{
	struct guarded *g = session;

	if (!g->identified && !g->held && !g->deferred)
		identify_by_header(g);
	if (g->held)
		end_held(g, line, answer);
	else if (g->deferred)
		*answer = (struct transport_answer){ .action = TRANSPORT_REPLY, .reply = not_now };
	else
		give_end(g, line, answer);
	forget_message(g, true);
}

static void
on_abort(void *session)
{
	struct guarded *g = session;

	g->guard->inner->abort(g->inner);
	forget_message(g, false);
}

static void
on_close(void *session)
{
	struct guarded *g = session;

	g->guard->inner->close(g->inner);
	forget_message(g, false);
	guarded_free(g);
}

void
guard_init(struct guard *guard, const struct transport_events *inner, void *inner_app, struct flight *flight,
    struct counters *counters)
{
	*guard = (struct guard){ .events = *inner, .inner = inner, .inner_app = inner_app, .flight = flight,
		.counters = counters };
	/* The stages at which a message gets its name. */
	guard->events.want |= TRANSPORT_MAIL | TRANSPORT_RCPT | TRANSPORT_HEADER;
	guard->events.answers |= TRANSPORT_RCPT;
	guard->events.open = on_open;
	guard->events.connect = on_connect;
	guard->events.helo = on_helo;
	guard->events.mail = on_mail;
	guard->events.rcpt = on_rcpt;
	guard->events.header = on_header;
	guard->events.body = on_body;
	guard->events.end = on_end;
	guard->events.abort = on_abort;
	guard->events.close = on_close;
	(void)sem_init(&guard->turn, 0, 1);
}
