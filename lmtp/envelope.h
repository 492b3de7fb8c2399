/*
 * envelope: one transaction's sender and recipients as Postfix gave them, and how an address is taken apart.
 *
 * Owned by the client's thread; envelope_clear() frees. Parsers take hostile text. Errors: BS_ERR_FORMAT (no such path or
 * parameter), BS_ERR_LIMIT (too long or too many), BS_ERR_NOMEM.
 *
 *     err = envelope_mail(&env, "<a@example.net> BODY=8BITMIME");
 *     err = envelope_rcpt(&env, "<bob+x@example.org> ORCPT=rfc822;team@example.org", recipients_max);
 */
#ifndef LMTP_ENVELOPE_H
#define LMTP_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "verdict_header.h"

#define PATH_MAX_LEN 512
#define PARAM_MAX 512
#define REPLY_MAX 512

/* An answer in one line: "250" and "2.0.0 Saved". */
struct reply {
	char code[4]; /* "": none yet */
	char text[REPLY_MAX];
};

struct recipient {
	char path[PATH_MAX_LEN];  /* between < and > */
	char base[PATH_MAX_LEN];  /* the same without quotes and +detail: what a verdict is looked for by */
	char detail[PATH_MAX_LEN];
	char orcpt[PARAM_MAX];    /* decoded address, or "" */
	char raw_orcpt[PARAM_MAX], notify[64]; /* parameters for a backend that has DSN */
	const char *done;         /* what the verdict says: for the log; NULL: nothing yet */
	struct bs_verdict_part *part; /* NULL: none is for it */
	size_t group;             /* delivery.c's; valid while done is "deliver" */
	struct reply reply;
};

struct envelope {
	bool open; /* MAIL has been */
	char sender[PATH_MAX_LEN];
	bool body_8bit, smtputf8;
	char ret[16], envid[PARAM_MAX];
	struct recipient **recipients;
	size_t n_recipients;
};

enum bs_err envelope_mail(struct envelope *env, const char *args) BS_MUST_USE;
enum bs_err envelope_rcpt(struct envelope *env, const char *args, size_t recipients_max) BS_MUST_USE;
void envelope_clear(struct envelope *env);

/*
 * The address for a backend, without its <>: base with folder ("" : none) as detail, quoted where it must be.
 * BS_ERR_LIMIT when it does not fit.
 */
enum bs_err envelope_address(const struct recipient *rcpt, const char *folder, char *out, size_t size) BS_MUST_USE;
/* xtext (RFC 3461 section 4) to text. */
bool envelope_xtext(const char *from, char *out, size_t size);

void reply_set(struct reply *reply, const char *code, const char *text);

#endif
