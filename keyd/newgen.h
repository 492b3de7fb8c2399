/*
 * newgen: a new generation of an account's keyset on its way into the database.
 *
 * The bytes are made, opened again as a stranger would, written, read back, and compared; only then is the generation
 * believed. The generation before stays in the database until the next login shows that the new one opens.
 * Whatever moment a crash picks, the newest row is a whole keyset that the old or the new secret opens.
 *
 *     struct newgen gen = newgen_next(job);          // as job->ks, one generation higher
 *     err = newgen_renew(job, &gen);                 // if somebody may have learned the master key
 *     newgen_write(v, job, &gen, on_written);        // afterwards job->ks is the new generation
 */
#ifndef KEYD_NEWGEN_H
#define KEYD_NEWGEN_H

#include "vault.h"

/* All is borrowed; amk and ring keys are job->sec's. */
struct newgen {
	struct bs_record rec;
	struct bs_slot *slots;
	size_t slot_count;
	size_t tested;       /* the slot whose seed is job->sec->seed: it must open what was made */
	const uint8_t *kept; /* keysets beside this one */
	size_t kept_len;
	bool past;           /* generations between may be missing */
	bool anew;           /* once it is there, what was seen of the name before counts no more */
};

/* As job->ks, one higher, tested by job->slot. */
struct newgen newgen_next(const struct job *job);
/* What a ring may hold before a new active key, kept keysets' keys included: each RESET adds one that HEAL has to join to the others. */
#define NEWGEN_KEYS_MAX (BS_RING_MAX - BS_KEPT_MAX)
bool newgen_has_room(const struct job *job);
/* A new active key, room or not; the others stay, to read old mail. BS_ERR_LIMIT: the ring is full, nothing was changed. */
enum bs_err newgen_rotate(struct job *job, struct newgen *gen) BS_MUST_USE;
/* A new master key, sealed to the public keys of all slots, and a new active key if there is room. */
enum bs_err newgen_renew(struct job *job, struct newgen *gen) BS_MUST_USE;
void newgen_write(struct vault *v, struct job *job, const struct newgen *gen, job_fn written);
/* After it was written: an open ring goes on with the new generation. password is recognised from now on as that of
 * job->ks.slots[slot]; NULL: none is. */
void newgen_refresh_ring(struct vault *v, const struct job *job, size_t slot, const uint8_t *password, size_t password_len);

#endif
