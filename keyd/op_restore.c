/*
 * RESTORE, RESTORE_KEYSET and KEYSET_DIGEST, of the socket control: a keyset from the mail home or a backup, the copy, meets the database's, the row.
 * Which is newer is told by the generations, whose slots count; what each holds is told by the keys, of which none may be lost, whatever the numbers
 * say. That a row is sound is told by nothing but a secret that opens it: until then it holds nothing.
 *
 * job->ks is the one whose slots stay if the secret opens it, job->other the one whose keys join.
 */
#include <stdlib.h>
#include <string.h>

#include "change.h"
#include "kept.h"

#define NAME "keys restored"
#define JUMP_MAX 1000000
#define RESTORE_FLAGS (BS_RESTORE_OTHER_ACCOUNT | BS_RESTORE_OLDER)

/* --- replies --- */

static void
reply(struct vault *v, struct job *job, enum bs_err err)
{
	uint8_t lost[8];
	struct bs_wr wr = bs_wr_init(lost, sizeof(lost));

	bs_wr_u64(&wr, job->lost);
	v->stats.denied += err == BS_ERR_DENIED;
	if (err == BS_OK && job->lost > 0)
		bs_log(BS_LOG_WARNING, "%s: its keys were restored from a copy, and what changed up to generation %llu is lost", job->user,
		    (unsigned long long)job->lost);
	change_reply_with(v, job, NAME, err, lost, job->opcode == BS_OP_RESTORE ? 0 : wr.len);
}

/* This vault saw a newer one since it started, which is in neither. That its loss is meant only the newer operation can say. */
static void
refuse_older(struct vault *v, struct job *job)
{
	uint8_t numbers[16];
	struct bs_wr wr = bs_wr_init(numbers, sizeof(numbers));

	bs_log(BS_LOG_WARNING, "%s: keys not restored: generation %llu of them was seen here, and neither database nor copy (generation %llu) has it", job->user,
	    (unsigned long long)job->lost, (unsigned long long)job->ks.record.generation);
	bs_wr_u64(&wr, 0);
	bs_wr_u64(&wr, job->lost);
	if (job->opcode == BS_OP_RESTORE)
		job_finish(v, job, BS_ERR_ROLLBACK, NULL, 0);
	else
		job_finish(v, job, BS_OK, numbers, wr.len);
}

static void
on_restored(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_OK)
		change_end_sessions(v, job);
	reply(v, job, err);
}

/* --- what is written --- */

static void
go_past(struct newgen *gen, uint64_t generation)
{
	if (gen->rec.generation <= generation)
		gen->rec.generation = generation + 1;
}

/*
 * One row above all that are there: until it is committed what was there stands, and another account's goes with the next login, as all older ones
 * do. united: keys of two lines are together from now on, which a new active key says to whoever compares.
 */
static void
write_restored(struct vault *v, struct job *job, bool united)
{
	struct newgen gen = newgen_next(job);
	enum bs_err err = united ? newgen_rotate(job, &gen) : BS_OK;

	if (err == BS_ERR_LIMIT)
		bs_log(BS_LOG_WARNING, "%s: %u keys are all that a ring holds: the active one stays", job->user, BS_RING_MAX);
	go_past(&gen, job->store_number);
	go_past(&gen, job->above);
	if (job->change_flags != 0)
		go_past(&gen, seen_generation(v->seen, job->user));
	gen.past = true;
	gen.anew = job->change_flags != 0;
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
		err = BS_OK; /* the row is damaged: it must not keep a sound copy from being restored */
	if (err == BS_OK)
		write_restored(v, job, true);
	else
		reply(v, job, err);
}

static void
unite(struct vault *v, struct job *job)
{
	struct job_secret *sec = job->sec;
	enum bs_err err = kept_add(job, &job->other);

	if (err != BS_OK) {
		reply(v, job, err);
		return;
	}
	memcpy(sec->new_password, sec->password, sec->password_len);
	sec->new_password_len = sec->password_len;
	kept_try(v, job, 1, on_other_tried);
}

/* job->ks is open, and stays. */
static void
go_on(struct vault *v, struct job *job)
{
	bool complete = !job->have_other || kept_holds(job, &job->other);

	if (!complete)
		unite(v, job);
	else if (job->from_row && !job->row_damaged && job->lost == 0)
		reply(v, job, BS_ERR_EXISTS);
	else
		write_restored(v, job, false);
}

/* --- which of the two stays --- */

/* BS_ERR_ROLLBACK: a newer one was seen, and its loss is not said to be meant. job->lost is which, in any case. */
static enum bs_err
check_seen(struct vault *v, struct job *job, const struct bs_record *rec)
{
	enum bs_err err = seen_check(v->seen, rec);

	if (err != BS_ERR_ROLLBACK)
		return err;
	job->lost = seen_generation(v->seen, job->user);
	return (job->change_flags & BS_RESTORE_OLDER) != 0 ? BS_OK : err;
}

static bool
row_was_first(const struct job *job)
{
	return job->have_other && job->other.record.generation >= job->ks.record.generation;
}

/* The row's slot takes the place of the copy's passwords, if it is one: it is sealed whole, and the master key in it is the copy's. */
static enum bs_err
take_slot(struct job *job, const struct bs_slot *slot)
{
	enum bs_err err;

	for (size_t i = job->ks.slot_count; i-- > 0;)
		if (slot->kind == BS_SLOT_PASSWORD && job->ks.slots[i].kind == BS_SLOT_PASSWORD)
			change_remove_slot(job, i);
	err = change_append_slot(job, slot);
	job->slot = job->ks.slot_count - 1;
	return err;
}

/*
 * A secret of after the copy: where the damaged row's slot still gives the master key, and that opens the copy too, as it does when no more than a password
 * was changed, the copy's keys and that slot are sound. BS_ERR_DENIED: they are not of one master key.
 */
static enum bs_err
open_by_row(struct job *job)
{
	struct job_secret *sec = job->sec;
	uint8_t amk[BS_KEY_LEN];
	enum bs_err err = bs_keyset_open_slot(&job->other, job->row_slot, sec->own_seed, amk);

	if (err == BS_OK)
		err = bs_keyset_check(&job->ks, amk);
	if (err == BS_OK)
		err = bs_keyset_open_ring(&job->ks, amk, sec->keys, BS_RING_MAX, &sec->key_count);
	if (err == BS_OK)
		err = take_slot(job, &job->other.slots[job->row_slot]);
	if (err == BS_OK) {
		memcpy(sec->amk, amk, BS_KEY_LEN);
		memcpy(sec->seed, sec->own_seed, BS_KEY_LEN);
	}
	bs_wipe(amk, sizeof(amk));
	return err == BS_OK || bs_err_is_transient(err) ? err : BS_ERR_DENIED;
}

/* Whose secret does not open the copy hears that before all else: nothing is to be learned here, and nothing taken away. */
static void
on_copy_unlocked(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_ERR_DENIED && job->row_damaged && row_was_first(job))
		err = open_by_row(job);
	if (err == BS_OK && job->other_account && (job->change_flags & BS_RESTORE_OTHER_ACCOUNT) == 0)
		err = BS_ERR_ACCOUNT;
	/* A damaged row was seen as well: what was newer than that has been looked at. */
	if (err == BS_OK && !row_was_first(job) && !job->other_account)
		err = check_seen(v, job, &job->ks.record);
	if (err == BS_OK && job->row_damaged && job->lost == 0 && job->store_number > job->ks.record.generation)
		job->lost = job->store_number;
	if (err == BS_OK)
		go_on(v, job);
	else if (err == BS_ERR_ROLLBACK)
		refuse_older(v, job);
	else
		reply(v, job, err);
}

static void
change_places(struct job *job)
{
	struct bs_keyset ks = job->ks;

	job->ks = job->other;
	job->other = ks;
	job->from_row = !job->from_row;
	job->tried = 0;
}

/* By the numbers each is the other's copy: if a secret opens one of them alone, the other is damaged. */
static bool
are_copies(const struct job *job)
{
	const struct bs_record *a = &job->ks.record, *b = &job->other.record;

	return a->generation == b->generation && memcmp(a->key_id, b->key_id, BS_ID_LEN) == 0;
}

/* A slot that opens, but not to what the manifest and the record say, is damage, too: the copy has to do, if the secret opens that. */
static void
on_row_unlocked(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_OK) {
		if (job->row_damaged && job->ks.record.generation > job->other.record.generation)
			job->lost = job->store_number; /* what it kept */
		go_on(v, job);
	} else if (bs_err_is_transient(err) || (err == BS_ERR_DENIED && !are_copies(job))) {
		reply(v, job, err);
	} else {
		job->row_damaged = true;
		job->row_slot = job->slot;
		memcpy(job->sec->own_seed, job->sec->seed, BS_KEY_LEN);
		change_places(job);
		unlock_try(v, job, on_copy_unlocked);
	}
}

/* What the row kept can't be told any more: what the copy keeps stands in for it. */
static enum bs_err
borrow_kept(struct job *job)
{
	size_t len = job->other.kept_len;

	if (len == 0)
		return BS_OK;
	job->ks.kept = malloc(len);
	if (job->ks.kept == NULL)
		return BS_ERR_NOMEM;
	memcpy(job->ks.kept, job->other.kept, len);
	job->ks.kept_len = len;
	return BS_OK;
}

/* The row is as new as the copy, or newer: its slots stay, if it is sound. */
static void
begin_with_row(struct vault *v, struct job *job)
{
	enum bs_err err;

	change_places(job);
	err = check_seen(v, job, &job->ks.record);
	if (err == BS_OK && job->row_damaged)
		err = borrow_kept(job);
	if (err == BS_OK)
		unlock_try(v, job, on_row_unlocked);
	else if (err == BS_ERR_ROLLBACK)
		refuse_older(v, job);
	else
		reply(v, job, err);
}

/*
 * The newest row into job->other. One that says nothing for sure, not even whose it is, is passed over; where the kept keysets alone are damaged, the
 * rest counts.
 */
static enum bs_err
take_row(struct vault *v, struct job *job)
{
	struct bs_keyset row;
	enum bs_err err = bs_keyset_parse(job->blob, job->blob_len, &row);

	if (err != BS_OK && err != BS_ERR_NOMEM) {
		vault_alarm(v, job->user, "its keyset is damaged", err);
		job->row_damaged = true;
		err = bs_keyset_parse_without_kept(job->blob, job->blob_len, &row);
	}
	if (err != BS_OK)
		return err == BS_ERR_NOMEM ? err : BS_OK;
	if (bs_keyset_verify(&row, v->site_pub, job->user) != BS_OK || row.record.generation != job->store_number) {
		job->row_damaged = true;
		bs_keyset_clear(&row);
	} else if (memcmp(row.record.account_id, job->ks.record.account_id, BS_ID_LEN) != 0) {
		job->other_account = true;
		bs_keyset_clear(&row);
	} else {
		job->other = row;
		job->have_other = true;
	}
	return BS_OK;
}

static void
on_restore_row(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_ERR_NOENT)
		job->store_number = 0;
	else if (err == BS_OK)
		err = take_row(v, job);
	if (err != BS_OK && err != BS_ERR_NOENT)
		reply(v, job, err);
	else if (row_was_first(job))
		begin_with_row(v, job);
	else
		unlock_try(v, job, on_copy_unlocked);
}

/* --- the requests --- */

/* What came with the request, into job->ks. FORMAT is for frames: what is no keyset, or names another address, is damaged. */
static enum bs_err
read_keyset(const struct vault *v, struct job *job, const uint8_t *blob, size_t len)
{
	enum bs_err err = bs_keyset_parse(blob, len, &job->ks);

	job->have_ks = err == BS_OK;
	if (err == BS_OK)
		err = bs_keyset_verify(&job->ks, v->site_pub, job->user);
	if (err == BS_ERR_FORMAT || err == BS_ERR_ACCOUNT)
		err = BS_ERR_AUTH;
	/* Generations must not run out by one mistyped number. */
	return err == BS_OK && job->above > job->ks.record.generation + JUMP_MAX ? BS_ERR_ARG : err;
}

static enum bs_err
start(struct vault *v, struct conn *conn, const struct bs_frame *frame, bool has_flags)
{
	struct bs_rd rd;
	enum bs_err err;
	struct job *job = change_start(v, conn, frame, &rd, &err);
	const uint8_t *blob;
	size_t len;

	if (job == NULL)
		return err;
	job->above = bs_rd_u64(&rd);
	job->change_flags = has_flags ? bs_rd_u8(&rd) : 0;
	blob = bs_rd_str32(&rd, &len);
	if ((job->change_flags & ~RESTORE_FLAGS) != 0)
		err = BS_ERR_ARG;
	else if (bs_rd_done(&rd))
		err = read_keyset(v, job, blob, len);
	err = change_check(v, job, &rd, err);
	if (err == BS_OK)
		job_store(v, job, LINK_GET, 0, on_restore_row);
	return err;
}

enum bs_err
op_restore(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	return start(v, conn, frame, false);
}

enum bs_err
op_restore_keyset(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	return start(v, conn, frame, true);
}

static void
on_digest_row(struct vault *v, struct job *job, enum bs_err err)
{
	uint8_t digest[BS_HASH_LEN], payload[8 + BS_HASH_LEN];
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));

	err = unlock_read(v, job, err);
	if (err == BS_OK) {
		bs_sha256(job->blob, job->blob_len, digest);
		bs_wr_u64(&wr, job->ks.record.generation);
		bs_wr_bytes(&wr, digest, sizeof(digest));
	}
	job_finish(v, job, err, payload, wr.len);
}

enum bs_err
op_keyset_digest(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	return job_store_user(v, conn, frame, LINK_GET, on_digest_row);
}
