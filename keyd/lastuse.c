#include "lastuse.h"

#include <stdlib.h>
#include <string.h>

#define WAYS 4

struct use {
	uint8_t slot_id[BS_ID_LEN];
	uint64_t seconds; /* 0: free */
};

struct lastuse {
	size_t mask; /* of buckets */
	struct use *uses;
};

struct lastuse *
lastuse_new(size_t entries)
{
	struct lastuse *uses = calloc(1, sizeof(*uses));
	size_t buckets = 1;

	if (uses == NULL)
		return NULL;
	while (buckets * WAYS < entries)
		buckets *= 2;
	uses->uses = calloc(buckets * WAYS, sizeof(struct use));
	if (uses->uses == NULL) {
		free(uses);
		return NULL;
	}
	uses->mask = buckets - 1;
	return uses;
}

void
lastuse_free(struct lastuse *uses)
{
	if (uses == NULL)
		return;
	free(uses->uses);
	free(uses);
}

/* Ids are random: any of their bytes are a hash. */
static struct use *
bucket_of(const struct lastuse *uses, const uint8_t slot_id[BS_ID_LEN])
{
	uint64_t h;

	memcpy(&h, slot_id + 2, sizeof(h));
	return &uses->uses[(h & uses->mask) * WAYS];
}

void
lastuse_note(struct lastuse *uses, const uint8_t slot_id[BS_ID_LEN], uint64_t seconds)
{
	struct use *bucket = bucket_of(uses, slot_id), *place = bucket;

	for (unsigned i = 0; i < WAYS; i++) {
		if (memcmp(bucket[i].slot_id, slot_id, BS_ID_LEN) == 0) {
			place = &bucket[i];
			break;
		}
		if (bucket[i].seconds < place->seconds)
			place = &bucket[i];
	}
	memcpy(place->slot_id, slot_id, BS_ID_LEN);
	place->seconds = seconds;
}

uint64_t
lastuse_get(const struct lastuse *uses, const uint8_t slot_id[BS_ID_LEN])
{
	const struct use *bucket = bucket_of(uses, slot_id);

	for (unsigned i = 0; i < WAYS; i++)
		if (memcmp(bucket[i].slot_id, slot_id, BS_ID_LEN) == 0)
			return bucket[i].seconds;
	return 0;
}

size_t
lastuse_write(const struct lastuse *uses, size_t *at, struct bs_wr *wr)
{
	size_t n = 0;

	for (; *at < (uses->mask + 1) * WAYS && wr->size - wr->len >= LASTUSE_ENTRY_LEN; (*at)++) {
		const struct use *use = &uses->uses[*at];

		if (use->seconds == 0)
			continue;
		bs_wr_bytes(wr, use->slot_id, BS_ID_LEN);
		bs_wr_u64(wr, use->seconds);
		n++;
	}
	return n;
}

bool
lastuse_read(struct lastuse *uses, struct bs_rd *rd)
{
	uint8_t id[BS_ID_LEN];
	uint64_t seconds;

	bs_rd_copy(rd, id, BS_ID_LEN);
	seconds = bs_rd_u64(rd);
	if (rd->failed || seconds == 0)
		return false;
	lastuse_note(uses, id, seconds);
	return true;
}
