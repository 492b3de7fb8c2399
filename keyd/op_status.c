/* Operation STATUS: what the daemon does right now, as one JSON object of numbers and fixed words. */
#include <stdio.h>
#include <string.h>

#include "vault.h"
#include "version.h"

static int
print_status(const struct vault *v, char *out, size_t size, enum bs_err database, uint64_t accounts)
{
	const struct vault_stats *s = &v->stats;
#define N(x) (unsigned long long)(x)

	return snprintf(out, size,
	    "{\"version\":\"%s\",\"uptime_s\":%llu,\"database\":\"%s\",\"accounts\":%llu,"
	    "\"sessions\":%u,\"tokens\":%zu,\"unlocked_accounts\":%zu,"
	    "\"clients\":{\"auth\":%u,\"mail\":%u,\"delivery\":%u,\"control\":%u},"
	    "\"kdf_workers\":%u,\"kdf_queue\":%u,\"requests_waiting\":%u,"
	    "\"locked_kib\":%zu,\"cells_used\":%zu,\"cells\":%zu,\"memfd_secret\":%s,"
	    "\"logins\":%llu,\"warm_logins\":%llu,\"denied\":%llu,\"attached\":%llu,\"bad_tokens\":%llu,"
	    "\"unwrapped\":%llu,\"unwrap_errors\":%llu,\"throttled\":%llu,\"enrolled\":%llu,\"refused\":%llu,"
	    "\"alarms\":%llu,\"timeouts\":%llu,\"busy\":%llu,\"records\":%llu,\"reloads\":%llu}",
	    KEYD_VERSION, N((v->now_ms - v->started_ms) / 1000), database == BS_OK ? "ok" : bs_err_text(database), N(accounts), v->session_count,
	    tokens_count(v->tokens), rings_count(v->rings), v->conn_count[0], v->conn_count[1], v->conn_count[2],
	    v->conn_count[3], v->kdf_count, jobs_kdf_queued(&v->jobs), v->jobs.count - 1 /* this one */,
	    (arena_bytes(v->ring_cells) + arena_bytes(v->job_cells)) / 1024, arena_used(v->ring_cells),
	    arena_cells(v->ring_cells), arena_is_secretmem(v->ring_cells) ? "true" : "false", N(s->logins),
	    N(s->warm_logins), N(s->denied), N(s->attached), N(s->bad_tokens), N(s->unwrapped), N(s->unwrap_errors),
	    N(s->throttled), N(s->enrolled), N(s->refused), N(s->alarms), N(s->timeouts), N(s->busy),
	    N(s->records), N(s->reloads));
#undef N
}

/* A database that is away is part of the status, not a failure of it. */
static void
on_count(struct vault *v, struct job *job, enum bs_err err)
{
	char text[2048];
	struct bs_wr wr = bs_wr_init(v->reply, BS_FRAME_MAX);
	int n = print_status(v, text, sizeof(text), err, err == BS_OK ? job->store_number : 0);
	bool whole = n > 0 && (size_t)n < sizeof(text);

	if (whole)
		bs_wr_str32(&wr, text, (size_t)n);
	job_finish(v, job, whole ? BS_OK : BS_ERR_INTERNAL, v->reply, wr.len);
}

enum bs_err
op_status(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct job *job;

	if (frame->payload_len != 0)
		return BS_ERR_FORMAT;
	job = job_new(v, conn, frame);
	if (job == NULL)
		return BS_ERR_BUSY;
	job_store(v, job, LINK_COUNT, 0, on_count);
	return BS_OK;
}
