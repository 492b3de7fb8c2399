#include "due.h"

#include <stdlib.h>

#include "ring.h"

enum bs_err
due_reserve(struct due *due, size_t total)
{
	size_t room = due->room == 0 ? 64 : due->room;
	struct ring **heap;

	if (total <= due->room)
		return BS_OK;
	while (room < total)
		room *= 2;
	heap = reallocarray(due->heap, room, sizeof(struct ring *));
	if (heap == NULL)
		return BS_ERR_NOMEM;
	due->heap = heap;
	due->room = room;
	return BS_OK;
}

void
due_clear(struct due *due)
{
	free(due->heap);
	*due = (struct due){ .heap = NULL };
}

static void
put(struct due *due, size_t i, struct ring *ring)
{
	due->heap[i] = ring;
	ring->due_at = i;
}

/* Finds ring's place, from the hole at i on. */
static void
settle(struct due *due, size_t i, struct ring *ring)
{
	while (i > 0 && due->heap[(i - 1) / 2]->due_ms > ring->due_ms) {
		put(due, i, due->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	for (size_t child = 2 * i + 1; child < due->count; child = 2 * i + 1) {
		if (child + 1 < due->count && due->heap[child + 1]->due_ms < due->heap[child]->due_ms)
			child++;
		if (due->heap[child]->due_ms >= ring->due_ms)
			break;
		put(due, i, due->heap[child]);
		i = child;
	}
	put(due, i, ring);
}

void
due_add(struct due *due, struct ring *ring)
{
	settle(due, due->count++, ring);
}

void
due_remove(struct due *due, struct ring *ring)
{
	struct ring *last = due->heap[--due->count];

	if (last != ring)
		settle(due, ring->due_at, last);
}

struct ring *
due_first(const struct due *due)
{
	return due->count == 0 ? NULL : due->heap[0];
}
