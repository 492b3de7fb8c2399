/* Operations of the socket auth: LOGIN and EXISTS. */
#include <string.h>

#include "seen.h"
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

/* Makes the account's keys ready in the arena. */
static enum bs_err
open_ring(struct vault *v, struct job *job, struct ring **out)
{
	struct job_secret *sec = job->sec;
	const struct bs_keyset *ks = &job->ks;
	struct ring *ring = rings_find(v->rings, job->user);
	uint8_t hash[BS_HASH_LEN];
	enum bs_err err;

	if (job->was_warm) {
		*out = ring;
		return BS_OK;
	}
	/* Removed and enrolled again while sessions of the old account were open. */
	if (ring != NULL && memcmp(ring->account_id, ks->record.account_id, BS_ID_LEN) != 0)
		conn_end_account(v, ring);
	err = rings_open(v->rings, ks, sec->amk, sec->keys, sec->key_count, v->now_ms, &ring);
	if (err == BS_OK)
		err = unlock_warm_hash(v, &ks->record, &ks->slots[job->slot], sec->password, sec->password_len, hash);
	if (err != BS_OK)
		return err;
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
	if (ring->sessions + ring->tokens >= v->conf->per_account_max
	    || v->session_count + tokens_count(v->tokens) >= (size_t)v->conf->sessions_max) {
		v->stats.busy++;
		bs_log(BS_LOG_WARNING, "login of %s: too many sessions", job->user);
		return BS_ERR_BUSY;
	}
	return tokens_issue(v->tokens, ring, job->service, v->now_ms, token);
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
on_unlocked(struct vault *v, struct job *job, enum bs_err err)
{
	bool session = (job->login_flags & BS_LOGIN_NO_SESSION) == 0, warm = job->was_warm;
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
		v->stats.logins++;
		v->stats.warm_logins += warm;
		bs_log(BS_LOG_INFO, "login of %s for %s%s", job->user, job->service, warm ? ", warm" : "");
	} else {
		v->stats.denied += err == BS_ERR_DENIED;
		bs_log(BS_LOG_INFO, "login of %s for %s refused: %s", job->user, job->service, bs_err_text(err));
	}
	job_finish(v, job, err, payload, wr.len);
	bs_wipe(payload, sizeof(payload));
	bs_wipe(token, sizeof(token));
}

enum bs_err
op_login(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd = bs_rd_init(frame->payload, frame->payload_len);
	struct job *job = job_new(v, conn, frame);
	const uint8_t *password;
	size_t len;
	enum bs_err err = job == NULL ? BS_ERR_BUSY : job_take_secret(v, job);

	if (err != BS_OK)
		goto out;
	err = BS_ERR_FORMAT;
	bs_rd_cstr16(&rd, job->user, sizeof(job->user));
	password = bs_rd_str16(&rd, &len);
	bs_rd_cstr16(&rd, job->service, sizeof(job->service));
	job->login_flags = bs_rd_u8(&rd);
	if (!bs_rd_done(&rd) || len > BS_PASSWORD_MAX || (job->login_flags & ~BS_LOGIN_NO_SESSION) != 0)
		goto out;
	memcpy(job->sec->password, password, len);
	job->sec->password_len = len;
	job->allow_warm = true;
	unlock_start(v, job, on_unlocked);
	return BS_OK;
out:
	if (job != NULL)
		job_drop(v, job);
	v->stats.busy += err == BS_ERR_BUSY;
	return err;
}

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
