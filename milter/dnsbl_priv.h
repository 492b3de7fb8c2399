/*
 * dnsbl_priv: what dnsbl.c (questions, answers, health) and dnsbl_parse.c (the lists' configuration) share.
 *
 *     err = dnsbl_parse("ip bl.example 127.0.0.2=10", lists, &n, why, sizeof(why));
 *     if (dnsbl_weigh(&lists[0], answer_bytes, &weight) == DNSBL_LISTED) ...
 */
#ifndef MILTER_DNSBL_PRIV_H
#define MILTER_DNSBL_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "dnsbl.h"

struct dnsbl_code {
	uint8_t low[4], high[4];
	int64_t weight;
};

struct dnsbl_list {
	enum dnsbl_kind kind;
	char zone[DNS_NAME_MAX + 1];
	struct dnsbl_code codes[DNSBL_CODES_MAX];
	size_t n_codes;
	int64_t weight;          /* where n_codes is 0 */
	int64_t lowest, highest; /* what its answer can weigh; 0 (not listed) is among it */

	atomic_llong aside_until_ms, test_due_ms;
	_Atomic(const char *) why;
	atomic_uint silent; /* questions in a row that got no answer */
	atomic_ullong asked, listed, errors;
};

enum dnsbl_meaning { DNSBL_NOT_LISTED, DNSBL_LISTED, DNSBL_ERROR };

/* Fills in lists and *n. BS_ERR_ARG: why says what is wrong. */
enum bs_err dnsbl_parse(const char *text, struct dnsbl_list lists[DNSBL_LISTS_MAX], size_t *n, char *why, size_t why_size) BS_MUST_USE;
/* What one address that the list answered means; *weight on DNSBL_LISTED alone. */
enum dnsbl_meaning dnsbl_weigh(const struct dnsbl_list *list, const uint8_t answer[4], int64_t *weight);

#endif
