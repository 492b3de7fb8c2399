/*
 * RESTORE, of the socket control: a keyset from the mail home or a backup meets the database's. Which is newer is told by the
 * generations, whose slots count; what each holds is told by the keys, of which none may be lost, whatever the numbers say.
 */
#include <string.h>

#include "change.h"
#include "kept.h"

#define NAME "keys restored"
#define JUMP_MAX 1000000

static void
on_restored(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_OK)
		change_end_sessions(v, job);
	change_reply(v, job, NAME, err);
}

/* united: keys of two lines are together from now on, which a new active key says to whoever compares. */
static void
write_restored(struct vault *v, struct job *job, bool united)
{
	struct newgen gen = newgen_next(job);
	enum bs_err err = united ? newgen_rotate(job, &gen) : BS_OK;

	if (err == BS_ERR_LIMIT)
		bs_log(BS_LOG_WARNING, "%s: %u keys are all that a ring holds: the active one stays", job->user, BS_RING_MAX);
	if (gen.rec.generation <= job->store_number)
		gen.rec.generation = job->store_number + 1;
	if (gen.rec.generation <= job->above)
		gen.rec.generation = job->above + 1;
	gen.past = true;
	newgen_write(v, job, &gen, on_restored);
}

/* The other keyset is kept beside, if the secret does not open it: HEAL takes it in by one of its own. */
static void
on_other_tried(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_OK)
		err = kept_drop(job, 0);
	else if (err == BS_ERR_DENIED || err == BS_ERR_LIMIT)
		err = BS_OK;
	else if (!bs_err_is_transient(err) && !job->from_row)
		err = BS_OK; /* the row's slots are not its own: it must not keep a sound copy from being restored */
	if (err == BS_OK)
		write_restored(v, job, true);
	else
		change_refuse(v, job, NAME, err);
}

static void
unite(struct vault *v, struct job *job)
{
	struct job_secret *sec = job->sec;
	enum bs_err err = kept_add(job, &job->other);

	if (err != BS_OK) {
		change_refuse(v, job, NAME, err);
		return;
	}
	memcpy(sec->new_password, sec->password, sec->password_len);
	sec->new_password_len = sec->password_len;
	kept_try(v, job, 1, on_other_tried);
}

static void
on_restore_unlocked(struct vault *v, struct job *job, enum bs_err err)
{
	bool complete = !job->have_other || (err == BS_OK && kept_has_key(job, job->other.record.key_id));

	if (err == BS_OK && job->other_account)
		err = BS_ERR_ACCOUNT;
	/* What this vault saw since it started is no older keyset to win over. */
	if (err == BS_OK && !job->from_row)
		err = seen_check(v->seen, &job->ks.record);
	if (err == BS_OK && job->from_row && complete)
		err = BS_ERR_EXISTS;
	if (err != BS_OK)
		change_refuse(v, job, NAME, err);
	else if (complete)
		write_restored(v, job, false);
	else
		unite(v, job);
}

/* The row is as new as what came with the request, or newer: its slots stay, and its keys are what others join. */
static enum bs_err
begin_with_row(struct vault *v, struct job *job)
{
	const uint8_t *key_id = job->other.record.key_id;
	enum bs_err err;

	/* Handed over: job->ks is read anew. */
	job->other = job->ks;
	job->have_other = true;
	job->have_ks = false;
	job->from_row = true;
	err = unlock_read(v, job, BS_OK);
	if (err != BS_OK)
		return err;
	return memcmp(job->ks.record.key_id, key_id, BS_ID_LEN) == 0 || bs_keyset_kept_has(&job->ks, key_id) ? BS_ERR_EXISTS : BS_OK;
}

/* job->ks came with the request: how does the newest row go with it? Damaged rows are passed over. */
static enum bs_err
compare_row(struct vault *v, struct job *job)
{
	struct bs_keyset row;

	if (bs_keyset_parse(job->blob, job->blob_len, &row) != BS_OK)
		return BS_OK;
	if (bs_keyset_verify(&row, v->site_pub, job->user) != BS_OK || row.record.generation != job->store_number) {
		bs_keyset_clear(&row);
		return BS_OK;
	}
	if (memcmp(row.record.account_id, job->ks.record.account_id, BS_ID_LEN) != 0) {
		bs_keyset_clear(&row);
		return BS_ERR_ACCOUNT;
	}
	if (row.record.generation >= job->ks.record.generation) {
		bs_keyset_clear(&row);
		return begin_with_row(v, job);
	}
	job->other = row;
	job->have_other = true;
	return BS_OK;
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
		change_reply(v, job, NAME, err);
	else
		unlock_try(v, job, on_restore_unlocked);
}

/* What came with the request, into job->ks. FORMAT is for frames: what is no keyset is damaged. */
static enum bs_err
read_keyset(const struct vault *v, struct job *job, const uint8_t *blob, size_t len)
{
	enum bs_err err = bs_keyset_parse(blob, len, &job->ks);

	job->have_ks = err == BS_OK;
	if (err == BS_OK)
		err = bs_keyset_verify(&job->ks, v->site_pub, job->user);
	else if (err == BS_ERR_FORMAT)
		err = BS_ERR_AUTH;
	/* Generations must not run out by one mistyped number. */
	return err == BS_OK && job->above > job->ks.record.generation + JUMP_MAX ? BS_ERR_ARG : err;
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
	if (bs_rd_done(&rd))
		err = read_keyset(v, job, blob, len);
	err = change_check(v, job, &rd, err);
	if (err == BS_OK)
		job_store(v, job, LINK_GET, 0, on_restore_row);
	return err;
}
