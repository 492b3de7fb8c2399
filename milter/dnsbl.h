/*
 * dnsbl: block and allow lists in the DNS (RFC 5782): which there are, what their answers weigh, and which of them is not
 * to be trusted now.
 *
 * A list is given as "KIND ZONE WEIGHT" or "KIND ZONE CODE=WEIGHT,CODE=WEIGHT...", lists with ";" between. KIND is "ip" (the
 * client's address) or "domain" (the sender's and HELO's). A code is an address of which each part is a number, a range
 * "2-11" or "*". A bare weight is that of every answer in 127.0.0.0/8. Weights are -1000 to 1000; an allow list has negative ones.
 * Of several answers of one list the weightiest counts.
 *
 * An answer in 127.255.0.0/16 (the list refuses us), outside of 127.0.0.0/8 (somebody else answers), or 127.0.0.1 where no code
 * names it, is an error of the list, never a hit. Such a list, one that names the test entry that must not be listed or does not
 * name the one that must (asked for once an hour), and one that keeps silent many times in a row, is set aside for a while,
 * which is logged.
 *
 * A look is one thing that is asked of all lists of a kind at once; it belongs to one thread. Else any thread.
 *
 *     look = dnsbl_begin_client(dnsbl, dns, &addr);
 *     dnsbl_finish(look, &score);              // waits; or dnsbl_drop(look)
 *     if (score.lowest >= policy->dnsbl_score) ... a hit, whatever those would have said that did not answer
 */
#ifndef MILTER_DNSBL_H
#define MILTER_DNSBL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns.h"
#include "network.h"

#define DNSBL_LISTS_MAX 32
#define DNSBL_CODES_MAX 16 /* of one list */
#define DNSBL_TEXT_MAX 160

enum dnsbl_kind { DNSBL_IP, DNSBL_DOMAIN };

struct dnsbl;
struct dnsbl_look;

/* What lists said; several looks add up. */
struct dnsbl_score {
	int64_t sum;             /* of those that answered */
	int64_t lowest, highest; /* what it could have been, had all of them */
	int64_t credit;          /* 0 or less: what allow lists gave, in all three */
	int64_t silent_credit;   /* 0 or less: what those that kept silent could have given, in lowest */
	char text[DNSBL_TEXT_MAX]; /* "zen.example 127.0.0.4 (10), ..."; perhaps cut off */
	char down[DNSBL_TEXT_MAX]; /* the zones that did not answer */
};

/* How a list does. */
struct dnsbl_state {
	const char *zone;
	uint64_t asked, listed, errors;
	int64_t aside_s;  /* 0: in use */
	const char *why;  /* aside_s > 0 */
};

/* timeout_ms: of one question, from its beginning. BS_ERR_ARG: why says what is wrong. lists may be "". */
enum bs_err dnsbl_new(const char *lists, int timeout_ms, struct dnsbl **out, char *why, size_t why_size) BS_MUST_USE;
void dnsbl_free(struct dnsbl *dnsbl); /* after the last look */

/* NULL: no list of this kind, nothing to be asked (a private address, no domain name), or no memory. */
struct dnsbl_look *dnsbl_begin_client(struct dnsbl *dnsbl, struct dns *dns, const struct network_addr *client);
struct dnsbl_look *dnsbl_begin_domain(struct dnsbl *dnsbl, struct dns *dns, const char *domain);
/* Waits for the answers, adds them to score, frees look. NULL is legal. */
void dnsbl_finish(struct dnsbl_look *look, struct dnsbl_score *score);
void dnsbl_drop(struct dnsbl_look *look); /* NULL is legal */
void dnsbl_add(struct dnsbl_score *sum, const struct dnsbl_score *part);
/*
 * Whether allow lists gave anything, or could have; the score without that, of a name that is not the client's; and the score of a
 * name of which nobody knows: sum and highest without it, lowest with it.
 */
bool dnsbl_has_credit(const struct dnsbl_score *score);
void dnsbl_take_credit(struct dnsbl_score *score);
void dnsbl_doubt_credit(struct dnsbl_score *score);

/* Fills in one state for each list; how many. */
size_t dnsbl_states(struct dnsbl *dnsbl, struct dnsbl_state out[DNSBL_LISTS_MAX]);

#endif
