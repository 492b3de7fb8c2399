/* Operations that make an account's first keys: ENROL of the socket control, ENROL_LOGIN of auth. */
#include <string.h>
#include <time.h>

#include "change.h"
#include "newpass.h"

static void
reply_enrolled(struct vault *v, struct job *job, enum bs_err err)
{
	bool at_login = job->opcode == BS_OP_ENROL_LOGIN;
	uint8_t payload[BS_ID_LEN + 8];
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));

	if (err == BS_OK)
		bs_log(BS_LOG_INFO, "%s: enrolled%s", job->user, at_login ? " at its first login" : "");
	else
		bs_log(BS_LOG_WARNING, "%s: enrolment failed: %s", job->user, bs_err_text(err));
	v->stats.enrolled += err == BS_OK;
	bs_wr_bytes(&wr, job->ks.record.account_id, BS_ID_LEN);
	bs_wr_u64(&wr, job->ks.record.generation);
	job_finish(v, job, err, payload, at_login ? 0 : wr.len);
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

/* job->ks as far as it is not the writer's to make. */
static enum bs_err
make_slots(struct vault *v, struct job *job)
{
	enum bs_err err;

	memset(&job->ks, 0, sizeof(job->ks));
	job->have_ks = true;
	make_account(job, &job->ks.record);
	err = bs_keyset_make_slot(job->ks.record.account_id, &job->new_slot, job->sec->seed, job->sec->amk);
	if (err == BS_OK)
		err = change_append_slot(job, &job->new_slot);
	return err == BS_OK ? change_append_escrow(v, job, 1) : err;
}

static void
on_enrol_seed(struct vault *v, struct job *job, enum bs_err err)
{
	struct newgen gen;

	if (err == BS_OK)
		err = make_slots(v, job);
	if (err != BS_OK) {
		job_finish(v, job, err, NULL, 0);
		return;
	}
	gen = newgen_next(job);
	gen.rec.generation = 1;
	newgen_write(v, job, &gen, on_enrolled);
}

static void
on_enrol_row(struct vault *v, struct job *job, enum bs_err err)
{
	err = unlock_read(v, job, err);
	if (err != BS_ERR_NOENT) {
		job_finish(v, job, err == BS_OK ? BS_ERR_EXISTS : err, NULL, 0);
		return;
	}
	change_prepare_slot(v, &job->new_slot, BS_SLOT_PASSWORD, 1);
	job_kdf_slot(v, job, job->sec->password, job->sec->password_len, &job->new_slot, on_enrol_seed);
}

enum bs_err
op_enrol(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd;
	enum bs_err err;
	struct job *job = change_start(v, conn, frame, &rd, &err);

	if (job == NULL)
		return err;
	err = change_read_flags(job, &rd);
	if (err == BS_OK && !newpass_is_good(job->user, job->sec->password, job->sec->password_len))
		err = change_is_account_name(job->user) ? BS_ERR_WEAK : BS_ERR_ARG;
	err = change_check(v, job, &rd, err);
	if (err == BS_OK)
		job_store(v, job, LINK_GET, 0, on_enrol_row);
	return err;
}

/* --- ENROL_LOGIN --- */

/* What new accounts are is the configuration's to say, not the client's. */
static enum bs_err
flags_at_login(const struct vault *v, struct job *job)
{
	if (v->conf->at_login == KEYD_AT_LOGIN_NO)
		return BS_ERR_CONF;
	job->record_flags = v->conf->at_login == KEYD_AT_LOGIN_SEALED ? BS_RECORD_FLAG_SEALED : 0;
	return BS_OK;
}

/*
 * The site's own passdb found the password right: how strong it has to be is the site's business. What comes next is
 * ENROL's: no row, and none that was ever seen.
 */
enum bs_err
op_enrol_login(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd;
	enum bs_err err;
	struct job *job = change_start(v, conn, frame, &rd, &err);

	if (job == NULL)
		return err;
	err = flags_at_login(v, job);
	if (err == BS_OK && !newpass_is_password(job->sec->password, job->sec->password_len))
		err = BS_ERR_WEAK;
	err = change_check(v, job, &rd, err);
	if (err == BS_OK)
		job_store(v, job, LINK_GET, 0, on_enrol_row);
	else if (err == BS_ERR_CONF)
		bs_log(BS_LOG_WARNING, "enrolment at login is asked for on socket 'auth', and keyd.enrol_at_login is \"no\"");
	return err;
}
