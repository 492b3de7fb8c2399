/*
 * utf8: is this text? Pure functions, any thread.
 *
 *     if (!bs_utf8_is_text(folder, strlen(folder))) ...
 */
#ifndef BS_UTF8_H
#define BS_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the character that text begins with (RFC 3629); 0: there is none, or it is a control character (C0, DEL, C1). */
size_t bs_utf8_char(const char *text, size_t len);
/* How many such characters it is; 0: not all of it, or nothing at all. */
size_t bs_utf8_length(const char *text, size_t len);
/* All of it is such characters, and none of them breaks a line or changes the direction of what is written behind it (U+2028, U+2029 and
 * Unicode's Bidi_Control): a name that can be shown beside others. */
bool bs_utf8_is_name(const char *text, size_t len);
/* All of it is such characters. Nothing at all is text. */
bool bs_utf8_is_text(const char *text, size_t len);

#endif
