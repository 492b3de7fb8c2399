#include "compat.h"

#include "room.h"

/* Below, the heap is as quick; above, a mail is decoded for longer than its pages take. */
#define ROOM_MIN (16 * 1024)

static void *
must_malloc(size_t size)
{
	void *p = malloc(size);

	if (p == NULL)
		i_fatal_status(FATAL_OUTOFMEM, "basalt: out of memory (%zu bytes)", size);
	return p;
}

static bool
is_room(size_t len)
{
	return len > ROOM_MIN && len <= BASALT_ROOM_LEN;
}

uint8_t *
basalt_room_take(struct basalt_user *bu, size_t len)
{
	uint8_t *p;

	if (!is_room(len))
		return must_malloc(len + 1);
	for (unsigned int i = 0; i < BASALT_ROOMS; i++) {
		p = bu->rooms[i];
		if (p != NULL) {
			bu->rooms[i] = NULL;
			return p;
		}
	}
	return must_malloc(BASALT_ROOM_LEN);
}

void
basalt_room_give(struct basalt_user *bu, uint8_t *p, size_t len)
{
	for (unsigned int i = 0; p != NULL && is_room(len) && i < BASALT_ROOMS; i++) {
		if (bu->rooms[i] == NULL) {
			bu->rooms[i] = p;
			return;
		}
	}
	free(p);
}

void
basalt_room_forget(struct basalt_user *bu)
{
	for (unsigned int i = 0; i < BASALT_ROOMS; i++) {
		if (bu->rooms[i] != NULL)
			bs_wipe(bu->rooms[i], BASALT_ROOM_LEN);
		free(bu->rooms[i]);
		bu->rooms[i] = NULL;
	}
}
