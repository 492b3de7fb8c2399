/*
 * job: one request of a client that has to wait for the keystore or a kdf worker, as a chain of small steps.
 *
 * A step asks (store_ask, kdf_ask) and names the step that comes next; job_finish() replies and ends the job. Each job
 * has a deadline: when it passes the client gets BS_ERR_TIMEOUT, whatever hangs, and a late answer is thrown away. Not so once the
 * keystore was told to write: the database may do it at any time, so what follows from it, the end of sessions above all, is done
 * whenever the answer comes, for a client that has gone on, too.
 * Passwords, seeds and keys lie in job->sec, a cell of the arena that is wiped with the job. The vault's one thread.
 *
 *     job = job_new(v, conn, frame);                 // NULL: too many; reply BS_ERR_BUSY
 *     job_store(v, job, LINK_GET, 0, on_row);        // on_row(v, job, err) comes later
 *     job_finish(v, job, BS_OK, payload, payload_len);
 */
#ifndef KEYD_JOB_H
#define KEYD_JOB_H

#include <sys/queue.h>

#include "keydconf.h"
#include "keyset.h"
#include "link.h"
#include "ring.h"
#include "secretcode.h"
#include "token.h"

struct vault;
struct conn;
struct job;

/* err is what the question before it came to. */
typedef void (*job_fn)(struct vault *v, struct job *job, enum bs_err err);

/* One cell of the arena. */
struct job_secret {
	uint8_t password[BS_PASSWORD_MAX];
	size_t password_len;
	uint8_t new_password[BS_PASSWORD_MAX];
	size_t new_password_len;
	uint8_t seed[BS_KEY_LEN];
	uint8_t amk[BS_KEY_LEN];
	struct bs_ring_key keys[BS_RING_MAX];
	size_t key_count;
	struct bs_code code;            /* what password is, when it is none: kind 0 */
	uint8_t own_seed[BS_KEY_LEN];   /* of ks.slots[slot], while other seeds are tried */
};

enum job_wait { JOB_RUNS, JOB_STORE_QUEUED, JOB_STORE_SENT, JOB_KDF_QUEUED, JOB_KDF_SENT };

struct job {
	TAILQ_ENTRY(job) all;
	TAILQ_ENTRY(job) queue;
	uint64_t number; /* unique; answers of keystore and kdf carry it */
	/* who asked: conn 0 for work that nobody waits for */
	unsigned front;
	uint64_t conn;
	uint32_t request_id;
	uint8_t opcode;
	bool answered; /* the client was told TIMEOUT; only the late answer is awaited */
	bool wrote;    /* the keystore was told to write for it */
	bool visit;    /* of a client that was no session, on a socket of sessions */
	enum job_wait wait;
	int64_t deadline_ms;
	job_fn resume;
	/* the request */
	char user[BS_ACCOUNT_NAME_MAX + 1];
	char service[SERVICE_MAX + 1];
	char shared[BS_ACCOUNT_NAME_MAX + 1]; /* the account that a member opens, or shares */
	uint8_t login_flags;
	uint8_t change_flags;         /* BS_CHANGE_*, BS_ROTATE_*, BS_RESTORE_* */
	uint8_t target_id[BS_ID_LEN]; /* of the slot or key that goes */
	uint64_t above;               /* what a restored generation must pass */
	bool other_account;           /* the database's keyset is another account's of this name */
	bool from_row;                /* of a restore: ks is the database's, other came with the request */
	bool row_damaged;
	size_t row_slot;              /* of the damaged row: what own_seed may open */
	uint64_t lost;                /* a generation that no keyset has any more; 0: none */
	uint32_t record_flags;
	struct job_secret *sec;
	/* a question to the keystore, and its answer */
	uint8_t store_type;
	uint64_t store_generation;
	uint8_t *blob; /* owned: what to put, or what was got */
	size_t blob_len;
	uint64_t store_number;
	/* a question to a kdf worker; the answer is sec->seed */
	const uint8_t *kdf_password;
	size_t kdf_password_len;
	uint8_t kdf_salt[BS_SALT_LEN];
	uint32_t kdf_memory_kib, kdf_passes;
	/* unlock.h: the account as it was read, and how far the password got */
	unsigned may;   /* UNLOCK_* */
	bool allow_warm;
	bool was_warm;
	bool have_ks;
	struct bs_keyset ks;
	size_t slot;
	unsigned tried; /* how often Argon2id ran */
	job_fn unlocked;
	/* another keyset: one that is kept beside ks (kept.h), or the other side of a restore */
	bool have_other;
	struct bs_keyset other;
	size_t other_number, other_max, other_slot;
	job_fn kept_tried;
	/* newgen.h: a new generation on its way */
	struct bs_slot new_slot;
	bool rotated;   /* it has a new active key */
	bool anew;      /* what was seen of the name before is no measure for it */
	uint8_t written_hash[BS_HASH_LEN];
	job_fn written;
};
TAILQ_HEAD(job_list, job);

#define JOBS_PER_FRONT 1024
#define JOBS_MAX (KEYD_SOCKETS * JOBS_PER_FRONT)
/* Of those on the socket mail who have no session, one at a time and all together: sessions must not wait behind whoever runs as its user. */
#define JOBS_PER_VISITOR 4
#define JOBS_OF_VISITORS 64
/* Logins that wait for Argon2id, for each worker: what it does in six seconds. More are BS_ERR_BUSY: each keeps 9 KiB locked. */
#define JOB_KDF_QUEUE_MAX 96
/* Jobs that hold a password: whatever the queue holds, warm logins and changes find a place. */
#define JOB_SECRETS_MAX(workers) (JOB_KDF_QUEUE_MAX * (size_t)(workers) + 64)
#define JOB_STORE_WINDOW 16   /* questions under way at the keystore */
#define JOB_KDF_PER_ACCOUNT 2 /* waiting for Argon2id; more are BS_ERR_BUSY */
#define JOB_DEADLINE_MS 20000

struct jobs {
	struct job_list all, store_queue, store_sent, kdf_queue;
	struct job *kdf_busy[KEYD_KDF_WORKERS_MAX];
	unsigned count, per_front[KEYD_SOCKETS], visits, store_sent_count, kdf_queued;
	uint64_t serial;
};

void jobs_init(struct jobs *jobs);
/* Drops all, without a word to anybody. */
void jobs_clear(struct vault *v);
/* NULL: BS_ERR_BUSY, which was counted. conn NULL: nobody waits for it. */
struct job *job_new(struct vault *v, struct conn *conn, const struct bs_frame *frame);
/* Gives the job its secret cell. BS_ERR_BUSY. */
enum bs_err job_take_secret(struct vault *v, struct job *job) BS_MUST_USE;
/* Replies (payload only on BS_OK) and frees the job. */
void job_finish(struct vault *v, struct job *job, enum bs_err err, const void *payload, size_t len);
/* The same, but the job goes on: nobody waits for it any more. */
void job_reply(struct vault *v, struct job *job, enum bs_err err, const void *payload, size_t len);
/* Frees a job that asked nothing yet: the caller replies by its return value. */
void job_drop(struct vault *v, struct job *job);
/* Is there still somebody to reply to? */
bool job_is_wanted(const struct vault *v, const struct job *job);

/* Asks the keystore about job->user; for LINK_PUT job->blob is the new generation, after LINK_GET it is the newest. */
void job_store(struct vault *v, struct job *job, enum link_type type, uint64_t generation, job_fn resume);
/* The whole of an operation whose payload is one str16 user, and whose first step is a question to the keystore. */
enum bs_err job_store_user(struct vault *v, struct conn *conn, const struct bs_frame *frame, enum link_type type,
    job_fn resume) BS_MUST_USE;
/* Asks for Argon2id of a password inside job->sec. resume may get BS_ERR_BUSY at once. */
void job_kdf(struct vault *v, struct job *job, const uint8_t *password, size_t password_len,
    const uint8_t salt[BS_SALT_LEN], uint32_t memory_kib, uint32_t passes, job_fn resume);
/* By a slot's salt and parameters. */
void job_kdf_slot(struct vault *v, struct job *job, const uint8_t *password, size_t password_len, const struct bs_slot *slot, job_fn resume);

/* The event loop's part: send what may be sent, take answers, mind the deadlines. */
void jobs_pump(struct vault *v);
enum bs_err jobs_on_store(struct vault *v, const struct link_msg *msg) BS_MUST_USE;
enum bs_err jobs_on_kdf(struct vault *v, unsigned worker, const struct link_msg *msg) BS_MUST_USE;
void jobs_expire(struct vault *v);
unsigned jobs_kdf_queued(const struct jobs *jobs);

#endif
