/*
 * rfc5322: takes a message apart as a mail server does for a milter: header fields with their folds, then the body.
 *
 * Line ends may be LF or CRLF; the body is given out with CRLF. The header ends at an empty line or at a line that is no
 * field. Bytes in, calls out; one thread. A field longer than RFC5322_FIELD_MAX is BS_ERR_LIMIT.
 *
 *     struct rfc5322 *split = rfc5322_new(&(struct rfc5322_sink){ .ctx = ctx, .header = header, .body = body });
 *     err = rfc5322_feed(split, data, len);
 *     err = rfc5322_end(split);
 */
#ifndef MILTER_RFC5322_H
#define MILTER_RFC5322_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define RFC5322_FIELD_MAX 102400 /* Postfix's header_size_limit */

struct rfc5322_sink {
	void *ctx;
	/* value with its leading blank, folds as "\n". */
	void (*header)(void *ctx, const char *name, const char *value);
	void (*body)(void *ctx, const uint8_t *data, size_t len);
};

struct rfc5322;

/* NULL when out of memory. */
struct rfc5322 *rfc5322_new(const struct rfc5322_sink *sink);
void rfc5322_free(struct rfc5322 *split);
enum bs_err rfc5322_feed(struct rfc5322 *split, const uint8_t *data, size_t len) BS_MUST_USE;
/* Gives out what is still held back. */
enum bs_err rfc5322_end(struct rfc5322 *split) BS_MUST_USE;

/* Past the comment that p stands on, comments in it included; NULL if it does not end (section 3.2.2). */
const char *rfc5322_skip_comment(const char *p);

#endif
