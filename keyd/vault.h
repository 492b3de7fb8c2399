/*
 * vault: the role that holds unlocked keys. It has the ends of socketpairs, a log and nothing else: no file, no database, no
 * network. Every request is checked here against the socket it came by and the state of its connection; what the fronts
 * say is believed no further than that they are a front.
 *
 * One thread, one poll loop. vault.c is the loop, conn.c the connections and what each may ask, job.c what waits for the
 * keystore and the kdf workers, vault_handover.c what a reload does, unlock.c the way from a password to open keys, op_*.c the
 * operations, linger.c what plans say.
 *
 *     v = vault_new(conf, fds, errbuf, sizeof(errbuf));    // before the jail: reads the site key, locks the arenas
 *     exit_status = vault_run(v);                          // after it
 */
#ifndef KEYD_VAULT_H
#define KEYD_VAULT_H

#include "front.h"
#include "job.h"
#include "keydconf.h"
#include "recent.h"
#include "seen.h"
#include "vault_handover.h"

/* The vault's ends of the socketpairs. */
struct vault_fds {
	int fronts[KEYD_SOCKETS];
	int keystore, policy; /* policy -1: keyd.policy names no database */
	int kdf[KEYD_KDF_WORKERS_MAX];
	unsigned kdf_count;
	int ctl;        /* the supervisor's word that there is an heir */
	int forerunner; /* the vault before this one, which leaves all to it; -1: it begins anew */
};

/* One client of one front. */
struct conn {
	uint64_t id; /* 0: the place is free */
	unsigned front;
	pid_t pid;
	uid_t uid;
	struct ring *session; /* held */
	LIST_ENTRY(conn) of_ring; /* while it has a session */
	char service[SERVICE_MAX + 1];
	int64_t since_ms;         /* of the session */
	unsigned visits;          /* jobs from before it was one */
	bool closing;         /* told the front to close: nothing of it is heard any more */
};

/* One cell of the arena: what the vault itself must keep secret. */
struct vault_secret {
	uint8_t site_sec[BS_SIGN_SEC_LEN];
	uint8_t boot_key[BS_KEY_LEN]; /* of warm hashes; new at each start */
};

struct vault_stats {
	uint64_t logins, warm_logins, denied, attached, bad_tokens, unwrapped, unwrap_errors, throttled;
	uint64_t enrolled, refused, alarms, timeouts, busy, records, reloads;
};

struct vault {
	const struct keydconf *conf;
	struct chan fronts[KEYD_SOCKETS], keystore, policy, kdf[KEYD_KDF_WORKERS_MAX];
	unsigned kdf_count;
	struct conn *conns[KEYD_SOCKETS]; /* by FRONT_INDEX(id) */
	unsigned conn_count[KEYD_SOCKETS], session_count;
	struct jobs jobs;
	struct arena *secrets, *ring_cells, *job_cells;
	struct vault_secret *own;
	uint8_t site_pub[BS_SIGN_PUB_LEN];
	struct rings *rings;
	struct tokens *tokens;
	struct seen *seen;
	struct bs_recent *recent;
	struct lastuse *uses;
	struct escrow *escrow; /* NULL: none is configured */
	struct vault_stats stats;
	int64_t now_ms, started_ms;
	uint8_t *reply; /* BS_FRAME_MAX bytes to build a payload in; whoever uses it wipes it */
	uint8_t *frame; /* BS_FRAME_MAX bytes: the same with its header */
	bool broken;    /* another role is gone, or talks nonsense: the whole set starts again */
	struct leaving leaving; /* vault_handover.h */
	int forerunner;
};

enum bs_err vault_new(const struct keydconf *conf, const struct vault_fds *fds, char *errbuf, size_t errbuf_size,
    struct vault **out) BS_MUST_USE;
int vault_run(struct vault *v);

/* Something that a person should look at: a database that was tampered with. Counts and logs. */
void vault_alarm(struct vault *v, const char *user, const char *what, enum bs_err err);

/* --- conn.c --- */

/* Takes one message of a front. */
void conn_on_message(struct vault *v, unsigned front, const struct link_msg *msg);
struct conn *conn_find(struct vault *v, unsigned front, uint64_t id);
/* Replies to a request; a connection that is gone is nobody's loss. payload counts on BS_OK only. */
void conn_reply(struct vault *v, unsigned front, uint64_t id, uint8_t opcode, uint32_t request_id, enum bs_err err,
    const void *payload, size_t len);
/* Has the front close the connection once the replies are out; its session ends now. */
void conn_close(struct vault *v, struct conn *conn);
void conn_start_session(struct vault *v, struct conn *conn, struct ring *ring, const char *service);
/* May there be another session or token of the account? Where it has too many, its oldest token of a session that sleeps gives way. */
bool conn_has_room(struct vault *v, struct ring *ring) BS_MUST_USE;
/* Ends all sessions and tokens of a ring and wipes it; the sessions are told why. */
void conn_end_account(struct vault *v, struct ring *ring, enum bs_ended why);

/* --- op_*.c: each gets a request that is permitted; conn is its connection. BS_ERR_FORMAT: malformed, close. --- */

typedef enum bs_err (*op_fn)(struct vault *v, struct conn *conn, const struct bs_frame *frame);

enum bs_err op_login(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_exists(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_attach(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_unwrap(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_subkey(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_record(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_holds(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_keyset(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_keyset_of(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_resume_token(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_drop_token(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_close(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_enrol(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_enrol_login(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_passwd(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_remove(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_set_flags(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_login_member(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_slots(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_add_slot(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_remove_slot(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_rotate(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_change_password(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_reset(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_heal(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_restore(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_restore_keyset(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_keyset_digest(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_drop_key(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_keys(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_open(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_sessions(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_end_sessions(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;
enum bs_err op_status(struct vault *v, struct conn *conn, const struct bs_frame *frame) BS_MUST_USE;

#endif
