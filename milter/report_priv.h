/*
 * report_priv: what the files of report share: strings and numbers into JSON objects. libjansson's alone.
 *
 * The _set_new functions of libjansson take a NULL value as an error, and free nothing twice: out of memory is a member less.
 */
#ifndef MILTER_REPORT_PRIV_H
#define MILTER_REPORT_PRIV_H

#include <jansson.h>

#include "report.h"

#define REPORT_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(6))

/* A string from outside: cut, without control characters, and valid UTF-8 whatever came. */
json_t *report_text(const char *from);
/* Sets key to text, unless it is empty. */
void report_put_text(json_t *object, const char *key, const char *from);
void report_put_number(json_t *object, const char *key, uint64_t number);

#endif
