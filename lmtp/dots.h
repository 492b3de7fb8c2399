/*
 * dots: where a message ends that comes behind DATA (RFC 5321 4.5.2). Its dots stay stuffed: it goes on to a server that takes
 * them out.
 *
 * Only CR LF . CR LF ends it. A peer that takes another sequence for the end (bare LF before or behind the dot) would read
 * the rest as commands; such a dot gets one more, so that everybody takes it for text: who reads strictly sees a dot more,
 * Postfix never sends such a line.
 * Bytes in, bytes out, any cut; one thread.
 *
 *     struct dots d = DOTS_START;
 *     n = dots_feed(&d, data, len, out, &used);        // out holds 2 * len + 4; used < len only at the end
 *     if (dots_ended(&d)) ...                          // the dot itself was not put out
 */
#ifndef LMTP_DOTS_H
#define LMTP_DOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dots_state { DOTS_CRLF, DOTS_TEXT, DOTS_CR, DOTS_LF, DOTS_DOT, DOTS_DOT_CR, DOTS_ENDED };

struct dots {
	enum dots_state state;
};

#define DOTS_START ((struct dots){ DOTS_CRLF })

/* Returns how many bytes were written to out. */
size_t dots_feed(struct dots *d, const uint8_t *data, size_t len, uint8_t *out, size_t *used);
bool dots_ended(const struct dots *d);

#endif
