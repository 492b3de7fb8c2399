/*
 * authres: the Authentication-Results header (RFC 8601): whose is it, and how ours is written.
 *
 * Bytes in, bytes out; nothing is kept. Any thread.
 *
 *     if (authres_claims(value, "mx.example.org"))      // forged: we have not written it yet
 *         ...
 *     err = authres_write("mx.example.org", "PLAIN", "alice@example.org", out, sizeof(out));
 */
#ifndef MILTER_AUTHRES_H
#define MILTER_AUTHRES_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

#define AUTHRES_NAME "Authentication-Results"
#define AUTHRES_MAX 2000

/*
 * True when a header of this value could be read as written by authserv_id, however it is folded, cased, quoted or
 * commented; and also when it follows no grammar, since a lenient reader could take it for ours (section 5 lets us
 * remove any). value: unfolded or not, with or without its leading blank.
 */
bool authres_claims(const char *value, const char *authserv_id);

/*
 * The value for one message: "auth=pass" with the login name if login is not empty, else "none". Folded with "\n\t",
 * with the leading blank. BS_ERR_LIMIT when it does not fit.
 */
enum bs_err authres_write(const char *authserv_id, const char *auth_method, const char *login, char *out,
    size_t out_size) BS_MUST_USE;

#endif
