/*
 * store_policy_dmarc: what DMARC made of the mail of each day, counted: written by the milter, read by basaltctl's reports.
 *
 * Texts are printable ASCII; domains and client addresses only, never a local part. Errors are sql.h's.
 *
 *     err = bs_dmarc_add(store, rows, n, 20000, &full_day);
 *     err = bs_dmarc_list(store, "example.net", 20665, print_row, NULL);
 */
#ifndef BS_STORE_POLICY_DMARC_H
#define BS_STORE_POLICY_DMARC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "err.h"
#include "store_policy.h"

#define BS_DMARC_ANY_DAY (-1)

struct bs_dmarc_row {
	int64_t day;                      /* since 1970, UTC */
	char author[BS_DOMAIN_MAX + 1];   /* of From: */
	char domain[BS_DOMAIN_MAX + 1];   /* whose record ruled */
	char policy[129];                 /* as published: "p=reject; sp=none; adkim=r; ..." */
	char rua[513];                    /* who wants reports */
	char source[46];                  /* the client's address */
	char envelope[BS_DOMAIN_MAX + 1]; /* of MAIL FROM */
	char spf[281];                    /* "pass example.net", or "" */
	char dkim[1501];                  /* "pass example.net selector", with ';' between */
	char disposition[11];             /* "none", "quarantine", "reject" */
	bool dkim_aligned, spf_aligned;
	char reason[33];                  /* why it is not what was asked for, or "" */
	uint64_t messages;                /* last: what stands before it is the row's key */
};

/*
 * Adds the rows' counts to what is there, all or none. Rows are zeroed behind the ends of their texts. A row that is not there is left
 * out where its day has max of them (0: no bound); *full_day is that day then, else it is left alone. Writers at the same time may
 * go beyond max by what each of them adds.
 */
enum bs_err bs_dmarc_add(struct bs_store_policy *store, const struct bs_dmarc_row *rows, size_t n, int64_t max,
    int64_t *full_day) BS_MUST_USE;
typedef enum bs_err (*bs_dmarc_fn)(void *ctx, const struct bs_dmarc_row *row);
/* domain NULL: all. In order of day, domain, policy, author. */
enum bs_err bs_dmarc_list(struct bs_store_policy *store, const char *domain, int64_t day, bs_dmarc_fn fn,
    void *ctx) BS_MUST_USE;
/* Forgets the days before this one. */
enum bs_err bs_dmarc_forget(struct bs_store_policy *store, int64_t day) BS_MUST_USE;

#endif
