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

#include "auth.h"
#include "err.h"
#include "resolve.h"
#include "verdict.h"

#define SESSION_BYTES_MAX ((size_t)1024 * 1024)
#define SESSION_RECIPIENTS_MAX 1000
#define SESSION_FINALS_MAX 900 /* a verdict for each fits into one header (common/verdict_header.h) */
#define SESSION_FORGED_MAX 500
#define SESSION_NAMES_MAX 32 /* different header names of ours that one message may forge */

/* What the checks said of one thing: a place for each check, NULL where it said nothing. Owned. */
struct findings {
	struct finding *of[BS_CHECK_COUNT];
};

/* One account that a message goes to, however many recipients lead there; one verdict is his. */
struct final {
	const struct resolution_target *target; /* borrowed from the first recipient that leads here */
	struct findings found;
	struct verdict verdict;
};

/* One RCPT TO. */
struct recipient {
	char *address;          /* as it came, without <>; case and extension kept */
	struct resolution *res; /* NULL: not resolved */
	struct findings found;  /* of the address itself; what is said of an account stands in its struct final */
	struct final **finals;  /* the accounts behind it; of foreign ones none; owned by the message */
	size_t n_finals;
	struct verdict verdict; /* what RCPT was answered; may point into findings: nothing here moves */
	char *refused_by_mta;   /* Postfix's own refusal, or "" */
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
	struct final **finals;
	size_t n_finals;
	struct findings found;
	struct auth auth;
	unsigned wanted;               /* bits of the checks that some recipient's policy asks for */
	struct resolution *login;      /* the account of our own user who sends, once a check has looked it up; or NULL */
	void *state[BS_CHECK_COUNT];   /* what a check keeps of a message; its free_message() releases it */
	struct header_ref *forged;
	size_t n_forged;
	struct header_count names[SESSION_NAMES_MAX];
	size_t n_names;
	uint64_t size_declared; /* MAIL FROM ... SIZE=; 0: not said */
	uint64_t header_bytes;
	uint64_t body_bytes; /* 0 where no check reads the body */
	bool too_many;       /* a limit was passed in the header: refuse at the end */
	bool no_memory;      /* something of it could not be kept: defer at the end */
	int64_t started_ms;
	int64_t rcpt_until_ms; /* when RCPT must have its answer, whatever has not been asked by then; 0: not at RCPT */
	int64_t now_s; /* seconds since 1970: when the message came, or is said to have come */
	bool left;           /* without basalt-lmtp: some account's verdict could not be carried out */
	bool open; /* between MAIL and end, abort or close */
};

struct session {
	char *client_addr; /* "192.0.2.1", "2001:db8::1", "" for a local one */
	char *client_name;
	char *helo;
	char *auth_login; /* SASL login name; "" : not authenticated */
	char *auth_method;
	struct auth_spf helo_spf;    /* of the HELO that its domain names (auth_spf.h) */
	struct findings found;
	void *state[BS_CHECK_COUNT]; /* what a check keeps of a connection; its free_session() releases it */
	bool dry;                    /* nothing is written or counted: basaltctl explain */
	int64_t at_s;                /* 0, or the time that a dry run is to take for now */
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
/* The account behind the recipient, added to both, or found again. BS_ERR_LIMIT: too many accounts for one message. */
enum bs_err session_add_final(struct session *session, struct recipient *recipient, const struct resolution_target *target,
    struct final **out) BS_MUST_USE;
/* Keeps a copy of finding in its check's place. */
enum bs_err session_keep_finding(struct findings *found, const struct finding *finding) BS_MUST_USE;
/* True when the client is not one of our users: the checks of strangers apply. */
bool session_is_inbound(const struct session *session);
/* Counts a header of this name and returns which one of its name it is, from 1. */
enum bs_err session_count_header(struct session *session, const char *name, struct header_ref *out) BS_MUST_USE;
enum bs_err session_add_forged(struct session *session, const struct header_ref *ref) BS_MUST_USE;

#endif
