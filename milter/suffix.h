/*
 * suffix: the public suffix list: where registries end and owners begin. All of libpsl is here.
 *
 * The list is the newer one of Debian's publicsuffix package and what libpsl has built in. Names are ASCII, in lower case,
 * IDNs in their A-label form. Any thread.
 *
 *     err = suffix_list_new(&list);
 *     suffix_organisation(list, "mail.example.co.uk")      // "example.co.uk", inside the argument
 */
#ifndef MILTER_SUFFIX_H
#define MILTER_SUFFIX_H

#include <stdbool.h>

#include "err.h"

struct suffix_list;

/* BS_ERR_UNAVAIL: there is no list at all. */
enum bs_err suffix_list_new(struct suffix_list **out) BS_MUST_USE;
/* NULL is legal. */
void suffix_list_free(struct suffix_list *list);
/* The organisational domain of RFC 7489 section 3.2, inside name; a public suffix has none but itself. */
const char *suffix_organisation(const struct suffix_list *list, const char *name);
/* Whether strangers register names below this one. */
bool suffix_is_public(const struct suffix_list *list, const char *name);

#endif
