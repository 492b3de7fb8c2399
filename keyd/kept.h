/*
 * kept: keysets that lie beside an account's own, shut away by a reset or from another line of its keys. A secret of one of them
 * opens it, and its keys join the ring.
 *
 * job->ks is unlocked, by job->sec->seed, and that seed is back when the answer comes; the secret to try is
 * job->sec->new_password. job->other is this module's while it tries.
 *
 *     kept_try(v, job, BS_KEPT_MAX, on_tried);
 *     static void on_tried(v, job, err)      // BS_OK: joined, job->other_number is which; BS_ERR_DENIED: it opens none
 *         err = kept_drop(job, job->other_number);
 */
#ifndef KEYD_KEPT_H
#define KEYD_KEPT_H

#include "vault.h"

/*
 * Tries the first max. Also BS_ERR_LIMIT: the ring can't hold all (some have joined); what bs_keyset_unlock() says of one that is not what was
 * kept, which is an alarm.
 */
void kept_try(struct vault *v, struct job *job, size_t max, job_fn tried);
/* The i-th goes from job->ks: what is not written yet. */
enum bs_err kept_drop(struct job *job, size_t i) BS_MUST_USE;
/* job->ks keeps other, and what that keeps. BS_ERR_LIMIT: more than BS_KEPT_MAX. */
enum bs_err kept_add(struct job *job, const struct bs_keyset *other) BS_MUST_USE;
/* Do job's open ring and the keysets that it keeps hold all keys of other, and of what that keeps? A keyset's active key stands for its whole ring
 * (docs/FORMAT.keys.md). */
bool kept_holds(const struct job *job, const struct bs_keyset *other);

#endif
