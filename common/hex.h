/*
 * hex: bytes as lower-case hexadecimal digits and back, without tables: fit for secrets. Pure functions, any thread.
 *
 *     bs_hex_encode(key, 32, text);                 // 64 digits, no NUL
 *     if (!bs_hex_decode(text, key, 32)) ...
 */
#ifndef BS_HEX_H
#define BS_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* out holds 2 * len; no NUL is added. */
void bs_hex_encode(const void *data, size_t len, char *out);
/* text holds at least 2 * len digits, lower-case. False: one is none; what is in out then does not count. */
bool bs_hex_decode(const char *text, void *out, size_t len);

#endif
