/*
 * spf: may this client send for this domain (RFC 7208)? Two engines behind one function.
 *
 * SPF_NATIVE is our own evaluator and the default; SPF_LIBSPF2 is Debian's library, known for wrong answers (docs/SPF.md
 * says which) and kept to compare with. Both ask the DNS through dns.h, within the limits of section 4.6.4 and one
 * deadline for the whole evaluation; past it the result is temperror. Everything that is put out is printable ASCII,
 * whatever a stranger sent or publishes. The request is borrowed and may be on the caller's stack. Any thread; the native engine
 * keeps nothing between calls.
 *
 *     struct spf_request request = { .dns = dns, .client = "192.0.2.1", .helo = "mx.example.net", .sender = "a@example.net",
 *         .receiver = "mx.example.org", .deadline_ms = bs_now_ms() + 20000 };
 *     spf_check(SPF_NATIVE, &request, &outcome);
 *     if (outcome.result == SPF_FAIL) ... outcome.explanation ...
 */
#ifndef MILTER_SPF_H
#define MILTER_SPF_H

#include "dns.h"

#define SPF_LOOKUPS_MAX 10 /* terms that ask the DNS, in all records of one check */
#define SPF_VOIDS_MAX 2    /* of them, those that found nothing */
#define SPF_HOSTS_MAX 10   /* names of one MX or PTR answer whose addresses are asked for */
#define SPF_TEXT_MAX 512

enum spf_engine { SPF_NATIVE, SPF_LIBSPF2 };

enum spf_identity {
	SPF_ID_MAILFROM, /* the return path; for an empty one postmaster@HELO (section 2.4) */
	SPF_ID_HELO,
};

/* Section 2.6. */
enum spf_result {
	SPF_NONE,      /* nothing published, or nothing to ask for */
	SPF_NEUTRAL,   /* the domain says nothing about this client */
	SPF_PASS,
	SPF_FAIL,
	SPF_SOFTFAIL,  /* probably not */
	SPF_TEMPERROR, /* DNS: try again later */
	SPF_PERMERROR, /* what is published makes no sense */
};

struct spf_request {
	struct dns *dns;
	enum spf_identity identity;
	const char *client;   /* address as text; an IPv4-mapped one is IPv4 */
	const char *helo;
	const char *sender;   /* without <>; "" is the null sender; not used for SPF_ID_HELO */
	const char *receiver; /* our host name, for explanations */
	int64_t deadline_ms;
};

/* Texts are never NULL; "" where there is nothing to say. */
struct spf_outcome {
	enum spf_result result;
	char domain[DNS_NAME_MAX + 1];     /* that was checked */
	char authority[DNS_NAME_MAX + 1];  /* whose record decided: domain, or where redirect= led */
	char mechanism[128];               /* the term that matched, as published, perhaps cut off: "-all" */
	char reason[SPF_TEXT_MAX];         /* for logs, in one line */
	char explanation[SPF_TEXT_MAX];    /* on fail: what the domain says (exp=, section 6.2): a stranger's words */
	unsigned lookups, voids;           /* that were counted; 0 with libspf2 */
};

void spf_check(enum spf_engine engine, const struct spf_request *request, struct spf_outcome *out);
/* "none", "pass" ...: the words of Received-SPF and Authentication-Results. */
const char *spf_result_text(enum spf_result result);

#endif
