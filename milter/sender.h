/*
 * sender: envelope senders as limits and greylist compare them. Pure functions, any thread.
 *
 *     sender_stem("bounces+123-alice=example.org@list.example", stem);     // "bounces@list.example"
 */
#ifndef MILTER_SENDER_H
#define MILTER_SENDER_H

#include <stddef.h>

#define SENDER_MAX 321 /* a local part, @, a domain, and a NUL; what is longer is cut off */

/* In lower case. */
void sender_lower(const char *sender, char out[SENDER_MAX]);
/*
 * What stays the same from one message of a sender to the next, where each has a return path of its own: no +extension, no tag
 * of BATV (prvs=TAG=), all that SRS wrapped (SRS0=..., SRS1=...) as "srs", and "#" for every word of letters and digits with a
 * digit in it (VERP, serial numbers). "" is the null sender. Two senders may have one stem: they share their greylisting.
 */
void sender_stem(const char *sender, char out[SENDER_MAX]);
/* Behind the last "@", or "". */
const char *sender_domain(const char *sender);

#endif
