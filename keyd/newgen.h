/*
 * newgen: a new generation of an account's keyset on its way into the database.
 *
 * The bytes are made, opened again as a stranger would, written, read back, and compared; only then is the generation
 * believed. The generation before stays in the database until the next login shows that the new one opens.
 * Whatever moment a crash picks, the newest row is a whole keyset that the old or the new secret opens.
 *
 *     newgen_write(v, job, &rec, slots, slot_count, tested_slot, on_written);
 *     // job->sec: amk, keys, and the seed of slots[tested_slot]; afterwards job->ks is the new generation
 */
#ifndef KEYD_NEWGEN_H
#define KEYD_NEWGEN_H

#include "vault.h"

void newgen_write(struct vault *v, struct job *job, const struct bs_record *rec, const struct bs_slot *slots,
    size_t slot_count, size_t tested_slot, job_fn written);
/* After it was written: an open ring goes on with the new generation; its password is recognised from now on. */
void newgen_refresh_ring(struct vault *v, const struct job *job, const uint8_t *password, size_t password_len);

#endif
