/*
 * unlock: from a name to a keyset that may be believed, and from a password to its account master key.
 *
 * Nothing that comes from the database is believed: the record's signature, its name, its key id, its generation against
 * the row's and against what was seen before; then, under the master key, the manifest and the ring. What does not fit
 * is an alarm and BS_ERR_AUTH or BS_ERR_ROLLBACK, never "wrong password".
 *
 *     unlock_start(v, job, on_unlocked);     // job->user, job->sec->password
 *     static void on_unlocked(v, job, err)   // BS_OK: job->ks, job->slot, and job->sec->amk and keys unless was_warm
 */
#ifndef KEYD_UNLOCK_H
#define KEYD_UNLOCK_H

#include "vault.h"

/* For the step after LINK_GET: what err and job->blob come to. BS_OK: job->ks is verified. BS_ERR_NOENT: no such account. */
enum bs_err unlock_read(struct vault *v, struct job *job, enum bs_err err) BS_MUST_USE;
/* Reads the account and tries job->sec->password. No account and a wrong password are BS_ERR_DENIED, after the same
 * Argon2id. With job->allow_warm an open ring may recognise the password. */
void unlock_start(struct vault *v, struct job *job, job_fn unlocked);
/* The hash by which slot's password is recognised while the account's ring is open. */
enum bs_err unlock_warm_hash(const struct vault *v, const struct bs_record *rec, const struct bs_slot *slot,
    const uint8_t *password, size_t len, uint8_t out[BS_HASH_LEN]) BS_MUST_USE;

#endif
