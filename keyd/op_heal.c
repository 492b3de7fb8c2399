/* Operations of the socket control for what was lost: RESET a password, HEAL what a reset shut away, RESTORE a keyset. */
#include <stdlib.h>
#include <string.h>

#include "change.h"
#include "newpass.h"

/* --- RESET --- */

static void
on_reset(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_OK)
		change_end_sessions(v, job);
	change_reply(v, job, "password reset, older mail stays shut until it is healed", err);
}

/*
 * Nothing of the old keyset can be carried over: without its master key nobody can say whether a slot in it is the
 * user's or was put there by whoever writes to the database. It is kept as it is.
 */
static void
on_reset_seed(struct vault *v, struct job *job, enum bs_err err)
{
	struct newgen gen = newgen_next(job);
	uint8_t *kept = NULL;
	size_t kept_len = 0;

	if (err == BS_OK)
		err = bs_keyset_keep(&job->ks, &kept, &kept_len);
	if (err == BS_OK) {
		job->ks.slot_count = 0;
		job->sec->key_count = 0;
		bs_random(job->sec->amk, BS_KEY_LEN);
		err = newgen_rotate(job, &gen);
	}
	if (err == BS_OK)
		err = bs_keyset_make_slot(gen.rec.account_id, &job->new_slot, job->sec->seed, job->sec->amk);
	if (err == BS_OK)
		err = change_append_slot(job, &job->new_slot);
	if (err == BS_OK)
		err = change_append_escrow(v, job, gen.rec.generation);
	if (err == BS_OK) {
		gen.slots = job->ks.slots;
		gen.slot_count = job->ks.slot_count;
		gen.tested = 0;
		gen.kept = kept;
		gen.kept_len = kept_len;
		newgen_write(v, job, &gen, on_reset);
	} else {
		change_reply(v, job, "password reset", err);
	}
	free(kept);
}

static void
on_reset_row(struct vault *v, struct job *job, enum bs_err err)
{
	struct job_secret *sec = job->sec;

	err = unlock_read(v, job, err);
	if (err != BS_OK) {
		change_reply(v, job, "password reset", err);
		return;
	}
	change_prepare_slot(v, &job->new_slot, BS_SLOT_PASSWORD, job->ks.record.generation + 1);
	job_kdf_slot(v, job, sec->password, sec->password_len, &job->new_slot, on_reset_seed);
}

enum bs_err
op_reset(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd;
	enum bs_err err;
	struct job *job = change_start(v, conn, frame, &rd, &err);

	if (job == NULL)
		return err;
	if (change_is_account_name(job->user) && !newpass_is_good(job->user, job->sec->password, job->sec->password_len))
		err = BS_ERR_WEAK;
	err = change_check(v, job, &rd, err);
	if (err == BS_OK)
		job_store(v, job, LINK_GET, 0, on_reset_row);
	return err;
}

/* --- HEAL --- */

#define NAME "healed"

static void
on_healed(struct vault *v, struct job *job, enum bs_err err)
{
	uint8_t left = (uint8_t)bs_keyset_kept_count(&job->ks);

	if (err == BS_OK)
		newgen_refresh_ring(v, job, 0, NULL, 0);
	change_reply_with(v, job, NAME, err, &left, 1);
}

/* Adds the keys that the ring does not have yet, none of them active. */
static enum bs_err
join_keys(struct job_secret *sec, const struct bs_ring_key *found, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		while (k < sec->key_count && memcmp(sec->keys[k].key_id, found[i].key_id, BS_ID_LEN) != 0)
			k++;
		if (k < sec->key_count)
			continue;
		if (k == BS_RING_MAX)
			return BS_ERR_LIMIT;
		sec->keys[k] = found[i];
		sec->keys[k].active = false;
		sec->key_count++;
	}
	return BS_OK;
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
	if (err == BS_OK)
		err = join_keys(job->sec, found, n);
	else if (err != BS_ERR_DENIED && err != BS_ERR_NOMEM)
		vault_alarm(v, job->user, "a kept keyset is not what was kept", err);
	bs_wipe(amk, sizeof(amk));
	bs_secret_free(found);
	return err;
}

static void
write_healed(struct vault *v, struct job *job)
{
	struct newgen gen = newgen_next(job);
	uint8_t *kept = NULL;
	size_t kept_len = 0;
	enum bs_err err = bs_keyset_kept_drop(&job->ks, job->other_number, &kept, &kept_len);

	if (err != BS_OK) {
		change_reply(v, job, NAME, err);
		return;
	}
	memcpy(job->sec->seed, job->sec->own_seed, BS_KEY_LEN);
	gen.kept = kept;
	gen.kept_len = kept_len;
	newgen_write(v, job, &gen, on_healed);
	free(kept);
}

static void try_kept(struct vault *v, struct job *job);

/* What the seed at hand is worth. */
static void
judge_kept(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_OK)
		err = open_kept(v, job);
	if (err == BS_OK) {
		write_healed(v, job);
	} else if (err == BS_ERR_DENIED) {
		job->other_slot++;
		try_kept(v, job);
	} else {
		change_reply(v, job, NAME, err);
	}
}

/* The next kept keyset, of this account and signed by us. False: there is none. */
static bool
next_kept(struct vault *v, struct job *job)
{
	if (job->have_other)
		bs_keyset_clear(&job->other);
	job->have_other = bs_keyset_kept(&job->ks, job->other_number, &job->other) == BS_OK;
	job->other_slot = 0;
	if (!job->have_other)
		return false;
	/* A foreign one has no slots to try. */
	if (bs_keyset_verify(&job->other, v->site_pub, job->user) != BS_OK ||
	    memcmp(job->other.record.account_id, job->ks.record.account_id, BS_ID_LEN) != 0)
		job->other_slot = job->other.slot_count;
	return true;
}

/* Tries the earlier secret on the slots of the kept keysets, from where it stands. */
static void
try_kept(struct vault *v, struct job *job)
{
	struct job_secret *sec = job->sec;

	while (job->have_other) {
		const struct bs_slot *slot = &job->other.slots[job->other_slot];

		if (job->other_slot >= job->other.slot_count) {
			job->other_number++;
			(void)next_kept(v, job);
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
	change_refuse(v, job, NAME, BS_ERR_DENIED);
}

static void
on_heal_unlocked(struct vault *v, struct job *job, enum bs_err err)
{
	struct job_secret *sec = job->sec;
	unsigned group;

	if (err == BS_OK && bs_keyset_kept_count(&job->ks) == 0)
		err = BS_ERR_NOENT;
	if (err != BS_OK) {
		change_refuse(v, job, NAME, err);
		return;
	}
	memcpy(sec->own_seed, sec->seed, BS_KEY_LEN);
	if (bs_code_read((const char *)sec->new_password, sec->new_password_len, &sec->code, &group) != BS_OK)
		sec->code.kind = 0;
	job->tried = 0;
	job->other_number = 0;
	(void)next_kept(v, job);
	try_kept(v, job);
}

enum bs_err
op_heal(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd;
	enum bs_err err;
	struct job *job = change_start(v, conn, frame, &rd, &err);

	if (job == NULL)
		return err;
	change_read_secret(&rd, job->sec->new_password, &job->sec->new_password_len);
	return change_go(v, job, &rd, BS_OK, on_heal_unlocked);
}

/* --- RESTORE --- */

#define JUMP_MAX 1000000

static void
on_restored(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_OK)
		change_end_sessions(v, job);
	change_reply(v, job, "keys restored", err);
}

static void
on_restore_unlocked(struct vault *v, struct job *job, enum bs_err err)
{
	struct newgen gen;

	/* What this vault saw since it started is no older keyset to win over. */
	if (err == BS_OK && job->other_account)
		err = BS_ERR_ACCOUNT;
	if (err == BS_OK)
		err = seen_check(v->seen, &job->ks.record);
	if (err != BS_OK) {
		change_refuse(v, job, "keys restored", err);
		return;
	}
	gen = newgen_next(job);
	if (gen.rec.generation <= job->store_number)
		gen.rec.generation = job->store_number + 1;
	if (gen.rec.generation <= job->above)
		gen.rec.generation = job->above + 1;
	gen.past = true;
	newgen_write(v, job, &gen, on_restored);
}

/* May job->ks, which came with the request, take the place of the newest row? Damaged rows may be passed over. */
static enum bs_err
compare_row(const struct vault *v, const struct job *job)
{
	struct bs_keyset row;
	uint64_t ours = job->ks.record.generation, theirs;
	enum bs_err err = BS_OK;

	if (bs_keyset_parse(job->blob, job->blob_len, &row) != BS_OK)
		return BS_OK;
	theirs = row.record.generation;
	if (bs_keyset_verify(&row, v->site_pub, job->user) == BS_OK) {
		if (memcmp(row.record.account_id, job->ks.record.account_id, BS_ID_LEN) != 0)
			err = BS_ERR_ACCOUNT;
		else if (theirs > ours || (theirs == ours && memcmp(row.manifest, job->ks.manifest, BS_HASH_LEN) == 0))
			err = BS_ERR_EXISTS;
	}
	bs_keyset_clear(&row);
	return err;
}

static void
on_restore_row(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_OK)
		err = compare_row(v, job);
	/* Whose secret opens nothing hears that first: he must not take away what is there. */
	if (err == BS_ERR_ACCOUNT) {
		job->other_account = true;
		err = BS_OK;
	} else if (err == BS_ERR_NOENT) {
		job->store_number = 0;
		err = BS_OK;
	}
	if (err != BS_OK)
		change_reply(v, job, "keys restored", err);
	else
		unlock_try(v, job, on_restore_unlocked);
}

enum bs_err
op_restore(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd;
	enum bs_err err;
	struct job *job = change_start(v, conn, frame, &rd, &err);
	const uint8_t *blob;
	size_t len;

	if (job == NULL)
		return err;
	job->above = bs_rd_u64(&rd);
	blob = bs_rd_str32(&rd, &len);
	if (bs_rd_done(&rd)) {
		/* FORMAT is for frames: what is no keyset is damaged. */
		err = bs_keyset_parse(blob, len, &job->ks);
		job->have_ks = err == BS_OK;
		if (err == BS_OK)
			err = bs_keyset_verify(&job->ks, v->site_pub, job->user);
		else if (err == BS_ERR_FORMAT)
			err = BS_ERR_AUTH;
		/* Generations must not run out by one mistyped number. */
		if (err == BS_OK && job->above > job->ks.record.generation + JUMP_MAX)
			err = BS_ERR_ARG;
	}
	err = change_check(v, job, &rd, err);
	if (err == BS_OK)
		job_store(v, job, LINK_GET, 0, on_restore_row);
	return err;
}
