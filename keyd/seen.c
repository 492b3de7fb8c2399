#include "seen.h"

#include <stdlib.h>
#include <string.h>

#define WAYS 4

struct entry {
	uint64_t name; /* 0: free */
	uint64_t generation;
	uint64_t created;
	uint8_t account_id[BS_ID_LEN];
	uint8_t verified[BS_HASH_LEN]; /* all zero: none */
	struct seen_linger linger;
};

struct seen {
	uint8_t key[BS_KEY_LEN];
	size_t mask; /* of buckets */
	struct entry *entries;
	unsigned victim;
};

struct seen *
seen_new(size_t entries, const uint8_t key[BS_KEY_LEN])
{
	struct seen *seen = calloc(1, sizeof(*seen));
	size_t buckets = 1;

	if (seen == NULL)
		return NULL;
	while (buckets * WAYS < entries)
		buckets *= 2;
	seen->entries = calloc(buckets * WAYS, sizeof(struct entry));
	if (seen->entries == NULL) {
		free(seen);
		return NULL;
	}
	memcpy(seen->key, key, BS_KEY_LEN);
	seen->mask = buckets - 1;
	return seen;
}

void
seen_free(struct seen *seen)
{
	if (seen == NULL)
		return;
	bs_wipe(seen->key, sizeof(seen->key));
	free(seen->entries);
	free(seen);
}

static uint64_t
hash_name(const struct seen *seen, const char *name)
{
	uint8_t mac[BS_HASH_LEN];
	uint64_t h;

	if (bs_hmac(seen->key, name, strlen(name), mac) != BS_OK)
		return 0;
	memcpy(&h, mac, sizeof(h));
	return h;
}

/* The entry of a name, or NULL. */
static struct entry *
find(const struct seen *seen, uint64_t name)
{
	struct entry *e = &seen->entries[(name & seen->mask) * WAYS];

	for (unsigned i = 0; name != 0 && i < WAYS; i++) {
		if (e[i].name == name)
			return &e[i];
	}
	return NULL;
}

/* A place for a new name: a free one, or the next victim. */
static struct entry *
take_place(struct seen *seen, uint64_t name)
{
	struct entry *e = &seen->entries[(name & seen->mask) * WAYS];

	for (unsigned i = 0; i < WAYS; i++) {
		if (e[i].name == 0)
			return &e[i];
	}
	return &e[seen->victim++ % WAYS];
}

enum bs_err
seen_check(struct seen *seen, const struct bs_record *rec)
{
	uint64_t name = hash_name(seen, rec->name);
	struct entry *e = find(seen, name);

	if (name == 0)
		return BS_ERR_CRYPTO;
	if (e == NULL) {
		e = take_place(seen, name);
	} else if (memcmp(e->account_id, rec->account_id, BS_ID_LEN) == 0) {
		if (rec->generation < e->generation)
			return BS_ERR_ROLLBACK;
	} else if (rec->created < e->created) {
		return BS_ERR_ROLLBACK; /* an enrolment from before the one that we know */
	}
	if (e->name != name)
		memset(e, 0, sizeof(*e));
	e->name = name;
	e->generation = rec->generation;
	e->created = rec->created;
	memcpy(e->account_id, rec->account_id, BS_ID_LEN);
	return BS_OK;
}

bool
seen_knows(const struct seen *seen, const char *name)
{
	return find(seen, hash_name(seen, name)) != NULL;
}

void
seen_note_verified(struct seen *seen, const char *name, const uint8_t digest[BS_HASH_LEN])
{
	struct entry *e = find(seen, hash_name(seen, name));

	if (e != NULL)
		memcpy(e->verified, digest, BS_HASH_LEN);
}

bool
seen_is_verified(const struct seen *seen, const char *name, const uint8_t digest[BS_HASH_LEN])
{
	const struct entry *e = find(seen, hash_name(seen, name));

	return e != NULL && memcmp(e->verified, digest, BS_HASH_LEN) == 0;
}

struct seen_linger *
seen_linger(struct seen *seen, const char *name)
{
	struct entry *e = find(seen, hash_name(seen, name));

	return e == NULL ? NULL : &e->linger;
}

void
seen_forget(struct seen *seen, const char *name)
{
	struct entry *e = find(seen, hash_name(seen, name));

	if (e != NULL)
		memset(e, 0, sizeof(*e));
}
