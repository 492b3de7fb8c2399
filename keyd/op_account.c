/* Operations of the socket control that change an account's keys: ENROL, PASSWD, SET_FLAGS, REMOVE. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "address.h"
#include "newgen.h"
#include "newpass.h"
#include "unlock.h"

#define KNOWN_FLAGS (BS_RECORD_FLAG_SEALED | BS_RECORD_FLAG_NOCOMPRESS)

/* As all parts of Basalt spell it: there are no two names for one account. */
static bool
is_account_name(const char *name)
{
	char spelt[BS_ADDRESS_MAX + 1];

	return bs_address_parse(name, spelt) == BS_OK && strcmp(spelt, name) == 0;
}

/* Starts a job with a user and one or two passwords; *err says why there is none. */
static struct job *
start(struct vault *v, struct conn *conn, const struct bs_frame *frame, struct bs_rd *rd, bool two_passwords,
    enum bs_err *err)
{
	struct job *job = job_new(v, conn, frame);
	const uint8_t *first, *second = NULL;
	size_t first_len, second_len = 0;

	*err = job == NULL ? BS_ERR_BUSY : job_take_secret(v, job);
	if (*err != BS_OK)
		goto out;
	*err = BS_ERR_FORMAT;
	bs_rd_cstr16(rd, job->user, sizeof(job->user));
	first = bs_rd_str16(rd, &first_len);
	if (two_passwords)
		second = bs_rd_str16(rd, &second_len);
	else
		job->record_flags = bs_rd_u32(rd);
	if (!bs_rd_done(rd) || first_len > BS_PASSWORD_MAX || second_len > BS_PASSWORD_MAX)
		goto out;
	*err = BS_ERR_ARG;
	if (!is_account_name(job->user) || (job->record_flags & ~KNOWN_FLAGS) != 0)
		goto out;
	memcpy(job->sec->password, first, first_len);
	job->sec->password_len = first_len;
	if (second != NULL)
		memcpy(job->sec->new_password, second, second_len);
	job->sec->new_password_len = second_len;
	*err = BS_OK;
	return job;
out:
	if (job != NULL)
		job_drop(v, job);
	return NULL;
}

/* A password slot that waits for its seed: salt and parameters of today. */
static void
prepare_slot(const struct vault *v, struct bs_slot *slot, uint64_t generation)
{
	memset(slot, 0, sizeof(*slot));
	slot->kind = BS_SLOT_PASSWORD;
	slot->generation = generation;
	slot->memory_kib = (uint32_t)v->conf->kdf_memory_kib;
	slot->passes = (uint32_t)v->conf->kdf_passes;
	bs_random(slot->salt, BS_SALT_LEN);
}

static void
log_change(const struct job *job, const char *what, enum bs_err err)
{
	if (err == BS_OK)
		bs_log(BS_LOG_INFO, "%s: %s, generation %llu", job->user, what, (unsigned long long)job->ks.record.generation);
	else
		bs_log(BS_LOG_WARNING, "%s: %s failed: %s", job->user, what, bs_err_text(err));
}

static void
reply_generation(struct vault *v, struct job *job, const char *what, enum bs_err err)
{
	uint8_t payload[8];
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));

	log_change(job, what, err);
	bs_wr_u64(&wr, job->ks.record.generation);
	job_finish(v, job, err, payload, wr.len);
}

/* --- ENROL --- */

static void
reply_enrolled(struct vault *v, struct job *job, enum bs_err err)
{
	uint8_t payload[BS_ID_LEN + 8];
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));

	log_change(job, "enrolled", err);
	v->stats.enrolled += err == BS_OK;
	bs_wr_bytes(&wr, job->ks.record.account_id, BS_ID_LEN);
	bs_wr_u64(&wr, job->ks.record.generation);
	job_finish(v, job, err, payload, wr.len);
}

static void
on_conflict_row(struct vault *v, struct job *job, enum bs_err err)
{
	err = unlock_read(v, job, err);
	if (err == BS_OK)
		err = BS_ERR_EXISTS;
	reply_enrolled(v, job, err == BS_ERR_NOENT ? BS_ERR_BUSY : err);
}

/* A conflict is somebody who enrolled the same name meanwhile, or a database that is locked: the row tells. */
static void
on_enrolled(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_ERR_CONFLICT)
		job_store(v, job, LINK_GET, 0, on_conflict_row);
	else
		reply_enrolled(v, job, err);
}

/* A new account's first record and first key; the AMK and the key lie in job->sec. */
static void
make_account(const struct job *job, struct bs_record *rec)
{
	struct job_secret *sec = job->sec;
	struct bs_ring_key *key = &sec->keys[0];

	memset(rec, 0, sizeof(*rec));
	rec->created = (uint64_t)time(NULL);
	bs_random(sec->amk, BS_KEY_LEN);
	bs_x25519_keypair(key->public_key, key->secret_key);
	bs_msg_key_id(BS_MSG_SUITE_X25519, key->public_key, key->key_id);
	key->created = rec->created;
	key->active = true;
	sec->key_count = 1;
	memcpy(rec->name, job->user, sizeof(rec->name));
	bs_random(rec->account_id, BS_ID_LEN);
	memcpy(rec->key_id, key->key_id, BS_ID_LEN);
	memcpy(rec->public_key, key->public_key, BS_KEY_LEN);
	rec->generation = 1;
	rec->flags = job->record_flags;
}

static void
on_enrol_seed(struct vault *v, struct job *job, enum bs_err err)
{
	struct bs_record rec;

	if (err == BS_OK) {
		make_account(job, &rec);
		err = bs_keyset_make_slot(rec.account_id, &job->new_slot, job->sec->seed, job->sec->amk);
	}
	if (err != BS_OK)
		job_finish(v, job, err, NULL, 0);
	else
		newgen_write(v, job, &rec, &job->new_slot, 1, 0, on_enrolled);
}

static void
on_enrol_row(struct vault *v, struct job *job, enum bs_err err)
{
	err = unlock_read(v, job, err);
	if (err != BS_ERR_NOENT) {
		job_finish(v, job, err == BS_OK ? BS_ERR_EXISTS : err, NULL, 0);
		return;
	}
	prepare_slot(v, &job->new_slot, 1);
	job_kdf(v, job, job->sec->password, job->sec->password_len, job->new_slot.salt, job->new_slot.memory_kib,
	    job->new_slot.passes, on_enrol_seed);
}

enum bs_err
op_enrol(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd = bs_rd_init(frame->payload, frame->payload_len);
	enum bs_err err;
	struct job *job = start(v, conn, frame, &rd, false, &err);

	if (job == NULL)
		return err;
	if (!newpass_is_good(job->user, job->sec->password, job->sec->password_len)) {
		job_drop(v, job);
		return BS_ERR_WEAK;
	}
	job_store(v, job, LINK_GET, 0, on_enrol_row);
	return BS_OK;
}

/* --- PASSWD --- */

static void
on_passwd_written(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_OK)
		newgen_refresh_ring(v, job, job->sec->new_password, job->sec->new_password_len);
	reply_generation(v, job, "password changed", err);
}

/* The slot that the old password opened makes room for the new one, all else stays. */
static void
on_passwd_seed(struct vault *v, struct job *job, enum bs_err err)
{
	struct bs_record rec = job->ks.record;

	rec.generation++;
	if (err == BS_OK)
		err = bs_keyset_make_slot(rec.account_id, &job->new_slot, job->sec->seed, job->sec->amk);
	if (err != BS_OK) {
		reply_generation(v, job, "password change", err);
		return;
	}
	job->ks.slots[job->slot] = job->new_slot;
	newgen_write(v, job, &rec, job->ks.slots, job->ks.slot_count, job->slot, on_passwd_written);
}

static void
on_passwd_unlocked(struct vault *v, struct job *job, enum bs_err err)
{
	struct job_secret *sec = job->sec;

	if (err != BS_OK) {
		v->stats.denied += err == BS_ERR_DENIED;
		reply_generation(v, job, "password change", err);
		return;
	}
	prepare_slot(v, &job->new_slot, job->ks.record.generation + 1);
	job_kdf(v, job, sec->new_password, sec->new_password_len, job->new_slot.salt, job->new_slot.memory_kib,
	    job->new_slot.passes, on_passwd_seed);
}

enum bs_err
op_passwd(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd = bs_rd_init(frame->payload, frame->payload_len);
	enum bs_err err;
	struct job *job = start(v, conn, frame, &rd, true, &err);

	if (job == NULL)
		return err;
	if (!newpass_is_good(job->user, job->sec->new_password, job->sec->new_password_len)) {
		job_drop(v, job);
		return BS_ERR_WEAK;
	}
	unlock_start(v, job, on_passwd_unlocked);
	return BS_OK;
}

/* --- SET_FLAGS --- */

static void
on_flags_written(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_OK)
		newgen_refresh_ring(v, job, job->sec->password, job->sec->password_len);
	reply_generation(v, job, "flags changed", err);
}

static void
on_flags_unlocked(struct vault *v, struct job *job, enum bs_err err)
{
	struct bs_record rec = job->ks.record;

	if (err != BS_OK) {
		v->stats.denied += err == BS_ERR_DENIED;
		reply_generation(v, job, "flag change", err);
		return;
	}
	rec.generation++;
	rec.flags = job->record_flags;
	newgen_write(v, job, &rec, job->ks.slots, job->ks.slot_count, job->slot, on_flags_written);
}

enum bs_err
op_set_flags(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd = bs_rd_init(frame->payload, frame->payload_len);
	enum bs_err err;
	struct job *job = start(v, conn, frame, &rd, false, &err);

	if (job == NULL)
		return err;
	unlock_start(v, job, on_flags_unlocked);
	return BS_OK;
}

/* --- REMOVE --- */

static void
on_removed(struct vault *v, struct job *job, enum bs_err err)
{
	struct ring *ring = rings_find(v->rings, job->user);

	if (err == BS_OK || err == BS_ERR_NOENT) {
		if (ring != NULL)
			conn_end_account(v, ring);
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
