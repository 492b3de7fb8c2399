/* Operations of the socket control that change and remove an account: PASSWD, CHANGE_PASSWORD, SET_FLAGS, ROTATE, REMOVE. */
#include <stdlib.h>

#include "change.h"
#include "newpass.h"

#define PENDING_MAX 2 /* a login may cost an Argon2id for each password, and no more (unlock.c) */
#define CHANGE_FLAGS (BS_CHANGE_COMPROMISED | BS_CHANGE_PENDING | BS_CHANGE_UNDO)

/* --- PASSWD, CHANGE_PASSWORD --- */

static const char *
change_name(const struct job *job)
{
	return (job->change_flags & BS_CHANGE_UNDO) != 0      ? "password change undone"
	    : (job->change_flags & BS_CHANGE_PENDING) != 0    ? "new password beside the old one"
	    : (job->change_flags & BS_CHANGE_COMPROMISED) != 0 ? "password and keys changed"
	                                                       : "password changed";
}

static void
on_changed(struct vault *v, struct job *job, enum bs_err err)
{
	uint8_t rotated = job->rotated;

	if (err == BS_OK && (job->change_flags & BS_CHANGE_COMPROMISED) != 0)
		change_end_sessions(v, job);
	else if (err == BS_OK && (job->change_flags & (BS_CHANGE_PENDING | BS_CHANGE_UNDO)) != 0)
		newgen_refresh_ring(v, job, 0, NULL, 0); /* old and new are both right: the next login tells which is used */
	else if (err == BS_OK)
		newgen_refresh_ring(v, job, job->slot, job->sec->new_password, job->sec->new_password_len);
	change_reply_with(v, job, change_name(job), err, &rotated, job->opcode == BS_OP_PASSWD ? 0 : 1);
}

/* Takes out the password slots that the new one replaces: all, but none while it is pending: a site may use any of them. */
static void
drop_replaced(struct job *job)
{
	if ((job->change_flags & BS_CHANGE_PENDING) != 0)
		return;
	for (size_t i = job->ks.slot_count; i-- > 0;)
		if (job->ks.slots[i].kind == BS_SLOT_PASSWORD)
			change_remove_slot(job, i);
}

/* How many passwords are pending, and which is the newest. */
static size_t
count_pending(const struct job *job, size_t *newest)
{
	size_t n = 0;

	for (size_t i = 0; i < job->ks.slot_count; i++) {
		if ((job->ks.slots[i].flags & BS_SLOT_PENDING) == 0)
			continue;
		*newest = i;
		n++;
	}
	return n;
}

/* The newest pending password goes; whoever gives that one has no change to take back. */
static enum bs_err
drop_pending(struct job *job)
{
	size_t i = 0;

	if (count_pending(job, &i) == 0)
		return BS_ERR_NOENT;
	if (i == job->slot)
		return BS_ERR_DENIED;
	change_remove_slot(job, i);
	return BS_OK;
}

/* Before anything is changed. Whoever comes with a password that was pending has settled the matter. */
static enum bs_err
prepare_change(struct job *job)
{
	size_t newest;
	enum bs_err err = BS_OK;

	if ((job->change_flags & BS_CHANGE_COMPROMISED) != 0 && !newgen_has_room(job))
		return BS_ERR_LIMIT;
	if ((job->change_flags & BS_CHANGE_UNDO) != 0)
		return drop_pending(job);
	if (job->ks.slots[job->slot].flags != 0)
		err = unlock_settle(job);
	if (err == BS_OK && (job->change_flags & BS_CHANGE_PENDING) != 0 && count_pending(job, &newest) == PENDING_MAX)
		err = BS_ERR_LIMIT;
	return err;
}

static void
write_change(struct vault *v, struct job *job, size_t tested)
{
	struct newgen gen = newgen_next(job);
	enum bs_err err = BS_OK;

	gen.tested = tested;
	if ((job->change_flags & BS_CHANGE_COMPROMISED) != 0)
		err = newgen_renew(job, &gen);
	if (err != BS_OK) {
		change_reply(v, job, change_name(job), err);
		return;
	}
	job->slot = tested;
	newgen_write(v, job, &gen, on_changed);
}

static void
on_change_seed(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_OK)
		err = bs_keyset_make_slot(job->ks.record.account_id, &job->new_slot, job->sec->seed, job->sec->amk);
	if (err == BS_OK) {
		drop_replaced(job);
		err = change_append_slot(job, &job->new_slot);
	}
	if (err != BS_OK)
		change_reply(v, job, change_name(job), err);
	else
		write_change(v, job, job->ks.slot_count - 1);
}

static void
on_change_unlocked(struct vault *v, struct job *job, enum bs_err err)
{
	struct job_secret *sec = job->sec;

	if (err == BS_OK)
		err = prepare_change(job);
	if (err != BS_OK) {
		change_refuse(v, job, change_name(job), err);
		return;
	}
	if ((job->change_flags & BS_CHANGE_UNDO) != 0) {
		write_change(v, job, job->slot);
		return;
	}
	change_prepare_slot(v, &job->new_slot, BS_SLOT_PASSWORD, job->ks.record.generation + 1);
	if ((job->change_flags & BS_CHANGE_PENDING) != 0)
		job->new_slot.flags = BS_SLOT_PENDING;
	job_kdf_slot(v, job, sec->new_password, sec->new_password_len, &job->new_slot, on_change_seed);
}

/* A change is one of its kinds; an undoing has no new password. */
static enum bs_err
check_change(const struct job *job)
{
	uint8_t flags = job->change_flags;
	const struct job_secret *sec = job->sec;

	if ((flags & ~CHANGE_FLAGS) != 0 || (flags & (flags - 1)) != 0)
		return BS_ERR_ARG;
	if ((flags & BS_CHANGE_UNDO) != 0)
		return sec->new_password_len == 0 ? BS_OK : BS_ERR_ARG;
	return newpass_is_good(job->user, sec->new_password, sec->new_password_len) ? BS_OK : BS_ERR_WEAK;
}

static enum bs_err
start_change(struct vault *v, struct conn *conn, const struct bs_frame *frame, bool has_flags)
{
	struct bs_rd rd;
	enum bs_err err;
	struct job *job = change_start(v, conn, frame, &rd, &err);

	if (job == NULL)
		return err;
	change_read_secret(&rd, job->sec->new_password, &job->sec->new_password_len);
	job->change_flags = has_flags ? bs_rd_u8(&rd) : 0;
	err = change_is_account_name(job->user) ? check_change(job) : BS_ERR_ARG;
	return change_go(v, job, &rd, err, on_change_unlocked);
}

enum bs_err
op_passwd(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	return start_change(v, conn, frame, false);
}

enum bs_err
op_change_password(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	return start_change(v, conn, frame, true);
}

/* --- SET_FLAGS, ROTATE --- */

/* An open ring goes on, and knows the password that was just given, if it was one. */
static void
refresh(struct vault *v, const struct job *job)
{
	bool typed = job->sec->code.kind == 0;

	newgen_refresh_ring(v, job, job->slot, typed ? job->sec->password : NULL, job->sec->password_len);
}

static void
on_flags_written(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_OK)
		refresh(v, job);
	change_reply(v, job, "flags changed", err);
}

static void
on_flags_unlocked(struct vault *v, struct job *job, enum bs_err err)
{
	struct newgen gen;

	if (err != BS_OK) {
		change_refuse(v, job, "flag change", err);
		return;
	}
	gen = newgen_next(job);
	gen.rec.flags = job->record_flags;
	newgen_write(v, job, &gen, on_flags_written);
}

enum bs_err
op_set_flags(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd;
	enum bs_err err;
	struct job *job = change_start(v, conn, frame, &rd, &err);

	if (job == NULL)
		return err;
	err = change_read_flags(job, &rd);
	return change_go(v, job, &rd, err, on_flags_unlocked);
}

static void
on_rotated(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_OK && (job->change_flags & BS_ROTATE_AMK) != 0)
		change_end_sessions(v, job);
	else if (err == BS_OK)
		refresh(v, job);
	change_reply(v, job, "new active key", err);
}

static void
on_rotate_unlocked(struct vault *v, struct job *job, enum bs_err err)
{
	struct newgen gen;

	if (err != BS_OK) {
		change_refuse(v, job, "new active key", err);
		return;
	}
	gen = newgen_next(job);
	err = !newgen_has_room(job)                     ? BS_ERR_LIMIT
	    : (job->change_flags & BS_ROTATE_AMK) != 0 ? newgen_renew(job, &gen)
	                                               : newgen_rotate(job, &gen);
	if (err != BS_OK)
		change_reply(v, job, "new active key", err);
	else
		newgen_write(v, job, &gen, on_rotated);
}

enum bs_err
op_rotate(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd;
	enum bs_err err;
	struct job *job = change_start(v, conn, frame, &rd, &err);

	if (job == NULL)
		return err;
	job->change_flags = bs_rd_u8(&rd);
	err = (job->change_flags & ~BS_ROTATE_AMK) == 0 ? BS_OK : BS_ERR_ARG;
	return change_go(v, job, &rd, err, on_rotate_unlocked);
}

/* --- REMOVE --- */

static void
on_removed(struct vault *v, struct job *job, enum bs_err err)
{
	struct ring *ring = rings_find(v->rings, job->user);

	if (err == BS_OK || err == BS_ERR_NOENT) {
		if (ring != NULL)
			conn_end_account(v, ring, BS_ENDED_REMOVED);
		seen_forget(v->seen, job->user);
	}
	bs_log(BS_LOG_INFO, "%s: keys removed: %s", job->user, bs_err_text(err));
	job_finish(v, job, err, NULL, 0);
}

enum bs_err
op_remove(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	return job_store_user(v, conn, frame, LINK_REMOVE, on_removed);
}
