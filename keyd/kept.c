#include "kept.h"

#include <stdlib.h>
#include <string.h>

#include "unlock.h"

static bool
ring_has(const struct job_secret *sec, const uint8_t key_id[BS_ID_LEN])
{
	for (size_t i = 0; i < sec->key_count; i++)
		if (memcmp(sec->keys[i].key_id, key_id, BS_ID_LEN) == 0)
			return true;
	return false;
}

static bool
holds_one(const struct job *job, const struct bs_keyset *one)
{
	return ring_has(job->sec, one->record.key_id) || bs_keyset_kept_holds(&job->ks, one);
}

bool
kept_holds(const struct job *job, const struct bs_keyset *other)
{
	bool held = holds_one(job, other);
	struct bs_keyset kept;

	for (size_t i = 0; held && bs_keyset_kept(other, i, &kept) == BS_OK; i++) {
		held = holds_one(job, &kept);
		bs_keyset_clear(&kept);
	}
	return held;
}

/* Adds the keys that the ring does not have yet, none of them active. */
static enum bs_err
join_keys(struct job_secret *sec, const struct bs_ring_key *found, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (ring_has(sec, found[i].key_id))
			continue;
		if (sec->key_count == BS_RING_MAX)
			return BS_ERR_LIMIT;
		sec->keys[sec->key_count] = found[i];
		sec->keys[sec->key_count++].active = false;
	}
	return BS_OK;
}

/*
 * Of one that is damaged elsewhere, in another slot say: nobody logs in by it, the keys are all that is wanted, and that they are the account's own
 * the ring itself tells: it is sealed for this account and generation, and its active key is the signed record's.
 */
static enum bs_err
open_ring_alone(struct job *job, uint8_t amk[BS_KEY_LEN], struct bs_ring_key *found, size_t *n)
{
	enum bs_err err = bs_keyset_open_slot(&job->other, job->other_slot, job->sec->seed, amk);

	return err == BS_OK ? bs_keyset_open_ring(&job->other, amk, found, BS_RING_MAX, n) : err;
}

/* Opens job->other by the seed at hand and takes what its ring holds. BS_ERR_DENIED: not this slot. */
static enum bs_err
open_kept(struct vault *v, struct job *job)
{
	struct bs_ring_key *found = bs_secret_new(BS_RING_MAX * sizeof(*found));
	uint8_t amk[BS_KEY_LEN];
	size_t n = 0;
	enum bs_err err = found == NULL ? BS_ERR_NOMEM : BS_OK;

	if (err == BS_OK)
		err = bs_keyset_unlock(&job->other, job->other_slot, job->sec->seed, amk, found, BS_RING_MAX, &n);
	if (err != BS_OK && err != BS_ERR_DENIED && err != BS_ERR_NOMEM) {
		vault_alarm(v, job->user, "a kept keyset is not what was kept", err);
		err = open_ring_alone(job, amk, found, &n);
	}
	if (err == BS_OK)
		err = join_keys(job->sec, found, n);
	bs_wipe(amk, sizeof(amk));
	bs_secret_free(found);
	return err;
}

static void
finish(struct vault *v, struct job *job, enum bs_err err)
{
	memcpy(job->sec->seed, job->sec->own_seed, BS_KEY_LEN);
	job->kept_tried(v, job, err);
}

static void try_kept(struct vault *v, struct job *job);

/* What the seed at hand is worth. */
static void
judge_kept(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_OK)
		err = open_kept(v, job);
	if (err != BS_ERR_DENIED) {
		finish(v, job, err);
		return;
	}
	job->other_slot++;
	try_kept(v, job);
}

/* The keyset of job->other_number, of this account and signed by us. */
static void
take_kept(struct vault *v, struct job *job)
{
	if (job->have_other)
		bs_keyset_clear(&job->other);
	job->have_other = job->other_number < job->other_max && bs_keyset_kept(&job->ks, job->other_number, &job->other) == BS_OK;
	job->other_slot = 0;
	/* A foreign one has no slots to try. */
	if (job->have_other && (bs_keyset_verify(&job->other, v->site_pub, job->user) != BS_OK ||
	    memcmp(job->other.record.account_id, job->ks.record.account_id, BS_ID_LEN) != 0))
		job->other_slot = job->other.slot_count;
}

/* Tries the secret on the slots of the kept keysets, from where it stands. */
static void
try_kept(struct vault *v, struct job *job)
{
	struct job_secret *sec = job->sec;

	while (job->have_other) {
		const struct bs_slot *slot = &job->other.slots[job->other_slot];

		if (job->other_slot >= job->other.slot_count) {
			job->other_number++;
			take_kept(v, job);
		} else if (sec->code.kind != 0 && unlock_code_seed(&sec->code, slot, sec->seed) == BS_OK) {
			judge_kept(v, job, BS_OK);
			return;
		} else if (sec->code.kind == 0 && slot->kind == BS_SLOT_PASSWORD && unlock_check_cost(slot) == BS_OK
		    && job->tried++ < 2 * BS_KEPT_MAX) {
			job_kdf_slot(v, job, sec->new_password, sec->new_password_len, slot, judge_kept);
			return;
		} else {
			job->other_slot++;
		}
	}
	finish(v, job, BS_ERR_DENIED);
}

void
kept_try(struct vault *v, struct job *job, size_t max, job_fn tried)
{
	struct job_secret *sec = job->sec;
	unsigned group;

	memcpy(sec->own_seed, sec->seed, BS_KEY_LEN);
	if (bs_code_read((const char *)sec->new_password, sec->new_password_len, &sec->code, &group) != BS_OK)
		sec->code.kind = 0;
	job->kept_tried = tried;
	job->tried = 0;
	job->other_number = 0;
	job->other_max = max;
	take_kept(v, job);
	try_kept(v, job);
}

static void
replace_section(struct job *job, uint8_t *take, size_t len)
{
	free(job->ks.kept);
	job->ks.kept = take;
	job->ks.kept_len = len;
}

enum bs_err
kept_drop(struct job *job, size_t i)
{
	uint8_t *section;
	size_t len;
	enum bs_err err = bs_keyset_kept_drop(&job->ks, i, &section, &len);

	if (err == BS_OK)
		replace_section(job, section, len);
	return err;
}

enum bs_err
kept_add(struct job *job, const struct bs_keyset *other)
{
	uint8_t *section;
	size_t len;
	enum bs_err err = bs_keyset_kept_add(&job->ks, other, &section, &len);

	if (err == BS_OK)
		replace_section(job, section, len);
	return err;
}
