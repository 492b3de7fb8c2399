/* Operations of the sockets mail and delivery: ATTACH, and what a session may ask: UNWRAP, SUBKEY, KEYSET, RESUME_TOKEN, DROP_TOKEN, HOLDS, CLOSE;
 * and what needs none: RECORD, KEYSET_OF. */
#include <string.h>

#include "linger.h"
#include "unlock.h"

/* The ring of a token that was made for user and service, held as a token would. NULL: BS_ERR_TOKEN. It is consumed in any case. */
static struct ring *
take_token(struct vault *v, const struct conn *conn, const uint8_t token[BS_TOKEN_LEN], const char *user, const char *service)
{
	char bound_to[SERVICE_MAX + 1];
	struct ring *ring = tokens_take(v->tokens, token, v->now_ms, bound_to);

	if (ring != NULL && (strcmp(ring->name, user) != 0 || strcmp(bound_to, service) != 0)) {
		bs_log(BS_LOG_ALARM, "pid %d tried the token of %s, %s, as %s, %s", (int)conn->pid, ring->name, bound_to, user,
		    service);
		v->stats.alarms++;
		ring_release(v->rings, ring, &ring->tokens, v->now_ms);
		ring = NULL;
	}
	if (ring == NULL) {
		v->stats.bad_tokens++;
		bs_log(BS_LOG_WARNING, "attach of %s by pid %d: %s", user, (int)conn->pid, bs_err_text(BS_ERR_TOKEN));
	}
	return ring;
}

enum bs_err
op_attach(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd = bs_rd_init(frame->payload, frame->payload_len);
	struct bs_wr wr = bs_wr_init(v->reply, BS_FRAME_MAX);
	const uint8_t *token = bs_rd_bytes(&rd, BS_TOKEN_LEN);
	char user[BS_ACCOUNT_NAME_MAX + 1], service[SERVICE_MAX + 1];
	struct ring *ring;

	bs_rd_cstr16(&rd, user, sizeof(user));
	bs_rd_cstr16(&rd, service, sizeof(service));
	if (!bs_rd_done(&rd))
		return BS_ERR_FORMAT;
	ring = take_token(v, conn, token, user, service);
	if (ring == NULL)
		return BS_ERR_TOKEN;
	conn_start_session(v, conn, ring, service);
	ring->used_ms = v->now_ms;
	ring_release(v->rings, ring, &ring->tokens, v->now_ms);
	v->stats.attached++;
	bs_wr_bytes(&wr, ring->account_id, BS_ID_LEN);
	bs_wr_u8(&wr, (ring->flags & BS_RECORD_FLAG_SEALED) != 0);
	bs_wr_str16(&wr, ring->record, ring->record_len);
	conn_reply(v, conn->front, conn->id, frame->opcode, frame->request_id, BS_OK, v->reply, wr.len);
	return BS_OK;
}

enum bs_err
op_resume_token(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct ring *ring = conn->session;
	uint8_t token[BS_TOKEN_LEN];
	enum bs_err err;

	if (frame->payload_len != 0)
		return BS_ERR_FORMAT;
	if (v->conf->resume_s == 0)
		return BS_ERR_CONF;
	if (!conn_has_room(v, ring)) {
		v->stats.busy++;
		bs_log(BS_LOG_WARNING, "%s: pid %d may not hibernate: too many sessions", ring->name, (int)conn->pid);
		return BS_ERR_BUSY;
	}
	err = tokens_issue_for(v->tokens, ring, conn->service, v->now_ms, v->conf->resume_s * 1000, token);
	if (err != BS_OK)
		return err;
	linger_ask(v, ring->name); /* the token is what will let go of the ring, if nobody comes */
	conn_reply(v, conn->front, conn->id, frame->opcode, frame->request_id, BS_OK, token, sizeof(token));
	bs_wipe(token, sizeof(token));
	return BS_OK;
}

enum bs_err
op_drop_token(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct ring *ring;

	if (frame->payload_len != BS_TOKEN_LEN)
		return BS_ERR_FORMAT;
	ring = take_token(v, conn, frame->payload, conn->session->name, conn->service);
	if (ring == NULL)
		return BS_ERR_TOKEN;
	ring_release(v->rings, ring, &ring->tokens, v->now_ms);
	conn_reply(v, conn->front, conn->id, frame->opcode, frame->request_id, BS_OK, NULL, 0);
	return BS_OK;
}

/* One message's data key. */
static enum bs_err
unwrap_one(const struct ring *ring, const uint8_t *data, size_t len, struct bs_kem *kem, uint8_t data_key[BS_KEY_LEN])
{
	struct bs_msg_prefix prefix;
	const struct bs_ring_key *key;
	enum bs_err err = bs_msg_prefix_parse(data, len, &prefix);

	if (err != BS_OK)
		return err;
	if (prefix.len != len || prefix.suite != BS_MSG_SUITE_X25519)
		return BS_ERR_FORMAT;
	if (memcmp(prefix.account_id, ring->account_id, BS_ID_LEN) != 0)
		return BS_ERR_ACCOUNT;
	key = ring_key(ring, prefix.key_id);
	if (key == NULL)
		return BS_ERR_NOKEY;
	return bs_msg_unwrap(&prefix, key->secret_key, key->public_key, kem, data_key);
}

enum bs_err
op_unwrap(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd = bs_rd_init(frame->payload, frame->payload_len);
	struct bs_wr wr = bs_wr_init(v->reply, BS_FRAME_MAX);
	uint16_t n = bs_rd_u16(&rd);
	uint8_t data_key[BS_KEY_LEN];
	struct bs_kem kem = { .made = false }; /* mails that came together share one: most of a request's, if any */

	if (rd.failed || n == 0 || n > BS_UNWRAP_MAX)
		return BS_ERR_FORMAT;
	if (!ring_allow(conn->session, n, v->now_ms)) {
		v->stats.throttled++;
		bs_log(BS_LOG_WARNING, "%s: pid %d opens too many messages a second", conn->session->name, (int)conn->pid);
		return BS_ERR_BUSY;
	}
	bs_wr_u16(&wr, n);
	for (unsigned i = 0; i < n && !rd.failed; i++) {
		size_t len;
		const uint8_t *data = bs_rd_str16(&rd, &len);
		enum bs_err err = data == NULL ? BS_ERR_FORMAT : unwrap_one(conn->session, data, len, &kem, data_key);

		bs_wr_u16(&wr, (uint16_t)err);
		if (err == BS_OK)
			bs_wr_bytes(&wr, data_key, BS_KEY_LEN);
		v->stats.unwrapped += err == BS_OK;
		v->stats.unwrap_errors += err != BS_OK;
	}
	if (bs_rd_done(&rd))
		conn_reply(v, conn->front, conn->id, frame->opcode, frame->request_id, BS_OK, v->reply, wr.len);
	bs_wipe(v->reply, wr.len);
	bs_wipe(data_key, sizeof(data_key));
	bs_wipe(&kem, sizeof(kem));
	return bs_rd_done(&rd) ? BS_OK : BS_ERR_FORMAT;
}

enum bs_err
op_subkey(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd = bs_rd_init(frame->payload, frame->payload_len);
	uint8_t purpose = bs_rd_u8(&rd);
	const uint8_t *guid = bs_rd_bytes(&rd, 16);
	uint64_t epoch = bs_rd_u64(&rd);
	uint8_t subkey[BS_KEY_LEN];
	enum bs_err err;

	if (!bs_rd_done(&rd))
		return BS_ERR_FORMAT;
	if (purpose != BS_SUBKEY_CACHE && purpose != BS_SUBKEY_SEARCH)
		return BS_ERR_ARG;
	err = bs_subkey(ring_amk(conn->session), purpose, guid, epoch, subkey);
	if (err != BS_OK)
		return err;
	conn_reply(v, conn->front, conn->id, frame->opcode, frame->request_id, BS_OK, subkey, sizeof(subkey));
	bs_wipe(subkey, sizeof(subkey));
	return BS_OK;
}

/* A job that reads the row of the session's account. NULL: BS_ERR_BUSY. */
static struct job *
new_row_job(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct job *job = job_new(v, conn, frame);

	if (job != NULL)
		memcpy(job->user, conn->session->name, sizeof(job->user));
	return job;
}

/* Does the row fit the master key of the session that asks? */
static enum bs_err
check_row(struct vault *v, const struct job *job)
{
	const struct conn *conn = conn_find(v, job->front, job->conn);

	return conn == NULL || conn->session == NULL ? BS_ERR_UNAVAIL : bs_keyset_check(&job->ks, ring_amk(conn->session));
}

/* It will take the place of the copy in the mail home, which may be the last that is sound: the keys are open, whatever became of the row since. */
static void
on_keyset(struct vault *v, struct job *job, enum bs_err err)
{
	struct bs_wr wr = bs_wr_init(v->reply, BS_FRAME_MAX);

	err = unlock_read(v, job, err);
	if (err == BS_OK)
		err = check_row(v, job);
	if (err == BS_ERR_ROLLBACK)
		bs_log(BS_LOG_WARNING, "%s: what the database holds is damaged, or another node made a new master key: it goes to no mail home", job->user);
	if (err == BS_OK)
		bs_wr_str32(&wr, job->blob, job->blob_len);
	job_finish(v, job, err == BS_OK && wr.failed ? BS_ERR_LIMIT : err, v->reply, wr.len);
}

enum bs_err
op_keyset(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct job *job;

	if (frame->payload_len != 0)
		return BS_ERR_FORMAT;
	job = new_row_job(v, conn, frame);
	if (job == NULL)
		return BS_ERR_BUSY;
	job_store(v, job, LINK_GET, 0, on_keyset);
	return BS_OK;
}

/* The ring says nothing of the kept keysets; the row does, and must be what the session's master key fits: it is asked whether a copy may go. */
static void
on_holds_row(struct vault *v, struct job *job, enum bs_err err)
{
	err = unlock_read(v, job, err);
	if (err == BS_OK)
		err = check_row(v, job);
	if (err == BS_OK && !bs_keyset_kept_has(&job->ks, job->target_id))
		err = BS_ERR_NOKEY;
	job_finish(v, job, err, NULL, 0);
}

enum bs_err
op_holds(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct job *job;

	if (frame->payload_len != BS_ID_LEN)
		return BS_ERR_FORMAT;
	if (ring_key(conn->session, frame->payload) != NULL) {
		conn_reply(v, conn->front, conn->id, frame->opcode, frame->request_id, BS_OK, NULL, 0);
		return BS_OK;
	}
	job = new_row_job(v, conn, frame);
	if (job == NULL)
		return BS_ERR_BUSY;
	memcpy(job->target_id, frame->payload, BS_ID_LEN);
	job_store(v, job, LINK_GET, 0, on_holds_row);
	return BS_OK;
}

enum bs_err
op_close(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	if (frame->payload_len != 0)
		return BS_ERR_FORMAT;
	conn_reply(v, conn->front, conn->id, frame->opcode, frame->request_id, BS_OK, NULL, 0);
	conn_close(v, conn);
	return BS_OK;
}

static void
on_record(struct vault *v, struct job *job, enum bs_err err)
{
	struct bs_wr wr = bs_wr_init(v->reply, BS_FRAME_MAX);

	err = unlock_read(v, job, err);
	if (err == BS_OK)
		bs_wr_str16(&wr, job->ks.record_bytes, job->ks.record_len);
	job_finish(v, job, err, v->reply, wr.len);
}

/* Who delivers need not ask the database for every mail of a burst; who administers or reads wants to know what is there now. */
static bool
may_be_recent(const struct vault *v, const struct conn *conn)
{
	return (v->conf->sockets[conn->front].peer & (BS_PEER_AUTH | BS_PEER_DELIVERY)) != 0;
}

enum bs_err
op_record(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd = bs_rd_init(frame->payload, frame->payload_len);
	char user[BS_ACCOUNT_NAME_MAX + 1];
	uint8_t record[BS_RECORD_MAX], payload[2 + BS_RECORD_MAX];
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));
	size_t len;

	v->stats.records++;
	bs_rd_cstr16(&rd, user, sizeof(user));
	len = bs_rd_done(&rd) && may_be_recent(v, conn) ? bs_recent_get(v->recent, user, v->now_ms, record) : 0;
	if (len == 0)
		return job_store_user(v, conn, frame, LINK_GET, on_record);
	bs_wr_str16(&wr, record, len);
	conn_reply(v, conn->front, conn->id, frame->opcode, frame->request_id, BS_OK, payload, wr.len);
	return BS_OK;
}

/* Nobody's keys are open: what the site key signed is all that can be verified of it. */
static void
on_keyset_of(struct vault *v, struct job *job, enum bs_err err)
{
	struct bs_wr wr = bs_wr_init(v->reply, BS_FRAME_MAX);

	err = unlock_read(v, job, err);
	bs_wr_str32(&wr, job->blob, job->blob_len);
	job_finish(v, job, err == BS_OK && wr.failed ? BS_ERR_LIMIT : err, v->reply, wr.len);
}

enum bs_err
op_keyset_of(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	return job_store_user(v, conn, frame, LINK_GET, on_keyset_of);
}
