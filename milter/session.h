/*
 * session: the facts of one SMTP session, and of the message that is being received in it.
 *
 * Filled stage by stage by dialogue.c, read by checks, verdicts and the log line. One session is used by one thread at a
 * time. Everything that a stranger sends is copied here within one budget (SESSION_BYTES_MAX) and within counts;
 * what goes beyond is BS_ERR_LIMIT, and the caller refuses the command. Strings are never NULL.
 *
 *     err = session_new(&session);
 *     err = session_set(session, &session->helo, "mx.example.net");
 *     err = session_add_recipient(session, "<alice@example.org>", &recipient);
 */
#ifndef MILTER_SESSION_H
#define MILTER_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "err.h"
#include "resolve.h"
#include "verdict.h"

#define SESSION_BYTES_MAX ((size_t)1024 * 1024)
#define SESSION_RECIPIENTS_MAX 1000
#define SESSION_FORGED_MAX 500
#define SESSION_NAMES_MAX 32 /* different header names of ours that one message may forge */

struct recipient {
	char *address;          /* as it came, without <>; case and extension kept */
	struct resolution *res; /* NULL: not resolved */
	struct finding findings[CHECK_COUNT];
	struct verdict verdict; /* may point into findings: a recipient never moves */
	char *refused_by_mta; /* Postfix's own refusal, or "" */
};

/* A header of the message to take out: the n-th (from 1) of its name. */
struct header_ref {
	const char *name; /* borrowed from struct header_count */
	unsigned index;
};

/* How often a header name was seen that we look after. */
struct header_count {
	char *name;
	unsigned n;
};

struct message {
	char *sender; /* without <>; "" is the null sender */
	char *queue_id;
	char *message_id; /* of the header, as it came */
	struct recipient **recipients;
	size_t n_recipients;
	struct finding findings[CHECK_COUNT];
	struct header_ref *forged;
	size_t n_forged;
	struct header_count names[SESSION_NAMES_MAX];
	size_t n_names;
	uint64_t size_declared; /* MAIL FROM ... SIZE=; 0: not said */
	uint64_t header_bytes;
	uint64_t body_bytes; /* 0 where no check reads the body */
	bool too_many;       /* a limit was passed in the header: refuse at the end */
	int64_t started_ms;
	bool open; /* between MAIL and end, abort or close */
};

struct session {
	char *client_addr; /* "192.0.2.1", "2001:db8::1", "" for a local one */
	char *client_name;
	char *helo;
	char *auth_login; /* SASL login name; "" : not authenticated */
	char *auth_method;
	struct finding findings[CHECK_COUNT];
	struct message msg;
	size_t bytes; /* of the budget */
};

enum bs_err session_new(struct session **out) BS_MUST_USE;
void session_free(struct session *session);
/* Replaces a string of the session or its message. */
enum bs_err session_set(struct session *session, char **where, const char *text) BS_MUST_USE;
/* Forgets the last message and opens a new one. address and args are those of MAIL FROM. */
enum bs_err session_begin_message(struct session *session, const char *address, char *const *args) BS_MUST_USE;
void session_end_message(struct session *session);
/* address is that of RCPT TO; kept as Postfix reads it: no source route, no idle quotes, no dot behind the domain. */
enum bs_err session_add_recipient(struct session *session, const char *address, struct recipient **out) BS_MUST_USE;
/* Counts a header of this name and returns which one of its name it is, from 1. */
enum bs_err session_count_header(struct session *session, const char *name, struct header_ref *out) BS_MUST_USE;
enum bs_err session_add_forged(struct session *session, const struct header_ref *ref) BS_MUST_USE;

#endif
