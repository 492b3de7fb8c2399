/*
 * dkim: verifies the DKIM signatures of one message (RFC 6376, 8301, 8463) as it passes, with libopendkim.
 *
 * The header is kept until it is complete; without a DKIM-Signature in it nothing else is done and the body is not
 * looked at. Else the keys of at most AUTH_SIGNATURES_MAX signatures are asked for at once, and the body is hashed as it
 * comes, once for each canonicalisation. What the library is not asked to decide:
 *   - time is the request's, so that a dry run gives the result of its day;
 *   - a signature over a part of the body (l=), by rsa-sha1 or by an RSA key below DKIM_RSA_BITS_MIN does not pass;
 *   - a body without a final CRLF gets one (section 3.4.3);
 *   - key records come as text through the library's key look-up, never as a DNS packet that it would have to parse, and a
 *     DNS that does not answer stays a temperror: each signature is processed, and its result read, on its own.
 *
 * An engine serves any number of threads, a message one at a time. Our names are dkim_engine_* and dkim_msg_*, since the
 * library owns the rest of dkim_*. Errors: BS_ERR_NOMEM. What can't be verified for lack of memory is a temperror.
 *
 *     struct dkim_request request = { .dns = dns, .now_s = time(NULL), .deadline_ms = bs_now_ms() + 5000 };
 *     err = dkim_msg_new(engine, &msg);
 *     dkim_msg_header(msg, "From", " a@example.net"); ...
 *     dkim_msg_body(msg, &request, data, len); ...
 *     dkim_msg_end(msg, &request, &auth);                  // auth.dkim[], auth.n_dkim
 *     dkim_msg_free(msg);
 */
#ifndef MILTER_DKIM_H
#define MILTER_DKIM_H

#include <stddef.h>
#include <stdint.h>

#include "auth.h"
#include "dns.h"
#include "err.h"

#define DKIM_HEADER_MAX ((size_t)1024 * 1024) /* bytes of a header; in a longer one no signature is verified */
#define DKIM_FIELDS_MAX (2 * AUTH_SIGNATURES_MAX) /* DKIM-Signature fields that are looked at */
#define DKIM_RSA_BITS_MIN 1024 /* RFC 8301 section 3.2 */
#define DKIM_CLOCK_S 300       /* by which clocks may differ (RFC 6376 section 3.5, t= and x=) */

struct dkim_engine;
struct dkim_msg;

struct dkim_request {
	struct dns *dns;
	int64_t now_s;       /* since 1970 */
	int64_t deadline_ms; /* for the keys; the one of the first call with a request counts */
};

enum bs_err dkim_engine_new(struct dkim_engine **out) BS_MUST_USE;
/* After the last message. NULL is legal. */
void dkim_engine_free(struct dkim_engine *engine);

enum bs_err dkim_msg_new(struct dkim_engine *engine, struct dkim_msg **out) BS_MUST_USE;
/* NULL is legal. */
void dkim_msg_free(struct dkim_msg *msg);
/* One field, in the order of the message; value as the mail server gives it: with its leading blank, folds as "\n". */
void dkim_msg_header(struct dkim_msg *msg, const char *name, const char *value);
/* Ends the header. request->dns outlives the message. */
void dkim_msg_body(struct dkim_msg *msg, const struct dkim_request *request, const uint8_t *data, size_t len);
/* Waits for keys until the deadline. Sets dkim, n_dkim and dkim_done of out; once a message. */
void dkim_msg_end(struct dkim_msg *msg, const struct dkim_request *request, struct auth *out);

#endif
