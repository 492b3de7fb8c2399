#include "job.h"

#include <stdlib.h>
#include <string.h>

#include "sock.h"
#include "vault.h"

void
jobs_init(struct jobs *jobs)
{
	memset(jobs, 0, sizeof(*jobs));
	TAILQ_INIT(&jobs->all);
	TAILQ_INIT(&jobs->store_queue);
	TAILQ_INIT(&jobs->store_sent);
	TAILQ_INIT(&jobs->kdf_queue);
}

/* On a socket of sessions: who is none. Anybody who may open the socket can come so, and as often as he likes. */
static bool
is_visitor(const struct vault *v, const struct conn *conn)
{
	return v->conf->sockets[conn->front].must_attach && conn->session == NULL;
}

static bool
has_room(const struct vault *v, const struct conn *conn)
{
	const struct jobs *jobs = &v->jobs;

	if (jobs->count >= JOBS_MAX)
		return false;
	if (conn == NULL)
		return true;
	if (is_visitor(v, conn) && (conn->visits >= JOBS_PER_VISITOR || jobs->visits >= JOBS_OF_VISITORS))
		return false;
	return jobs->per_front[conn->front] < JOBS_PER_FRONT;
}

static void
come_from(struct vault *v, struct job *job, struct conn *conn, const struct bs_frame *frame)
{
	job->front = conn->front;
	job->conn = conn->id;
	job->opcode = frame->opcode;
	job->request_id = frame->request_id;
	job->visit = is_visitor(v, conn);
	conn->visits += job->visit;
	v->jobs.visits += job->visit;
	v->jobs.per_front[conn->front]++;
}

/* Nobody waits for it any more. */
static void
forget_client(struct vault *v, struct job *job)
{
	struct conn *conn = conn_find(v, job->front, job->conn);

	if (job->conn == 0)
		return;
	if (conn != NULL)
		conn->visits -= job->visit;
	v->jobs.visits -= job->visit;
	v->jobs.per_front[job->front]--;
	job->conn = 0;
}

struct job *
job_new(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct jobs *jobs = &v->jobs;
	struct job *job = has_room(v, conn) ? calloc(1, sizeof(*job)) : NULL;

	if (job == NULL) {
		v->stats.busy++;
		return NULL;
	}
	job->number = ++jobs->serial;
	job->deadline_ms = v->now_ms + JOB_DEADLINE_MS;
	if (conn != NULL && frame != NULL)
		come_from(v, job, conn, frame);
	jobs->count++;
	TAILQ_INSERT_TAIL(&jobs->all, job, all);
	return job;
}

enum bs_err
job_take_secret(struct vault *v, struct job *job)
{
	job->sec = arena_alloc(v->job_cells);
	v->stats.busy += job->sec == NULL;
	return job->sec == NULL ? BS_ERR_BUSY : BS_OK;
}

/* Out of whatever queue it waits in. */
static void
unqueue(struct jobs *jobs, struct job *job)
{
	switch (job->wait) {
	case JOB_STORE_QUEUED:
		TAILQ_REMOVE(&jobs->store_queue, job, queue);
		break;
	case JOB_STORE_SENT:
		TAILQ_REMOVE(&jobs->store_sent, job, queue);
		jobs->store_sent_count--;
		break;
	case JOB_KDF_QUEUED:
		TAILQ_REMOVE(&jobs->kdf_queue, job, queue);
		jobs->kdf_queued--;
		break;
	case JOB_KDF_SENT:
		for (unsigned i = 0; i < KEYD_KDF_WORKERS_MAX; i++) {
			if (jobs->kdf_busy[i] == job)
				jobs->kdf_busy[i] = NULL;
		}
		break;
	case JOB_RUNS:
		break;
	}
	job->wait = JOB_RUNS;
}

static void
drop_secrets(struct vault *v, struct job *job)
{
	arena_release(v->job_cells, job->sec);
	job->sec = NULL;
	job->kdf_password = NULL;
}

void
job_drop(struct vault *v, struct job *job)
{
	unqueue(&v->jobs, job);
	TAILQ_REMOVE(&v->jobs.all, job, all);
	v->jobs.count--;
	forget_client(v, job);
	drop_secrets(v, job);
	if (job->have_ks)
		bs_keyset_clear(&job->ks);
	if (job->have_other)
		bs_keyset_clear(&job->other);
	free(job->blob);
	free(job);
}

void
jobs_clear(struct vault *v)
{
	while (!TAILQ_EMPTY(&v->jobs.all))
		job_drop(v, TAILQ_FIRST(&v->jobs.all));
}

void
job_finish(struct vault *v, struct job *job, enum bs_err err, const void *payload, size_t len)
{
	if (job->conn != 0 && !job->answered)
		conn_reply(v, job->front, job->conn, job->opcode, job->request_id, err, payload, len);
	job_drop(v, job);
}

void
job_reply(struct vault *v, struct job *job, enum bs_err err, const void *payload, size_t len)
{
	conn_reply(v, job->front, job->conn, job->opcode, job->request_id, err, payload, len);
	forget_client(v, job);
}

bool
job_is_wanted(const struct vault *v, const struct job *job)
{
	const struct conn *at = v->conns[job->front];
	uint32_t i = FRONT_INDEX(job->conn);

	return job->conn != 0 && !job->answered && at[i].id == job->conn && !at[i].closing;
}

void
job_store(struct vault *v, struct job *job, enum link_type type, uint64_t generation, job_fn resume)
{
	job->store_type = (uint8_t)type;
	job->store_generation = generation;
	job->resume = resume;
	/* A write is read back over a fresh connection: three statements. */
	job->deadline_ms = v->now_ms + 3 * v->conf->database_timeout_ms + 500;
	job->wait = JOB_STORE_QUEUED;
	TAILQ_INSERT_TAIL(&v->jobs.store_queue, job, queue);
}

enum bs_err
job_store_user(struct vault *v, struct conn *conn, const struct bs_frame *frame, enum link_type type, job_fn resume)
{
	struct bs_rd rd = bs_rd_init(frame->payload, frame->payload_len);
	struct job *job = job_new(v, conn, frame);

	if (job == NULL)
		return BS_ERR_BUSY;
	bs_rd_cstr16(&rd, job->user, sizeof(job->user));
	if (!bs_rd_done(&rd)) {
		job_drop(v, job);
		return BS_ERR_FORMAT;
	}
	job_store(v, job, type, 0, resume);
	return BS_OK;
}

static bool
is_login(const struct job *job)
{
	return job->opcode == BS_OP_LOGIN || job->opcode == BS_OP_LOGIN_MEMBER || job->opcode == BS_OP_OPEN
	    || job->opcode == BS_OP_ENROL_LOGIN;
}

/* One account must not fill the queue for all. */
static bool
has_enough_queued(const struct jobs *jobs, const char *user)
{
	const struct job *job;
	unsigned n = 0;

	TAILQ_FOREACH(job, &jobs->kdf_queue, queue) {
		if (strcmp(job->user, user) == 0 && ++n >= JOB_KDF_PER_ACCOUNT)
			return true;
	}
	return false;
}

void
job_kdf(struct vault *v, struct job *job, const uint8_t *password, size_t password_len,
    const uint8_t salt[BS_SALT_LEN], uint32_t memory_kib, uint32_t passes, job_fn resume)
{
	if ((is_login(job) && v->jobs.kdf_queued >= JOB_KDF_QUEUE_MAX * v->kdf_count) || has_enough_queued(&v->jobs, job->user)) {
		v->stats.busy++;
		resume(v, job, BS_ERR_BUSY);
		return;
	}
	job->kdf_password = password;
	job->kdf_password_len = password_len;
	memcpy(job->kdf_salt, salt, BS_SALT_LEN);
	job->kdf_memory_kib = memory_kib;
	job->kdf_passes = passes;
	job->resume = resume;
	job->deadline_ms = v->now_ms + JOB_DEADLINE_MS;
	job->wait = JOB_KDF_QUEUED;
	TAILQ_INSERT_TAIL(&v->jobs.kdf_queue, job, queue);
	v->jobs.kdf_queued++;
}

void
job_kdf_slot(struct vault *v, struct job *job, const uint8_t *password, size_t password_len, const struct bs_slot *slot, job_fn resume)
{
	job_kdf(v, job, password, password_len, slot->salt, slot->memory_kib, slot->passes, resume);
}

static bool
asks_only(const struct job *job)
{
	return job->store_type == LINK_GET || job->store_type == LINK_COUNT;
}

static enum bs_err
send_store(struct vault *v, const struct job *job)
{
	bool put = job->store_type == LINK_PUT || job->store_type == LINK_PUT_PAST;
	size_t size = 2 + sizeof(job->user) + 8 + 4 + (put ? job->blob_len : 0);
	uint8_t *payload = malloc(size);
	struct bs_wr wr = bs_wr_init(payload, payload == NULL ? 0 : size);
	enum bs_err err;

	if (payload == NULL)
		return BS_ERR_NOMEM;
	bs_wr_str16(&wr, job->user, strlen(job->user));
	bs_wr_u64(&wr, job->store_generation);
	bs_wr_str32(&wr, job->blob, put ? job->blob_len : 0);
	err = wr.failed ? BS_ERR_INTERNAL : link_put(&v->keystore, job->store_type, job->number, payload, wr.len);
	free(payload);
	return err;
}

static enum bs_err
send_kdf(struct vault *v, const struct job *job, unsigned worker)
{
	uint8_t payload[8 + BS_SALT_LEN + 2 + BS_PASSWORD_MAX];
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));
	enum bs_err err;

	bs_wr_u32(&wr, job->kdf_memory_kib);
	bs_wr_u32(&wr, job->kdf_passes);
	bs_wr_bytes(&wr, job->kdf_salt, BS_SALT_LEN);
	bs_wr_str16(&wr, job->kdf_password, job->kdf_password_len);
	err = wr.failed ? BS_ERR_INTERNAL : link_put(&v->kdf[worker], LINK_KDF, job->number, payload, wr.len);
	bs_wipe(payload, sizeof(payload));
	return err;
}

static void
pump_store(struct vault *v)
{
	struct jobs *jobs = &v->jobs;
	struct job *job;

	while (jobs->store_sent_count < JOB_STORE_WINDOW && (job = TAILQ_FIRST(&jobs->store_queue)) != NULL) {
		enum bs_err err = send_store(v, job);

		unqueue(jobs, job);
		if (err != BS_OK) {
			job->resume(v, job, err);
			continue;
		}
		job->wait = JOB_STORE_SENT;
		job->wrote = job->wrote || !asks_only(job);
		TAILQ_INSERT_TAIL(&jobs->store_sent, job, queue);
		jobs->store_sent_count++;
	}
}

static void
pump_kdf(struct vault *v, unsigned worker)
{
	struct jobs *jobs = &v->jobs;
	struct job *job;

	if (jobs->kdf_busy[worker] != NULL)
		return;
	while ((job = TAILQ_FIRST(&jobs->kdf_queue)) != NULL) {
		enum bs_err err;

		unqueue(jobs, job);
		/* Who hung up does not cost 100 ms; what changes an account is finished all the same, a login's work behind its answer too. */
		if (is_login(job) && job->conn != 0 && !job_is_wanted(v, job)) {
			job_drop(v, job);
			continue;
		}
		err = send_kdf(v, job, worker);
		if (err != BS_OK) {
			job->resume(v, job, err);
			continue;
		}
		job->wait = JOB_KDF_SENT;
		jobs->kdf_busy[worker] = job;
		return;
	}
}

void
jobs_pump(struct vault *v)
{
	pump_store(v);
	for (unsigned i = 0; i < v->kdf_count; i++)
		pump_kdf(v, i);
}

/* The answer of a question: a late one ends a job whose client has gone on, unless something was written for it. */
static void
resume(struct vault *v, struct job *job, enum bs_err err)
{
	if (job->answered && !job->wrote)
		job_drop(v, job);
	else
		job->resume(v, job, err);
}

enum bs_err
jobs_on_store(struct vault *v, const struct link_msg *msg)
{
	struct bs_rd rd = bs_rd_init(msg->payload, msg->len);
	enum bs_err err = bs_keyproto_status(bs_rd_u16(&rd));
	uint64_t number = bs_rd_u64(&rd);
	size_t len;
	const uint8_t *blob = bs_rd_str32(&rd, &len);
	struct job *job;

	if (!bs_rd_done(&rd))
		return BS_ERR_FORMAT;
	TAILQ_FOREACH(job, &v->jobs.store_sent, queue) {
		if (job->number == msg->id)
			break;
	}
	if (job == NULL || job->store_type != msg->type)
		return BS_ERR_FORMAT;
	unqueue(&v->jobs, job);
	/* Whatever came of it: what was read before may not be so any more. */
	if (!asks_only(job))
		bs_recent_forget(v->recent, job->user);
	free(job->blob);
	job->blob = NULL;
	job->blob_len = 0;
	if (err == BS_OK) {
		job->store_number = number;
		job->blob = malloc(len + 1);
		job->blob_len = len;
		if (job->blob == NULL)
			err = BS_ERR_NOMEM;
		else if (len > 0)
			memcpy(job->blob, blob, len);
	}
	resume(v, job, err);
	return BS_OK;
}

enum bs_err
jobs_on_kdf(struct vault *v, unsigned worker, const struct link_msg *msg)
{
	struct bs_rd rd = bs_rd_init(msg->payload, msg->len);
	enum bs_err err = bs_keyproto_status(bs_rd_u16(&rd));
	const uint8_t *seed = bs_rd_bytes(&rd, BS_KEY_LEN);
	struct job *job = v->jobs.kdf_busy[worker];

	if (!bs_rd_done(&rd) || msg->type != LINK_KDF || job == NULL || job->number != msg->id)
		return BS_ERR_FORMAT;
	unqueue(&v->jobs, job);
	if (job->sec != NULL)
		memcpy(job->sec->seed, seed, BS_KEY_LEN);
	resume(v, job, err);
	return BS_OK;
}

/* Nobody waits for it any more. What was written is in the database, or will be: that job goes on to its end. */
static void
give_up(struct vault *v, struct job *job)
{
	if (job->conn != 0)
		conn_reply(v, job->front, job->conn, job->opcode, job->request_id, BS_ERR_TIMEOUT, NULL, 0);
	job->answered = true;
	if (job->wrote)
		return;
	drop_secrets(v, job);
	if (job->wait != JOB_STORE_SENT && job->wait != JOB_KDF_SENT)
		job_drop(v, job);
}

void
jobs_expire(struct vault *v)
{
	struct job *job, *next;

	for (job = TAILQ_FIRST(&v->jobs.all); job != NULL; job = next) {
		next = TAILQ_NEXT(job, all);
		if (job->answered || v->now_ms < job->deadline_ms)
			continue;
		v->stats.timeouts++;
		bs_log(BS_LOG_ERROR, "request %u for %s: no answer from the %s in time", job->opcode, job->user,
		    job->wait == JOB_KDF_QUEUED || job->wait == JOB_KDF_SENT ? "kdf workers" : "keystore");
		give_up(v, job);
	}
}

unsigned
jobs_kdf_queued(const struct jobs *jobs)
{
	return jobs->kdf_queued;
}
