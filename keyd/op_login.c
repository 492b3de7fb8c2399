/* Operations of the socket auth: LOGIN, LOGIN_MEMBER and EXISTS; and OPEN of control, a login by another kind of secret. */
#include <string.h>
#include <time.h>

#include "change.h"
#include "lastuse.h"
#include "linger.h"
#include "unlock.h"


/* A job that nobody waits for: deletes what the new generation superseded, now that it is known to open. */
static void
on_pruned(struct vault *v, struct job *job, enum bs_err err)
{
	if (err != BS_OK)
		bs_log(BS_LOG_WARNING, "pruning the old keysets of %s: %s", job->user, bs_err_text(err));
	job_finish(v, job, err, NULL, 0);
}

static void
prune(struct vault *v, struct ring *ring)
{
	struct job *job = ring->generation > 1 && ring->pruned != ring->generation ? job_new(v, NULL, NULL) : NULL;

	if (job == NULL)
		return;
	ring->pruned = ring->generation;
	memcpy(job->user, ring->name, sizeof(job->user));
	job_store(v, job, LINK_PRUNE, ring->generation, on_pruned);
}

/* Of OPEN alone, and the only ones that it gives tokens for. */
static bool
is_of_open(const char *service)
{
	return strcmp(service, "reseal") == 0 || strcmp(service, "convert") == 0;
}

/* Makes the account's keys ready in the arena. */
static enum bs_err
open_ring(struct vault *v, struct job *job, struct ring **out)
{
	struct job_secret *sec = job->sec;
	const struct bs_keyset *ks = &job->ks;
	struct ring *ring = rings_find(v->rings, job->user);
	bool by_password = ks->slots[job->slot].kind == BS_SLOT_PASSWORD;
	uint8_t hash[BS_HASH_LEN];
	enum bs_err err;

	/* App passwords and members are cheap: an open ring goes on remembering the password. */
	if (job->was_warm || (!by_password && ring != NULL && ring->generation == ks->record.generation
	    && memcmp(ring->account_id, ks->record.account_id, BS_ID_LEN) == 0)) {
		*out = ring;
		return BS_OK;
	}
	/* Removed and enrolled again while sessions of the old account were open. */
	if (ring != NULL && memcmp(ring->account_id, ks->record.account_id, BS_ID_LEN) != 0)
		conn_end_account(v, ring, BS_ENDED_REMOVED);
	err = rings_open(v->rings, ks, sec->amk, sec->keys, sec->key_count, v->now_ms, &ring);
	if (err == BS_OK && by_password)
		err = unlock_warm_hash(v, &ks->record, &ks->slots[job->slot], sec->password, sec->password_len, hash);
	if (err != BS_OK)
		return err;
	if (by_password)
		ring_set_warm(ring, ks->slots[job->slot].id, hash);
	*out = ring;
	return BS_OK;
}

static enum bs_err
make_token(struct vault *v, struct job *job, uint8_t token[BS_TOKEN_LEN])
{
	struct ring *ring;
	enum bs_err err = open_ring(v, job, &ring);

	if (err != BS_OK)
		return err;
	prune(v, ring);
	if (!conn_has_room(v, ring)) {
		v->stats.busy++;
		bs_log(BS_LOG_WARNING, "login of %s: too many sessions", job->user);
		err = BS_ERR_BUSY;
	} else {
		err = tokens_issue(v->tokens, ring, job->service, v->now_ms, token);
	}
	linger_apply(v, ring);
	return err;
}

/* Argon2id takes its time: the account may have been removed, or its password changed, since its row was read. */
static enum bs_err
check_still_newest(struct vault *v, const struct job *job)
{
	if (!seen_knows(v->seen, job->user) || seen_check(v->seen, &job->ks.record) != BS_OK)
		return BS_ERR_CONFLICT;
	return BS_OK;
}

static void
on_settled(struct vault *v, struct job *job, enum bs_err err)
{
	struct ring *ring = rings_find(v->rings, job->user);

	if (err != BS_OK && ring != NULL)
		ring->warm = false; /* so that the next login has the keys at hand again */
	if (err == BS_OK)
		newgen_refresh_ring(v, job, job->slot, job->sec->password, job->sec->password_len);
	if (err == BS_OK)
		bs_log(BS_LOG_INFO, "%s: the new password is in use, the old one is gone", job->user);
	else
		bs_log(BS_LOG_WARNING, "%s: removing the old password failed, the next login tries again: %s", job->user,
		    bs_err_text(err));
	job_finish(v, job, err, NULL, 0);
}

/* The last of a password change's three steps: who logs in by the new one needs the old one no more. */
static void
settle(struct vault *v, struct job *job)
{
	struct newgen gen;

	if (unlock_settle(job) != BS_OK) {
		job_finish(v, job, BS_ERR_INTERNAL, NULL, 0);
		return;
	}
	gen = newgen_next(job);
	newgen_write(v, job, &gen, on_settled);
}

/* --- a password whose Argon2id is cheaper than what is configured today --- */

static void
on_strengthened(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_OK) {
		newgen_refresh_ring(v, job, job->slot, job->sec->password, job->sec->password_len);
		bs_log(BS_LOG_INFO, "%s: the password's Argon2id was raised to %u KiB, %u passes", job->user, job->ks.slots[job->slot].memory_kib,
		    job->ks.slots[job->slot].passes);
	} else {
		bs_log(BS_LOG_WARNING, "%s: raising the password's Argon2id failed, the next login tries again: %s", job->user, bs_err_text(err));
	}
	job_finish(v, job, err, NULL, 0);
}

static void
on_strong_seed(struct vault *v, struct job *job, enum bs_err err)
{
	struct newgen gen;

	if (err == BS_OK)
		err = bs_keyset_make_slot(job->ks.record.account_id, &job->new_slot, job->sec->seed, job->sec->amk);
	if (err != BS_OK) {
		on_strengthened(v, job, err);
		return;
	}
	job->ks.slots[job->slot] = job->new_slot;
	gen = newgen_next(job);
	newgen_write(v, job, &gen, on_strengthened);
}

/* One that is dearer in either way stays as it is. */
static bool
is_cheap(const struct vault *v, const struct bs_slot *slot)
{
	int64_t memory_kib = v->conf->kdf_memory_kib, passes = v->conf->kdf_passes;

	return slot->kind == BS_SLOT_PASSWORD && slot->memory_kib <= memory_kib && slot->passes <= passes &&
	    (slot->memory_kib < memory_kib || slot->passes < passes);
}

/* The same slot, the same password, another salt. */
static void
strengthen(struct vault *v, struct job *job)
{
	const struct bs_slot *old = &job->ks.slots[job->slot];
	struct bs_slot *new = &job->new_slot;

	change_prepare_slot(v, new, BS_SLOT_PASSWORD, job->ks.record.generation + 1);
	memcpy(new->id, old->id, BS_ID_LEN);
	memcpy(new->label, old->label, sizeof(new->label));
	new->created = old->created;
	job_kdf_slot(v, job, job->sec->password, job->sec->password_len, new, on_strong_seed);
}

static void
note_login(struct vault *v, const struct job *job)
{
	const struct bs_slot *slot = &job->ks.slots[job->slot];
	static const char *const kinds[] = {
		[BS_SLOT_PASSWORD] = "",
		[BS_SLOT_APP] = ", by an app password",
		[BS_SLOT_RECOVERY] = ", by a recovery code",
		[BS_SLOT_MEMBER] = ", by member ",
		[BS_SLOT_ESCROW] = ", by the escrow key",
	};

	v->stats.logins++;
	v->stats.warm_logins += job->was_warm;
	lastuse_note(v->uses, slot->id, (uint64_t)time(NULL));
	bs_log(BS_LOG_INFO, "login of %s for %s%s%s%s", job->user, job->service, job->was_warm ? ", warm" : "",
	    slot->kind < sizeof(kinds) / sizeof(kinds[0]) && kinds[slot->kind] != NULL ? kinds[slot->kind] : "",
	    slot->kind == BS_SLOT_MEMBER ? slot->label : "");
}

static void
on_unlocked(struct vault *v, struct job *job, enum bs_err err)
{
	bool session = (job->login_flags & BS_LOGIN_NO_SESSION) == 0;
	uint8_t payload[1 + BS_TOKEN_LEN + BS_ID_LEN], token[BS_TOKEN_LEN];
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));

	/* A client that hung up gets no token: nobody could use it. */
	if (err == BS_OK && !job_is_wanted(v, job))
		err = BS_ERR_IO;
	if (err == BS_OK)
		err = check_still_newest(v, job);
	if (err == BS_OK && session)
		err = make_token(v, job, token);
	if (err == BS_OK) {
		bs_wr_u8(&wr, (job->ks.record.flags & BS_RECORD_FLAG_SEALED) != 0);
		if (session)
			bs_wr_bytes(&wr, token, BS_TOKEN_LEN);
		bs_wr_bytes(&wr, job->ks.record.account_id, BS_ID_LEN);
		note_login(v, job);
	} else {
		v->stats.denied += err == BS_ERR_DENIED;
		bs_log(BS_LOG_INFO, "login of %s for %s refused: %s", job->user, job->service, bs_err_text(err));
	}
	job_reply(v, job, err, payload, wr.len);
	bs_wipe(payload, sizeof(payload));
	bs_wipe(token, sizeof(token));
	if (err == BS_OK && !job->was_warm && job->ks.slots[job->slot].flags != 0)
		settle(v, job);
	else if (err == BS_OK && !job->was_warm && is_cheap(v, &job->ks.slots[job->slot]))
		strengthen(v, job);
	else
		job_finish(v, job, err, NULL, 0);
}

/* Secret, service and flags, which end the request. may: UNLOCK_*. */
static enum bs_err
start_login(struct vault *v, struct job *job, struct bs_rd *rd, unsigned may, job_fn unlocked)
{
	const uint8_t *password;
	size_t len;

	password = bs_rd_str16(rd, &len);
	bs_rd_cstr16(rd, job->service, sizeof(job->service));
	job->login_flags = bs_rd_u8(rd);
	if (!bs_rd_done(rd) || len > BS_PASSWORD_MAX || (job->login_flags & ~BS_LOGIN_NO_SESSION) != 0) {
		job_drop(v, job);
		return BS_ERR_FORMAT;
	}
	/* A token by a secret that may not log in is of no use to a mail server, and one that the mail server got is of none to basaltctl. */
	if (is_of_open(job->service) != (may == UNLOCK_CHANGE)) {
		job_drop(v, job);
		return BS_ERR_ARG;
	}
	memcpy(job->sec->password, password, len);
	job->sec->password_len = len;
	job->allow_warm = true;
	job->may = may;
	unlock_start(v, job, unlocked);
	return BS_OK;
}

/* A job with a place for secrets. NULL: BS_ERR_BUSY. */
static struct job *
new_login(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct job *job = job_new(v, conn, frame);

	if (job != NULL && job_take_secret(v, job) == BS_OK)
		return job;
	if (job != NULL)
		job_drop(v, job);
	return NULL;
}

static enum bs_err
login_by(struct vault *v, struct conn *conn, const struct bs_frame *frame, unsigned may)
{
	struct bs_rd rd = bs_rd_init(frame->payload, frame->payload_len);
	struct job *job = new_login(v, conn, frame);

	if (job == NULL)
		return BS_ERR_BUSY;
	bs_rd_cstr16(&rd, job->user, sizeof(job->user));
	return start_login(v, job, &rd, may, on_unlocked);
}

enum bs_err
op_login(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	return login_by(v, conn, frame, UNLOCK_LOGIN);
}

enum bs_err
op_open(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	return login_by(v, conn, frame, UNLOCK_CHANGE);
}

/* --- LOGIN_MEMBER --- */

/* The shared mailbox's slot that one of the member's private keys opens. BS_ERR_DENIED: he is none. */
static enum bs_err
open_shared(struct vault *v, struct job *job)
{
	struct job_secret *sec = job->sec;

	for (size_t i = 0; i < job->ks.slot_count; i++) {
		const struct bs_slot *slot = &job->ks.slots[i];

		for (size_t k = 0; slot->kind == BS_SLOT_MEMBER && k < sec->key_count; k++) {
			enum bs_err err;

			if (memcmp(sec->keys[k].public_key, slot->public_key, BS_KEY_LEN) != 0)
				continue;
			memcpy(sec->seed, sec->keys[k].secret_key, BS_KEY_LEN);
			err = bs_keyset_unlock(&job->ks, i, sec->seed, sec->amk, sec->keys, BS_RING_MAX, &sec->key_count);
			if (err != BS_OK)
				vault_alarm(v, job->user, "slots, ring and record are not those of one generation", err);
			job->slot = i;
			return err == BS_OK || err == BS_ERR_ROLLBACK ? err : BS_ERR_AUTH;
		}
	}
	return BS_ERR_DENIED;
}

static void
on_shared_row(struct vault *v, struct job *job, enum bs_err err)
{
	err = unlock_read(v, job, err);
	if (err == BS_OK)
		err = open_shared(v, job);
	on_unlocked(v, job, err == BS_ERR_NOENT ? BS_ERR_DENIED : err);
}

/* Private keys that an open ring spared the password from opening again. */
static void
copy_open_keys(struct vault *v, struct job *job)
{
	const struct ring *ring = rings_find(v->rings, job->user);
	const struct ring_cell *cell = ring->cells->next;

	for (job->sec->key_count = 0; cell != NULL && job->sec->key_count < BS_RING_MAX; cell = cell->next)
		job->sec->keys[job->sec->key_count++] = cell->u.key;
}

static void
on_member_unlocked(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_OK && job->was_warm)
		copy_open_keys(v, job);
	if (err == BS_OK)
		err = check_still_newest(v, job);
	bs_log(BS_LOG_INFO, "member %s at the door of %s: %s", job->user, job->shared, bs_err_text(err));
	memcpy(job->user, job->shared, sizeof(job->user));
	job->was_warm = false;
	if (err != BS_OK)
		on_unlocked(v, job, err);
	else
		job_store(v, job, LINK_GET, 0, on_shared_row);
}

enum bs_err
op_login_member(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd = bs_rd_init(frame->payload, frame->payload_len);
	struct job *job = new_login(v, conn, frame);

	if (job == NULL)
		return BS_ERR_BUSY;
	bs_rd_cstr16(&rd, job->shared, sizeof(job->shared));
	bs_rd_cstr16(&rd, job->user, sizeof(job->user));
	return start_login(v, job, &rd, UNLOCK_LOGIN, on_member_unlocked);
}

/* --- EXISTS --- */

static void
on_row(struct vault *v, struct job *job, enum bs_err err)
{
	job_finish(v, job, unlock_read(v, job, err), NULL, 0);
}

enum bs_err
op_exists(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	return job_store_user(v, conn, frame, LINK_GET, on_row);
}
