/*
 * change: what the operations share that change an account's keys: the head of their requests, slots to come, replies.
 *
 * A request begins with str16 user and, but for a few, str16 secret: what opens the account. change_start() takes them,
 * the operation reads what it has beside them, change_go() begins.
 *
 *     job = change_start(v, conn, frame, &rd, &err);              // NULL: reply err
 *     bs_rd_copy(&rd, job->target_id, BS_ID_LEN);
 *     return change_go(v, job, &rd, BS_OK, on_unlocked);
 */
#ifndef KEYD_CHANGE_H
#define KEYD_CHANGE_H

#include "newgen.h"
#include "unlock.h"

/* A job with a user and a secret. NULL: *err says why. */
struct job *change_start(struct vault *v, struct conn *conn, const struct bs_frame *frame, struct bs_rd *rd,
    enum bs_err *err) BS_MUST_USE;
/* The same without the secret. */
struct job *change_start_user(struct vault *v, struct conn *conn, const struct bs_frame *frame, struct bs_rd *rd,
    enum bs_err *err) BS_MUST_USE;
/* A str16 of at most BS_PASSWORD_MAX bytes; fails the reader. */
void change_read_secret(struct bs_rd *rd, uint8_t out[BS_PASSWORD_MAX], size_t *len);
/* Ends the reading: BS_ERR_FORMAT if the reader failed or has bytes left, else err; the job is dropped but on BS_OK. */
enum bs_err change_check(struct vault *v, struct job *job, const struct bs_rd *rd, enum bs_err err) BS_MUST_USE;
/* change_check(), then unlocks the account by the secret. */
enum bs_err change_go(struct vault *v, struct job *job, const struct bs_rd *rd, enum bs_err err, job_fn unlocked) BS_MUST_USE;
/* As all parts of Basalt spell it: there are no two names for one account. */
bool change_is_account_name(const char *name);

/* The last field of ENROL and SET_FLAGS, into job->record_flags. BS_ERR_ARG: a flag that there is not. */
enum bs_err change_read_flags(struct job *job, struct bs_rd *rd) BS_MUST_USE;

/* A password slot that waits for its seed: salt and parameters of today. */
void change_prepare_slot(const struct vault *v, struct bs_slot *slot, enum bs_slot_kind kind, uint64_t generation);
/* Adds one to job->ks: BS_ERR_LIMIT, BS_ERR_NOMEM. */
enum bs_err change_append_slot(struct job *job, const struct bs_slot *slot) BS_MUST_USE;
/* Takes the i-th out of job->ks, and keeps job->slot where it points. */
void change_remove_slot(struct job *job, size_t i);
/* The escrow slot of the account's domain, where it has one: appended to job->ks for the master key in job->sec. */
enum bs_err change_append_escrow(struct vault *v, struct job *job, uint64_t generation) BS_MUST_USE;

/* Logs and replies: the generation, then extra bytes. */
void change_reply_with(struct vault *v, struct job *job, const char *what, enum bs_err err, const void *extra, size_t len);
void change_reply(struct vault *v, struct job *job, const char *what, enum bs_err err);
/* The same where the secret did not open the account: counts wrong ones. */
void change_refuse(struct vault *v, struct job *job, const char *what, enum bs_err err);
/* The sessions that the old keys opened end: their owners log in again. */
void change_end_sessions(struct vault *v, const struct job *job);

#endif
