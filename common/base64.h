/*
 * base64: RFC 4648 section 4, with padding, as header fields carry it. Pure functions, any thread. Not for secrets: its time
 * depends on the bytes.
 *
 *     char text[BS_BASE64_LEN(57)];
 *     size_t n = bs_base64_encode(data, 57, text);
 *     err = bs_base64_decode(text, n, out, sizeof(out), &len);
 */
#ifndef BS_BASE64_H
#define BS_BASE64_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* Characters that len bytes become. */
#define BS_BASE64_LEN(len) (((len) + 2) / 3 * 4)

/* out holds BS_BASE64_LEN(len); no NUL is added. Returns how many were written. */
size_t bs_base64_encode(const void *data, size_t len, char *out);
/*
 * Blanks, tabs, CR and LF are passed over, as folding leaves them. BS_ERR_FORMAT: another character, padding that is missing
 * or too much, bits behind the end that are not zero. BS_ERR_LIMIT: more than size bytes.
 */
enum bs_err bs_base64_decode(const char *text, size_t text_len, uint8_t *out, size_t size, size_t *len) BS_MUST_USE;

#endif
