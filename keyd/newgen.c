#include "newgen.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "unlock.h"

/* Everything that a later login will do, done now. */
static enum bs_err
prove(const struct vault *v, const struct job *job, const struct bs_keyset *ks, size_t slot)
{
	struct job_secret *sec = job->sec;
	uint8_t amk[BS_KEY_LEN], first[BS_KEY_LEN];
	size_t count = 0;
	enum bs_err err = bs_keyset_verify(ks, v->site_pub, job->user);

	memcpy(first, sec->keys[0].secret_key, BS_KEY_LEN);
	if (err == BS_OK)
		err = bs_keyset_open_slot(ks, slot, sec->seed, amk);
	if (err == BS_OK)
		err = bs_keyset_check(ks, amk);
	if (err == BS_OK)
		err = bs_keyset_open_ring(ks, amk, sec->keys, BS_RING_MAX, &count);
	if (err == BS_OK && (count != sec->key_count || !bs_equal(first, sec->keys[0].secret_key, BS_KEY_LEN)))
		err = BS_ERR_CRYPTO;
	bs_wipe(amk, sizeof(amk));
	bs_wipe(first, sizeof(first));
	return err;
}

struct newgen
newgen_next(const struct job *job)
{
	struct newgen gen = { .rec = job->ks.record, .slots = job->ks.slots, .slot_count = job->ks.slot_count,
		.tested = job->slot, .kept = job->ks.kept, .kept_len = job->ks.kept_len };

	gen.rec.generation++;
	return gen;
}

bool
newgen_has_room(const struct job *job)
{
	return bs_keyset_key_count(&job->ks) < NEWGEN_KEYS_MAX;
}

enum bs_err
newgen_rotate(struct job *job, struct newgen *gen)
{
	struct job_secret *sec = job->sec;
	struct bs_ring_key *key;

	if (sec->key_count == BS_RING_MAX)
		return BS_ERR_LIMIT;
	for (size_t i = 0; i < sec->key_count; i++)
		sec->keys[i].active = false;
	key = &sec->keys[sec->key_count++];
	bs_x25519_keypair(key->public_key, key->secret_key);
	bs_msg_key_id(BS_MSG_SUITE_X25519, key->public_key, key->key_id);
	key->created = (uint64_t)time(NULL);
	key->active = true;
	memcpy(gen->rec.public_key, key->public_key, BS_KEY_LEN);
	memcpy(gen->rec.key_id, key->key_id, BS_ID_LEN);
	job->rotated = true;
	return BS_OK;
}

enum bs_err
newgen_renew(struct job *job, struct newgen *gen)
{
	enum bs_err err = BS_OK;

	if (newgen_has_room(job))
		err = newgen_rotate(job, gen);
	else
		bs_log(BS_LOG_WARNING, "%s: %u keys are all that an account may have: the active one stays", job->user, NEWGEN_KEYS_MAX);
	bs_random(job->sec->amk, BS_KEY_LEN);
	for (size_t i = 0; err == BS_OK && i < gen->slot_count; i++)
		err = bs_keyset_renew_slot(gen->rec.account_id, &gen->slots[i], gen->rec.generation, job->sec->amk);
	return err;
}

static enum bs_err
make_blob(struct vault *v, struct job *job, const struct newgen *gen)
{
	const struct bs_keyset_parts parts = { .record = &gen->rec, .slots = gen->slots, .slot_count = gen->slot_count,
		.keys = job->sec->keys, .key_count = job->sec->key_count, .kept = gen->kept, .kept_len = gen->kept_len };
	struct bs_keyset ks;
	enum bs_err err;

	free(job->blob);
	job->blob_len = 0;
	job->blob = malloc(BS_KEYSET_MAX);
	if (job->blob == NULL)
		return BS_ERR_NOMEM;
	err = bs_keyset_write(&parts, v->own->site_sec, job->sec->amk, job->blob, BS_KEYSET_MAX, &job->blob_len);
	if (err != BS_OK)
		return err;
	bs_sha256(job->blob, job->blob_len, job->written_hash);
	err = bs_keyset_parse(job->blob, job->blob_len, &ks);
	if (err != BS_OK)
		return err;
	err = prove(v, job, &ks, gen->tested);
	bs_keyset_clear(&ks);
	return err;
}

static void
on_read_back(struct vault *v, struct job *job, enum bs_err err)
{
	uint8_t hash[BS_HASH_LEN];

	err = unlock_read(v, job, err);
	if (err == BS_OK) {
		bs_sha256(job->blob, job->blob_len, hash);
		if (job->ks.record.generation != job->store_generation)
			err = BS_ERR_CONFLICT; /* another node was quicker with the next one */
		else if (!bs_equal(hash, job->written_hash, BS_HASH_LEN))
			err = BS_ERR_AUTH;
	}
	if (err == BS_ERR_AUTH)
		vault_alarm(v, job->user, "the database gives back another keyset than was written", err);
	job->written(v, job, err);
}

static void
on_put(struct vault *v, struct job *job, enum bs_err err)
{
	if (err != BS_OK) {
		job->written(v, job, err);
		return;
	}
	/* Not sooner: while the row before stands, so does what is known of it. */
	if (job->anew)
		seen_forget(v->seen, job->user);
	job_store(v, job, LINK_GET, job->store_generation, on_read_back);
}

void
newgen_write(struct vault *v, struct job *job, const struct newgen *gen, job_fn written)
{
	enum bs_err err = make_blob(v, job, gen);

	job->written = written;
	job->anew = gen->anew;
	if (err != BS_OK) {
		bs_log(BS_LOG_ERROR, "making a keyset for %s: %s", job->user, bs_err_text(err));
		written(v, job, err == BS_ERR_NOMEM || err == BS_ERR_LIMIT ? err : BS_ERR_INTERNAL);
		return;
	}
	job_store(v, job, gen->past ? LINK_PUT_PAST : LINK_PUT, gen->rec.generation, on_put);
}

void
newgen_refresh_ring(struct vault *v, const struct job *job, size_t slot, const uint8_t *password, size_t password_len)
{
	struct ring *ring = rings_find(v->rings, job->user);
	const struct bs_keyset *ks = &job->ks;
	uint8_t hash[BS_HASH_LEN];
	enum bs_err err;

	if (ring == NULL || memcmp(ring->account_id, ks->record.account_id, BS_ID_LEN) != 0)
		return;
	err = rings_open(v->rings, ks, job->sec->amk, job->sec->keys, job->sec->key_count, v->now_ms, &ring);
	if (err == BS_OK && password != NULL)
		err = unlock_warm_hash(v, &ks->record, &ks->slots[slot], password, password_len, hash);
	if (err == BS_OK && password != NULL)
		ring_set_warm(ring, ks->slots[slot].id, hash);
	/* Else the ring stays of the old generation: the next login opens it anew. */
}
