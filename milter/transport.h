/*
 * transport: how SMTP events come from the mail server and how answers go back, without the library that does it.
 *
 * A transport calls the events of one session one after the other, each with that session's pointer (of the
 * application's own, made by open); different sessions run on different threads. It tells the mail server which stages
 * are wanted and which of them are ever answered, so that a stage where nothing is said costs no round trip.
 * Engines: transport_native, transport_libmilter.
 *
 *     err = transport_native.listen(&settings, &engine);
 *     err = transport_native.run(engine, &events, app);       // on a thread of its own
 */
#ifndef MILTER_TRANSPORT_H
#define MILTER_TRANSPORT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "verdict.h"

/* The longest reason of a quarantine: more of it Postfix does not read. */
#define TRANSPORT_REASON_MAX 99

struct transport_session;

/* What a line can do; the functions below say what each means. All are always set. */
struct transport_line {
	const char *(*macro)(struct transport_session *line, const char *name);
	enum bs_err (*insert_header)(struct transport_session *line, int index, const char *name, const char *value);
	enum bs_err (*delete_header)(struct transport_session *line, const char *name, unsigned index);
	enum bs_err (*change_header)(struct transport_session *line, const char *name, unsigned index, const char *value);
	enum bs_err (*quarantine)(struct transport_session *line, const char *reason);
	enum bs_err (*progress)(struct transport_session *line);
};

/*
 * One session's line to the mail server; valid within an event, used by the event's thread alone. Who makes one (an engine,
 * a dry run that records what would be changed) puts this first in a struct of its own.
 */
struct transport_session {
	const struct transport_line *does;
};

enum transport_action {
	TRANSPORT_CONTINUE,
	TRANSPORT_REPLY,   /* the reply's code decides: 4xx or 5xx */
	TRANSPORT_DISCARD, /* at end only: 250 to the client, the message goes nowhere */
};

struct transport_answer {
	enum transport_action action;
	struct smtp_reply reply;
};

/* The server's own refusal of a recipient. */
struct transport_refusal {
	const char *status; /* "5.1.1" */
	const char *text;
};

enum transport_stage {
	TRANSPORT_CONNECT = 1,
	TRANSPORT_HELO = 2,
	TRANSPORT_MAIL = 4,
	TRANSPORT_RCPT = 8,
	TRANSPORT_HEADER = 16,
	TRANSPORT_BODY = 32,
	TRANSPORT_END = 64, /* always asked and answered */
};

/* Names of macros, parted by blanks, that the server is to send before each stage; "" or NULL: none. */
struct transport_macros {
	const char *connect, *helo, *mail, *rcpt, *end;
};

/* The strings of an event are valid within it. */
struct transport_events {
	unsigned want;    /* stages to be told of */
	unsigned answers; /* stages whose answer may be other than TRANSPORT_CONTINUE */
	/* All that transport_macro() is ever asked for: others do not arrive. Sent with a stage, they stay for the later ones. */
	struct transport_macros macros;
	/* A new SMTP session; NULL: out of memory, the session is deferred. */
	void *(*open)(void *app);
	/* addr: "192.0.2.1", "2001:db8::1" or ""; name: what the server knows the client by. */
	void (*connect)(void *session, const char *name, const char *addr, struct transport_answer *answer);
	void (*helo)(void *session, const char *name, struct transport_answer *answer);
	/* address with its <>; args: the ESMTP parameters, ended by NULL. */
	void (*mail)(void *session, struct transport_session *line, const char *address, char *const *args,
	    struct transport_answer *answer);
	/* refused: NULL, or the server refuses this recipient already, and ignores the answer. */
	void (*rcpt)(void *session, struct transport_session *line, const char *address,
	    const struct transport_refusal *refused, struct transport_answer *answer);
	/* value as it came: with its leading blank, folds as "\n". */
	void (*header)(void *session, const char *name, const char *value, struct transport_answer *answer);
	void (*body)(void *session, const uint8_t *data, size_t len, struct transport_answer *answer);
	void (*end)(void *session, struct transport_session *line, struct transport_answer *answer);
	/* The message ended before its end: RSET, a new MAIL, a lost client. May come without a message. */
	void (*abort)(void *session);
	void (*close)(void *session);
};

/* A macro of the mail server ("i": queue id, "{auth_authen}"), or NULL. Valid within the event. */
static inline const char *
transport_macro(struct transport_session *line, const char *name)
{
	return line->does->macro(line, name);
}

/*
 * The changes below are for end only, and hold only if the answer accepts. Names and values must not be forgeable into a
 * second header (no CR, every "\n" followed by a blank): BS_ERR_ARG. BS_ERR_IO: the server is gone, or refuses. Answer
 * either with a 4xx.
 */

/* index 0 stands above all others, the server's own Received too. value with its leading blank. */
BS_MUST_USE static inline enum bs_err
transport_insert_header(struct transport_session *line, int index, const char *name, const char *value)
{
	return line->does->insert_header(line, index, name, value);
}

/* The index-th (from 1) header of this name. Several of one name: from the highest index down. */
BS_MUST_USE static inline enum bs_err
transport_delete_header(struct transport_session *line, const char *name, unsigned index)
{
	return line->does->delete_header(line, name, index);
}

/* Puts value (with its leading blank, not empty) in the place of the index-th (from 1) header of this name. */
BS_MUST_USE static inline enum bs_err
transport_change_header(struct transport_session *line, const char *name, unsigned index, const char *value)
{
	return line->does->change_header(line, name, index, value);
}

/*
 * The message, when it is accepted, waits in the server's hold queue until a person releases it. reason is one line,
 * cut at TRANSPORT_REASON_MAX; Postfix logs that it holds a message, sendmail also why.
 */
BS_MUST_USE static inline enum bs_err
transport_quarantine(struct transport_session *line, const char *reason)
{
	return line->does->quarantine(line, reason);
}

/*
 * Tells the server that end is still at work, so that its patience starts anew. May be called as often as one likes: the
 * line sends one a second at most. BS_ERR_IO: the server is gone, nobody waits for the rest.
 */
BS_MUST_USE static inline enum bs_err
transport_progress(struct transport_session *line)
{
	return line->does->progress(line);
}

/*
 * address (with or without its <>) as the server reads it, which is where it delivers, or bounces to: "a%b.example",
 * "b.example!a", "a@b.example(c)" and "a@b.example@[192.0.2.1]" are all a@b.example to it. name: the macro that says so. As it
 * came where both differ in nothing but case, or the server does not say. Valid within the event.
 */
const char *transport_address(struct transport_session *line, const char *name, const char *address);

/* For engines, at RCPT: whether the macros say that the server itself refuses this recipient. */
bool transport_is_refused(struct transport_session *line, struct transport_refusal *out);

struct transport_settings {
	const char *address; /* "unix:/PATH", or "inet:HOST:PORT", as Postfix writes them; HOST is a loopback address */
	uid_t owner;         /* of the UNIX socket, whose mode is 0660; -1: leave */
	gid_t group;
	unsigned sessions_max; /* at once; one more waits in the backlog */
	int64_t drain_ms;      /* for messages under way after stop() */
	atomic_ullong *waited; /* counts connections that found all places taken */
};

struct transport_engine;

/* Two processes may share the work: the socket is made in one, which forks those that run. */
struct transport {
	const char *name;
	/* Makes the socket. settings are borrowed for ever. Once a process. */
	enum bs_err (*listen)(const struct transport_settings *settings, struct transport_engine **out);
	/* Serves until stop(). Who is in a message then may finish it; all others end as the server's milter_default_action says. */
	enum bs_err (*run)(struct transport_engine *engine, const struct transport_events *events, void *app);
	/* Any thread; returns at once, and run() in its time: where drains is true, within drain_ms and a moment. */
	bool drains;
	void (*stop)(struct transport_engine *engine);
};

/* A thread a connection, and our own reading of the protocol: the default. */
extern const struct transport transport_native;
/* The sendmail project's library. It ends without waiting for messages under way, and has no bound of sessions. */
extern const struct transport transport_libmilter;

#endif
