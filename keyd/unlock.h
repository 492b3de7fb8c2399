/*
 * unlock: from a name to a keyset that may be believed, and from a password to its account master key.
 *
 * Nothing that comes from the database is believed: the record's signature, its name, its key id, its generation against
 * the row's and against what was seen before; then, under the master key, the manifest and the ring. What does not fit
 * is an alarm and BS_ERR_AUTH or BS_ERR_ROLLBACK, never "wrong password".
 *
 *     unlock_start(v, job, on_unlocked);     // job->user, job->sec->password
 *     static void on_unlocked(v, job, err)   // BS_OK: job->ks, job->slot, and job->sec->amk and keys unless was_warm
 *                                            // BS_ERR_AUTH, BS_ERR_ROLLBACK: job->slot and job->sec->seed are where it failed
 */
#ifndef KEYD_UNLOCK_H
#define KEYD_UNLOCK_H

#include "vault.h"

/* For the step after LINK_GET: what err and job->blob come to. BS_OK: job->ks is verified; sessions of an older
 * master key have ended. BS_ERR_NOENT: no such account. */
enum bs_err unlock_read(struct vault *v, struct job *job, enum bs_err err) BS_MUST_USE;
/* Which kinds of slots a secret may open, as bits: mail programs log in by the first, people change keys by the second. */
#define UNLOCK_LOGIN (1u << BS_SLOT_PASSWORD | 1u << BS_SLOT_APP)
#define UNLOCK_CHANGE (1u << BS_SLOT_PASSWORD | 1u << BS_SLOT_RECOVERY | 1u << BS_SLOT_ESCROW)
/* Reads the account and tries job->sec->password on the slots that job->may says. No account and a wrong password are
 * BS_ERR_DENIED, after the same Argon2id; codes are recognised by their form and cost none. With job->allow_warm an open
 * ring may recognise the password. */
void unlock_start(struct vault *v, struct job *job, job_fn unlocked);
/* The same with a keyset that job->ks already is, and that was verified. */
void unlock_try(struct vault *v, struct job *job, job_fn unlocked);
/* The seed that a code makes for a slot; BS_ERR_DENIED: it is of another kind, or another slot's. */
enum bs_err unlock_code_seed(const struct bs_code *code, const struct bs_slot *slot, uint8_t seed[BS_KEY_LEN]) BS_MUST_USE;
/* May a kdf worker be asked for this password slot? BS_ERR_LIMIT. */
enum bs_err unlock_check_cost(const struct bs_slot *slot) BS_MUST_USE;
/* The pending password of job->slot takes the old one's place, in job->ks: what is not written yet. */
enum bs_err unlock_settle(struct job *job) BS_MUST_USE;
/* The hash by which slot's password is recognised while the account's ring is open. */
enum bs_err unlock_warm_hash(const struct vault *v, const struct bs_record *rec, const struct bs_slot *slot,
    const uint8_t *password, size_t len, uint8_t out[BS_HASH_LEN]) BS_MUST_USE;

#endif
