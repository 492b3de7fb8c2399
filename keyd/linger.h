/*
 * linger: how long an account's keys stay once nobody uses them: what its plan says, as the role `policy` has read it, within
 * session.linger_max_s; session.linger_s where it says nothing or nothing is known.
 *
 * Nothing waits for an answer. What is known of an account is kept (seen.h) until there is another answer, however long the
 * database is away; it is asked for again when a login or the end of the last session finds it older than session.linger_check_s.
 *
 *     linger_apply(v, ring);                    // at a login
 *     linger_ask(v, ring->name);                // before a ring is let go
 *     linger_serve(v);                          // answers are there
 */
#ifndef KEYD_LINGER_H
#define KEYD_LINGER_H

#include "vault.h"

/* Asks if what is known is old, or nothing is. */
void linger_ask(struct vault *v, const char *user);
/* The same, and the ring stays as long as is known. One that nobody holds may be gone afterwards. */
void linger_apply(struct vault *v, struct ring *ring);
/* What is known of an account, within what the configuration allows. Milliseconds. */
int64_t linger_known(const struct vault *v, const char *user);
/* Takes the answers. */
void linger_serve(struct vault *v);

#endif
