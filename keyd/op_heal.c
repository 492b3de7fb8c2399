/* Operations of the socket control for lost passwords: RESET one, HEAL what a reset shut away. */
#include <stdlib.h>

#include "change.h"
#include "kept.h"
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
	/* What does not fit into one ring could never be healed. */
	if (err == BS_OK && bs_keyset_key_count(&job->ks) >= BS_RING_MAX)
		err = BS_ERR_LIMIT;
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

static void
on_tried(struct vault *v, struct job *job, enum bs_err err)
{
	struct newgen gen;

	if (err == BS_OK)
		err = kept_drop(job, job->other_number);
	if (err != BS_OK) {
		change_refuse(v, job, NAME, err);
		return;
	}
	gen = newgen_next(job);
	newgen_write(v, job, &gen, on_healed);
}

static void
on_heal_unlocked(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_OK && bs_keyset_kept_count(&job->ks) == 0)
		err = BS_ERR_NOENT;
	if (err != BS_OK)
		change_refuse(v, job, NAME, err);
	else
		kept_try(v, job, BS_KEPT_MAX, on_tried);
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
