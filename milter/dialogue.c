#include "dialogue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "authres.h"
#include "judge.h"
#include "log.h"
#include "report.h"
#include "session.h"
#include "sock.h"

#define OUR_PREFIX "X-Basalt-" /* headers that only Basalt may write */

struct talk {
	const struct dialogue *shared;
	struct session *session;
	bool failed; /* a fact could not be kept at a stage that is not answered: the next one that is defers */
};

static const struct smtp_reply no_memory = { "451", "4.3.0", "Out of resources, try again later" };
static const struct smtp_reply too_many_recipients = { "452", "4.5.3", "Too many recipients" };
static const struct smtp_reply too_many_headers = { "554", "5.6.0", "Too many forged header fields" };
static const struct smtp_reply nothing_set = { "451", "4.3.0", "Message could not be processed, try again later" };

static void
answer_reply(struct transport_answer *answer, const struct smtp_reply *reply)
{
	answer->action = TRANSPORT_REPLY;
	answer->reply = *reply;
}

static void
note_fact(struct talk *talk, enum bs_err err)
{
	if (err != BS_OK)
		talk->failed = true;
}

static void *
on_open(void *app)
{
	struct dialogue *shared = app;
	struct talk *talk = calloc(1, sizeof(*talk));

	if (talk == NULL)
		return NULL;
	talk->shared = shared;
	if (session_new(&talk->session) != BS_OK) {
		free(talk);
		return NULL;
	}
	talk->session->dry = shared->dry;
	talk->session->at_s = shared->at_s;
	atomic_fetch_add(&shared->counters->sessions, 1);
	atomic_fetch_add(&shared->counters->sessions_open, 1);
	return talk;
}

static void
on_connect(void *arg, const char *name, const char *addr, struct transport_answer *answer)
{
	struct talk *talk = arg;

	(void)answer;
	note_fact(talk, session_set(talk->session, &talk->session->client_name, name));
	note_fact(talk, session_set(talk->session, &talk->session->client_addr, addr));
	checks_connect(&talk->shared->services, talk->session);
}

static void
on_helo(void *arg, const char *name, struct transport_answer *answer)
{
	struct talk *talk = arg;

	(void)answer;
	note_fact(talk, session_set(talk->session, &talk->session->helo, name));
	checks_helo(&talk->shared->services, talk->session);
}

static void
add(atomic_ullong *counter)
{
	atomic_fetch_add(counter, 1);
}

/* A transaction that ended early because nobody was left in it was refused or deferred, not aborted. */
static enum report_outcome
early_outcome(const struct message *msg)
{
	bool deferred = false;

	for (size_t i = 0; i < msg->n_recipients; i++) {
		enum verdict_action action = msg->recipients[i]->verdict.action;

		if (action != VERDICT_REJECT && action != VERDICT_DEFER)
			return REPORT_ABORTED;
		deferred = deferred || action == VERDICT_DEFER;
	}
	return msg->n_recipients == 0 ? REPORT_ABORTED : deferred ? REPORT_DEFERRED : REPORT_REJECTED;
}

/* Counts and logs the message that ends now, and forgets it. */
static void
finish(struct talk *talk, enum report_outcome outcome, const struct verdict *verdict)
{
	struct counters *counters = talk->shared->counters;

	if (!talk->session->msg.open)
		return;
	talk->session->msg.open = false;
	if (outcome == REPORT_ABORTED)
		outcome = early_outcome(&talk->session->msg);
	add(&counters->messages);
	add(outcome == REPORT_ACCEPTED ? &counters->accepted :
	    outcome == REPORT_REJECTED ? &counters->rejected :
	    outcome == REPORT_DEFERRED ? &counters->deferred :
	    outcome == REPORT_DISCARDED ? &counters->discarded : &counters->aborted);
	talk->shared->tell(talk->shared->tell_ctx, talk->session, outcome, verdict);
	checks_forget_message(talk->session);
	session_end_message(talk->session);
}

static enum bs_err
take_login(struct session *session, struct transport_session *line)
{
	const char *login = transport_macro(line, "{auth_authen}"), *method = transport_macro(line, "{auth_type}");
	enum bs_err err;

	err = session_set(session, &session->auth_login, login != NULL ? login : "");
	if (err != BS_OK)
		return err;
	return session_set(session, &session->auth_method, method != NULL ? method : "");
}

static void
on_mail(void *arg, struct transport_session *line, const char *address, char *const *args,
    struct transport_answer *answer)
{
	struct talk *talk = arg;

	(void)answer;
	finish(talk, REPORT_ABORTED, NULL);
	note_fact(talk, session_begin_message(talk->session, transport_address(line, "{mail_addr}", address), args));
	note_fact(talk, take_login(talk->session, line));
	checks_mail(&talk->shared->services, talk->session);
}

/* Macro i exists from the first accepted recipient on. */
static void
take_queue_id(struct session *session, struct transport_session *line)
{
	const char *id = transport_macro(line, "i");

	if (id != NULL && session->msg.queue_id[0] == '\0' &&
	    session_set(session, &session->msg.queue_id, id) != BS_OK)
		bs_log(BS_LOG_WARNING, "queue id %s: too much for one session", id);
}

static void
count_recipient(struct counters *counters, enum verdict_action action)
{
	add(action == VERDICT_REJECT ? &counters->recipients_rejected :
	    action == VERDICT_DEFER ? &counters->recipients_deferred : &counters->recipients_accepted);
}

static void
answer_recipient(struct talk *talk, struct recipient *recipient, struct transport_answer *answer)
{
	judge_recipient(&talk->shared->services, talk->session, recipient);
	count_recipient(talk->shared->counters, recipient->verdict.action);
	if (judge_is_out(recipient))
		answer_reply(answer, &recipient->verdict.reply);
}

/* Postfix said no before it asked us: for the log. */
static void
note_refusal(struct talk *talk, struct recipient *recipient, const struct transport_refusal *refused)
{
	struct verdict *verdict = &recipient->verdict;

	if (session_set(talk->session, &recipient->refused_by_mta, refused->text) != BS_OK)
		bs_log(BS_LOG_WARNING, "a refusal's text: too much for one session");
	(void)snprintf(verdict->reply.status, sizeof(verdict->reply.status), "%s", refused->status);
	verdict->action = refused->status[0] == '4' ? VERDICT_DEFER : VERDICT_REJECT;
	count_recipient(talk->shared->counters, verdict->action);
}

static void
on_rcpt(void *arg, struct transport_session *line, const char *address, const struct transport_refusal *refused,
    struct transport_answer *answer)
{
	struct talk *talk = arg;
	struct session *session = talk->session;
	struct recipient *recipient = NULL;
	enum bs_err err;

	take_queue_id(session, line);
	/* Where it refuses, the macro is the reply's text. */
	if (refused == NULL)
		address = transport_address(line, "{rcpt_addr}", address);
	err = talk->failed ? BS_ERR_NOMEM : session_add_recipient(session, address, &recipient);
	if (err != BS_OK) {
		answer_reply(answer, err == BS_ERR_LIMIT ? &too_many_recipients : &no_memory);
		return;
	}
	if (refused == NULL) {
		answer_recipient(talk, recipient, answer);
		return;
	}
	note_refusal(talk, recipient, refused);
}

/* The name without blanks before the colon, which some readers skip. */
static bool
name_is(const char *name, const char *wanted, bool prefix)
{
	size_t len = strlen(wanted);

	if (strncasecmp(name, wanted, len) != 0)
		return false;
	return prefix || name[len + strspn(name + len, " \t")] == '\0';
}

/* Notes a header that only we may write, to be taken out at the end. */
static enum bs_err
look_for_forgery(struct talk *talk, const char *name, const char *value)
{
	bool authres = name_is(name, AUTHRES_NAME, false);
	struct header_ref ref;
	enum bs_err err;

	if (!authres && !name_is(name, OUR_PREFIX, true))
		return BS_OK;
	err = session_count_header(talk->session, name, &ref);
	if (err != BS_OK)
		return err;
	if (authres && !authres_claims(value, talk->shared->carry.authserv_id))
		return BS_OK;
	return session_add_forged(talk->session, &ref);
}

static void
on_header(void *arg, const char *name, const char *value, struct transport_answer *answer)
{
	struct talk *talk = arg;
	struct session *session = talk->session;
	enum bs_err err;

	(void)answer;
	session->msg.header_bytes += strlen(name) + strlen(value) + 3;
	err = look_for_forgery(talk, name, value);
	if (err == BS_OK && name_is(name, "Message-ID", false) && session->msg.message_id[0] == '\0')
		err = session_set(session, &session->msg.message_id, value + strspn(value, " \t\r\n"));
	if (err == BS_ERR_LIMIT)
		session->msg.too_many = true;
	else if (err != BS_OK)
		session->msg.no_memory = true;
	checks_header(&talk->shared->services, session, name, value);
}

static void
on_body(void *arg, const uint8_t *data, size_t len, struct transport_answer *answer)
{
	struct talk *talk = arg;

	(void)answer;
	talk->session->msg.body_bytes += len;
	checks_body(&talk->shared->services, talk->session, data, len);
}

/* The changes of a message that is accepted. */
static enum bs_err
change_message(struct talk *talk, struct transport_session *line)
{
	struct carry_done done;
	enum bs_err err = carry_out(&talk->shared->carry, talk->session, line, &done);

	atomic_fetch_add(&talk->shared->counters->headers_removed, done.removed);
	talk->session->msg.left = done.left;
	if (err == BS_ERR_NOENT)
		bs_log(BS_LOG_ERROR, "no verdict key seals now: mail is deferred; see `basaltctl verdict-key list`");
	return err;
}

static enum report_outcome
outcome_of(const struct transport_answer *answer)
{
	if (answer->action == TRANSPORT_DISCARD)
		return REPORT_DISCARDED;
	if (answer->action == TRANSPORT_CONTINUE)
		return REPORT_ACCEPTED;
	return answer->reply.code[0] == '5' ? REPORT_REJECTED : REPORT_DEFERRED;
}

static void
conclude(struct talk *talk, struct transport_session *line, struct verdict *verdict, struct transport_answer *answer)
{
	if (talk->session->msg.too_many && !talk->failed) {
		answer_reply(answer, &too_many_headers);
		return;
	}
	if (!talk->failed && !talk->session->msg.no_memory)
		checks_end(&talk->shared->services, talk->session);
	if (talk->failed || talk->session->msg.no_memory || judge_message(talk->session, verdict) != BS_OK)
		answer_reply(answer, &no_memory);
	else if (verdict->action == VERDICT_REJECT || verdict->action == VERDICT_DEFER)
		answer_reply(answer, &verdict->reply);
	else if (verdict->action == VERDICT_DROP)
		answer->action = TRANSPORT_DISCARD;
	else if (change_message(talk, line) != BS_OK)
		answer_reply(answer, &nothing_set);
}

static void
on_end(void *arg, struct transport_session *line, struct transport_answer *answer)
{
	struct talk *talk = arg;
	struct verdict verdict = { .action = VERDICT_ACCEPT };

	take_queue_id(talk->session, line);
	conclude(talk, line, &verdict, answer);
	finish(talk, outcome_of(answer), &verdict);
}

static void
on_abort(void *arg)
{
	finish(arg, REPORT_ABORTED, NULL);
}

static void
on_close(void *arg)
{
	struct talk *talk = arg;

	finish(talk, REPORT_ABORTED, NULL);
	atomic_fetch_sub(&talk->shared->counters->sessions_open, 1);
	checks_forget_session(talk->session);
	session_free(talk->session);
	free(talk);
}

void
dialogue_events(struct transport_events *out)
{
	*out = (struct transport_events){
		.want = TRANSPORT_CONNECT | TRANSPORT_HELO | TRANSPORT_MAIL | TRANSPORT_RCPT | TRANSPORT_HEADER |
		    (checks_want_body() ? TRANSPORT_BODY : 0) | TRANSPORT_END,
		.answers = TRANSPORT_RCPT | TRANSPORT_END,
		.macros = { .mail = "{auth_authen} {auth_type} {mail_addr}", .rcpt = "i {rcpt_mailer} {rcpt_host} {rcpt_addr}", .end = "i" },
		.open = on_open,
		.connect = on_connect,
		.helo = on_helo,
		.mail = on_mail,
		.rcpt = on_rcpt,
		.header = on_header,
		.body = on_body,
		.end = on_end,
		.abort = on_abort,
		.close = on_close,
	};
}
