/*
 * due: the rings that nobody holds, by the moment at which each is to be wiped: a heap, since accounts linger differently long.
 *
 * Rings carry their place in it (ring.h: due_ms, due_at). One thread. Errors: BS_ERR_NOMEM.
 *
 *     err = due_reserve(&due, rings_count);      // then due_add() cannot fail
 *     ring->due_ms = now + 900000; due_add(&due, ring);
 *     while ((ring = due_first(&due)) != NULL && ring->due_ms <= now) ... due_remove(&due, ring);
 */
#ifndef KEYD_DUE_H
#define KEYD_DUE_H

#include <stddef.h>

#include "err.h"

struct ring;

struct due {
	struct ring **heap;
	size_t count, room;
};

/* Room for so many in all. */
enum bs_err due_reserve(struct due *due, size_t total) BS_MUST_USE;
void due_clear(struct due *due);
/* ring->due_ms says when. */
void due_add(struct due *due, struct ring *ring);
void due_remove(struct due *due, struct ring *ring);
/* The one whose moment comes first; NULL: there is none. */
struct ring *due_first(const struct due *due);

#endif
