#include "seen.h"

#include <stdlib.h>
#include <string.h>

#define WAYS 4
#define RUN 64
#define SEEN_LINGER_MAX_MS 86400000 /* as session.linger_max_s */

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
	uint8_t *touched; /* one for each RUN of entries: the others were never written, and need not be looked at */
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
	seen->touched = calloc(buckets * WAYS / RUN + 1, 1);
	if (seen->entries == NULL || seen->touched == NULL) {
		seen_free(seen);
		return NULL;
	}
	memcpy(seen->key, key, BS_KEY_LEN);
	seen->mask = buckets - 1;
	return seen;
}

struct seen *
seen_new_like(const struct seen *seen, const uint8_t key[BS_KEY_LEN])
{
	return seen_new((seen->mask + 1) * WAYS, key);
}

void
seen_free(struct seen *seen)
{
	if (seen == NULL)
		return;
	bs_wipe(seen->key, sizeof(seen->key));
	free(seen->entries);
	free(seen->touched);
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

	seen->touched[(name & seen->mask) * WAYS / RUN] = 1;
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

uint64_t
seen_generation(const struct seen *seen, const char *name)
{
	const struct entry *e = find(seen, hash_name(seen, name));

	return e == NULL ? 0 : e->generation;
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

static void
write_entry(struct bs_wr *wr, const struct entry *e)
{
	bs_wr_u64(wr, e->name);
	bs_wr_u64(wr, e->generation);
	bs_wr_u64(wr, e->created);
	bs_wr_bytes(wr, e->account_id, BS_ID_LEN);
	bs_wr_bytes(wr, e->verified, BS_HASH_LEN);
	bs_wr_u8(wr, e->linger.known);
	bs_wr_u64(wr, (uint64_t)e->linger.ms);
	bs_wr_u64(wr, e->linger.known ? (uint64_t)e->linger.next_ms : 0); /* an answer that is on its way comes no more: ask again */
}

size_t
seen_write(const struct seen *seen, size_t *at, struct bs_wr *wr)
{
	size_t n = 0;

	while (*at < (seen->mask + 1) * WAYS && wr->size - wr->len >= SEEN_ENTRY_LEN) {
		if (*at % RUN == 0 && seen->touched[*at / RUN] == 0) {
			*at += RUN;
			continue;
		}
		if (seen->entries[*at].name != 0) {
			write_entry(wr, &seen->entries[*at]);
			n++;
		}
		(*at)++;
	}
	return n;
}

bool
seen_read(struct seen *seen, struct bs_rd *rd)
{
	struct entry e = { .name = 0 }, *place;

	e.name = bs_rd_u64(rd);
	e.generation = bs_rd_u64(rd);
	e.created = bs_rd_u64(rd);
	bs_rd_copy(rd, e.account_id, BS_ID_LEN);
	bs_rd_copy(rd, e.verified, BS_HASH_LEN);
	e.linger.known = bs_rd_u8(rd) != 0;
	e.linger.ms = (int64_t)bs_rd_u64(rd);
	e.linger.next_ms = (int64_t)bs_rd_u64(rd);
	if (rd->failed || e.name == 0 || e.linger.ms < 0 || e.linger.ms > SEEN_LINGER_MAX_MS || e.linger.next_ms < 0 || find(seen, e.name) != NULL)
		return false;
	place = take_place(seen, e.name);
	*place = e;
	return true;
}
