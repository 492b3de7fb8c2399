/*
 * auth: what is known of who sent a message: the results of SPF, DKIM and DMARC, as facts that several checks, the
 * Authentication-Results header and the log read. Filled by the checks; plain data, owned by struct message.
 *
 * Every text is printable ASCII without quotes, folds or brackets, whatever a stranger sent: who fills it in sees to that.
 */
#ifndef MILTER_AUTH_H
#define MILTER_AUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "dns.h"
#include "spf.h"

#define AUTH_SIGNATURES_MAX 5 /* of one message that are verified */
#define AUTH_REASON_MAX 100

struct auth_spf {
	bool done;
	enum spf_result result;
	char domain[DNS_NAME_MAX + 1];    /* that was checked */
	char reason[AUTH_REASON_MAX + 1]; /* "" or in few words why */
	char explanation[SPF_TEXT_MAX];   /* on fail: the domain's own words, or "" */
};

/* RFC 8601 section 2.7.1. */
enum auth_dkim_result { AUTH_DKIM_NONE, AUTH_DKIM_PASS, AUTH_DKIM_FAIL, AUTH_DKIM_POLICY, AUTH_DKIM_NEUTRAL, AUTH_DKIM_TEMPERROR, AUTH_DKIM_PERMERROR };

struct auth_dkim {
	enum auth_dkim_result result;
	char domain[DNS_NAME_MAX + 1];   /* d= */
	char selector[DNS_NAME_MAX + 1]; /* s= */
	char algorithm[20];              /* a= */
	char b[9];                       /* the first eight characters of b= (RFC 6008) */
	char reason[AUTH_REASON_MAX + 1];
};

enum auth_dmarc_result { AUTH_DMARC_NONE, AUTH_DMARC_PASS, AUTH_DMARC_FAIL, AUTH_DMARC_TEMPERROR, AUTH_DMARC_PERMERROR };
enum auth_dmarc_policy { AUTH_DMARC_P_NONE, AUTH_DMARC_P_QUARANTINE, AUTH_DMARC_P_REJECT };

struct auth_dmarc {
	bool done;
	enum auth_dmarc_result result;
	enum auth_dmarc_policy policy;   /* that the domain asks for, for this message */
	char from[DNS_NAME_MAX + 1];     /* domain of the From: header, "" */
	char org[DNS_NAME_MAX + 1];      /* where the record stands */
	bool spf_aligned, dkim_aligned;  /* and pass */
	char reason[AUTH_REASON_MAX + 1];
};

struct auth {
	struct auth_spf helo, mailfrom;
	struct auth_dkim dkim[AUTH_SIGNATURES_MAX];
	size_t n_dkim;
	bool dkim_done;
	struct auth_dmarc dmarc;
};

const char *auth_dkim_result_text(enum auth_dkim_result result);   /* the words of Authentication-Results */
const char *auth_dmarc_result_text(enum auth_dmarc_result result);
const char *auth_dmarc_policy_text(enum auth_dmarc_policy policy); /* "none", "quarantine", "reject" */
/*
 * True when a bounce to the envelope sender reaches who sent: SPF passed for MAIL FROM. No signature says so, not even one of that
 * very domain: whoever got a signed message can send it again, with any return path. A null sender is never verified: nobody would
 * get the bounce.
 */
bool auth_return_path_verified(const struct auth *auth, const char *sender);
/* Copies text, what is not printable ASCII as '?', quotes, brackets and backslashes as '\'' . */
void auth_clean(char *out, size_t size, const char *text);

#endif
