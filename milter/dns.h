/*
 * dns: what a check may ask of the DNS, and what it is told; who answers stands behind a small table of functions.
 *
 * dns_unbound.h answers from the network, tests answer from a zone in memory. An answer is immutable and reference
 * counted, since a cache may hold it too. Out of memory and a full queue are DNS_TEMPORARY: the caller can't do more about
 * them than about a dead server. Any thread. Deadlines are of bs_now_ms().
 *
 * A name is text: labels with dots between, any other byte but NUL as it is, no escapes; a final dot is ignored. Names
 * of an answer are the same; one that holds a dot or NUL inside a label can't be said so, and is left out.
 *
 *     switch (dns_ask(dns, "example.org", DNS_MX, bs_now_ms() + 3000, &answer)) {
 *     case DNS_FOUND: ... answer->records[0].data ...; dns_answer_unref(answer); break;
 *
 *     query = dns_begin(dns, name, DNS_A, deadline_ms);     // several at a time
 *     status = dns_finish(dns, query, &answer);
 */
#ifndef MILTER_DNS_H
#define MILTER_DNS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define DNS_NAME_MAX 253 /* as text, without a final dot */
#define DNS_LABEL_MAX 63
#define DNS_REVERSE_MAX 73 /* of dns_reverse(), with its NUL */

/* The numbers of the protocol (RFC 1035, 3596). */
enum dns_type { DNS_A = 1, DNS_PTR = 12, DNS_MX = 15, DNS_TXT = 16, DNS_AAAA = 28 };

enum dns_status {
	DNS_FOUND,     /* at least one record of this type, CNAMEs followed */
	DNS_NO_NAME,   /* there is no such name (RCODE 3), or it can't be one: label too long or empty, name too long */
	DNS_NO_DATA,   /* there is the name, but nothing of this type */
	DNS_TEMPORARY, /* no answer in time, SERVFAIL, any other failure: nothing is known */
};

struct dns_record {
	/*
	 * A: 4 bytes, AAAA: 16 bytes, network order. TXT: its strings joined (RFC 7208 section 3.3), any bytes.
	 * MX, PTR: a name, "" for the root; NUL-terminated beyond len, as TXT is.
	 */
	const uint8_t *data;
	size_t len;
	uint16_t preference; /* of an MX, else 0 */
};

struct dns_answer {
	atomic_uint refs;
	uint32_t ttl_s;
	size_t n; /* of records, in the order of the answer */
	struct dns_record records[];
};

struct dns_query; /* the answerer's own */

/* The head of an answerer's struct. */
struct dns {
	/* NULL: can't be asked now. Never waits. */
	struct dns_query *(*begin)(struct dns *dns, const char *name, enum dns_type type, int64_t deadline_ms);
	/* Waits until the query's deadline at most, and frees it. *out is set on DNS_FOUND alone. */
	enum dns_status (*finish)(struct dns *dns, struct dns_query *query, struct dns_answer **out);
	/* Frees it without waiting; NULL where finish() never waits. */
	void (*drop)(struct dns *dns, struct dns_query *query);
};

struct dns_query *dns_begin(struct dns *dns, const char *name, enum dns_type type, int64_t deadline_ms);
/* query may be NULL: DNS_TEMPORARY. *out (on DNS_FOUND alone): with a reference for the caller. */
enum dns_status dns_finish(struct dns *dns, struct dns_query *query, struct dns_answer **out) BS_MUST_USE;
/* Instead of dns_finish(), where the answer is wanted no more; query may be NULL. */
void dns_drop(struct dns *dns, struct dns_query *query);
/* Both in one. */
enum dns_status dns_ask(struct dns *dns, const char *name, enum dns_type type, int64_t deadline_ms,
    struct dns_answer **out) BS_MUST_USE;

/* Answers nothing: every question is DNS_TEMPORARY, at once. */
struct dns *dns_none(void);

/* Room for n records with data_max bytes of data in all (and a NUL each); NULL when out of memory. refs is 1. */
struct dns_answer *dns_answer_new(size_t n, size_t data_max);
/* Copies one record behind those that are there: never more of them or of data than dns_answer_new() was told. */
void dns_answer_add(struct dns_answer *answer, const void *data, size_t len, uint16_t preference);
struct dns_answer *dns_answer_ref(struct dns_answer *answer);
void dns_answer_unref(struct dns_answer *answer); /* NULL is legal */

/* Whether text can be a name at all: RFC 1035 section 2.3.4 lengths, no empty label but a final one, not the root. */
bool dns_name_ok(const char *name);
/* The name under which the PTR of an address stands; addr_len 4 or 16. */
void dns_reverse(const uint8_t *addr, size_t addr_len, char out[DNS_REVERSE_MAX]);
const char *dns_status_text(enum dns_status status);

#endif
