/*
 * spf_priv: what the files of spf share: the request in its normal form, the terms of a record, macros.
 *
 * Texts here are slices of a record or of the request, not NUL-terminated: nothing is copied while a record is read.
 *
 *     while ((err = spf_term_next(&rest, &term)) == BS_OK) ...      // BS_ERR_NOENT: that was all
 */
#ifndef MILTER_SPF_PRIV_H
#define MILTER_SPF_PRIV_H

#include "spf.h"

#define SPF_CLIENT_MAX 46
#define SPF_NAME_MAX 255     /* of a HELO name and a sender's domain that are looked at */
#define SPF_LOCAL_MAX 320    /* of a local part */
#define SPF_EXPANDED_MAX 2048

struct spf_slice {
	const char *at;
	size_t len;
};

/* Names that the client's address really has: those of its PTR that lead back to it (section 5.5). Asked for once. */
struct spf_ptr {
	bool asked;
	enum dns_status status; /* of the PTR query */
	size_t n;
	char names[SPF_HOSTS_MAX][DNS_NAME_MAX + 1];
};

/* One evaluation: the request in its normal form, and what has been spent of the limits. */
struct spf_eval {
	const struct spf_request *request;
	uint8_t addr[16];
	size_t addr_len; /* 4 or 16 */
	char client[SPF_CLIENT_MAX];
	char helo[SPF_NAME_MAX + 1];
	char local[SPF_LOCAL_MAX + 1];
	char sender[SPF_LOCAL_MAX + SPF_NAME_MAX + 2];
	char sender_domain[SPF_NAME_MAX + 1];
	struct spf_ptr ptr;
	struct spf_outcome *out;
};

void spf_native(struct spf_eval *eval);
void spf_libspf2(struct spf_eval *eval);
/* Sets result and, if it is empty still, reason. */
enum spf_result spf_say(struct spf_eval *eval, enum spf_result result, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Copies what fits, bytes that are not printable ASCII as '?'. */
void spf_copy_printable(char *out, size_t size, const char *text, size_t len);

/* --- spf_parse.c: records (section 12) --- */

enum spf_kind {
	SPF_ALL,
	SPF_INCLUDE,
	SPF_A,
	SPF_MX,
	SPF_PTR,
	SPF_IP4,
	SPF_IP6,
	SPF_EXISTS,
	SPF_REDIRECT,
	SPF_EXP,
	SPF_OTHER_MODIFIER,
};

struct spf_term {
	enum spf_kind kind;
	enum spf_result result;  /* of a mechanism that matches */
	struct spf_slice text;   /* all of it */
	struct spf_slice domain; /* its domain-spec; len 0: none given */
	uint8_t network[16];     /* ip4, ip6 */
	unsigned prefix4, prefix6;
};

/* True when a TXT record is an SPF record (section 4.5); *rest: what stands behind the version. */
bool spf_is_record(const uint8_t *data, size_t len, struct spf_slice *rest);
/* Takes the next term off the front. BS_ERR_NOENT: no more; BS_ERR_FORMAT: out->text is the term that is malformed. */
enum bs_err spf_term_next(struct spf_slice *rest, struct spf_term *out) BS_MUST_USE;
bool spf_slice_is(struct spf_slice slice, const char *word); /* whatever the case */

/* --- spf_macro.c: macro strings (section 7) --- */

enum spf_macro_use {
	SPF_MACRO_DOMAIN,  /* a domain-spec: ends in a macro or a top label */
	SPF_MACRO_VALUE,   /* of an unknown modifier */
	SPF_MACRO_EXPLAIN, /* the text that exp= leads to: blanks, and the letters c, r, t */
};

bool spf_macro_ok(struct spf_slice text, enum spf_macro_use use);
/*
 * Expands text, which spf_macro_ok() liked, for the record of domain. A domain-spec loses a final dot, and labels on the
 * left until it is no longer than DNS_NAME_MAX. BS_ERR_LIMIT: more than SPF_EXPANDED_MAX, or than size.
 */
enum bs_err spf_macro_expand(struct spf_eval *eval, const char *domain, struct spf_slice text, enum spf_macro_use use,
    char *out, size_t size) BS_MUST_USE;

/* --- spf_ptr.c: the client's own names (section 5.5) --- */

/* Asks for them, if that was not done yet. */
const struct spf_ptr *spf_ptr_names(struct spf_eval *eval);
bool spf_ptr_under(const char *name, const char *domain); /* name is domain, or a name below it */
/* The best of the names for %{p}: domain itself, one below it, any, "unknown". */
const char *spf_ptr_best(struct spf_eval *eval, const char *domain);
/* Whether one of an answer's addresses is the client's in its first bits. */
bool spf_addr_in(const struct spf_eval *eval, const struct dns_answer *answer, unsigned bits);
bool spf_addr_matches(const struct spf_eval *eval, const uint8_t *network, unsigned bits);
/* DNS_A or DNS_AAAA, as the client's address is. */
enum dns_type spf_addr_type(const struct spf_eval *eval);

#endif
