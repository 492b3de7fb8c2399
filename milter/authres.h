/*
 * authres: the Authentication-Results header (RFC 8601): whose is it, and how ours is written.
 *
 * Bytes in, bytes out; nothing is kept. Any thread.
 *
 *     if (authres_claims(value, "mx.example.org"))      // forged: we have not written it yet
 *         ...
 *     err = authres_write("mx.example.org", session, out, sizeof(out));
 */
#ifndef MILTER_AUTHRES_H
#define MILTER_AUTHRES_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "session.h"

#define AUTHRES_NAME "Authentication-Results"
#define AUTHRES_MAX 6000

/*
 * True when a header of this value could be read as written by authserv_id, however it is folded, cased, quoted or
 * commented; and also when it follows no grammar, since a lenient reader could take it for ours (section 5 lets us
 * remove any). value: unfolded or not, with or without its leading blank.
 */
bool authres_claims(const char *value, const char *authserv_id);

/*
 * The value for one message: the login ("auth=pass"), SPF for MAIL FROM and HELO, each DKIM signature and DMARC, as far as
 * they were looked at (sections 2.7.1 to 2.7.4, RFC 7489 section 11.2); "none" where nothing was. Folded with "\n\t", with the
 * leading blank. BS_ERR_LIMIT when it does not fit.
 */
enum bs_err authres_write(const char *authserv_id, const struct session *session, char *out, size_t out_size) BS_MUST_USE;

#endif
