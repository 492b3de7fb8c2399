#include "change.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "address.h"
#include "escrow.h"

#define KNOWN_FLAGS (BS_RECORD_FLAG_SEALED | BS_RECORD_FLAG_NOCOMPRESS)

bool
change_is_account_name(const char *name)
{
	char spelt[BS_ADDRESS_MAX + 1];

	return bs_address_parse(name, spelt) == BS_OK && strcmp(spelt, name) == 0;
}

void
change_read_secret(struct bs_rd *rd, uint8_t out[BS_PASSWORD_MAX], size_t *len)
{
	size_t got;
	const uint8_t *text = bs_rd_str16(rd, &got);

	if (text == NULL || got > BS_PASSWORD_MAX) {
		rd->failed = true;
		return;
	}
	memcpy(out, text, got);
	*len = got;
}

enum bs_err
change_read_flags(struct job *job, struct bs_rd *rd)
{
	job->record_flags = bs_rd_u32(rd);
	return (job->record_flags & ~KNOWN_FLAGS) == 0 ? BS_OK : BS_ERR_ARG;
}

struct job *
change_start_user(struct vault *v, struct conn *conn, const struct bs_frame *frame, struct bs_rd *rd, enum bs_err *err)
{
	struct job *job = job_new(v, conn, frame);

	*rd = bs_rd_init(frame->payload, frame->payload_len);
	*err = job == NULL ? BS_ERR_BUSY : job_take_secret(v, job);
	if (*err != BS_OK) {
		if (job != NULL)
			job_drop(v, job);
		return NULL;
	}
	job->may = UNLOCK_CHANGE;
	bs_rd_cstr16(rd, job->user, sizeof(job->user));
	return job;
}

struct job *
change_start(struct vault *v, struct conn *conn, const struct bs_frame *frame, struct bs_rd *rd, enum bs_err *err)
{
	struct job *job = change_start_user(v, conn, frame, rd, err);

	if (job != NULL)
		change_read_secret(rd, job->sec->password, &job->sec->password_len);
	return job;
}

enum bs_err
change_check(struct vault *v, struct job *job, const struct bs_rd *rd, enum bs_err err)
{
	if (!bs_rd_done(rd))
		err = BS_ERR_FORMAT;
	else if (err == BS_OK && !change_is_account_name(job->user))
		err = BS_ERR_ARG;
	if (err != BS_OK)
		job_drop(v, job);
	return err;
}

enum bs_err
change_go(struct vault *v, struct job *job, const struct bs_rd *rd, enum bs_err err, job_fn unlocked)
{
	err = change_check(v, job, rd, err);
	if (err == BS_OK)
		unlock_start(v, job, unlocked);
	return err;
}

void
change_prepare_slot(const struct vault *v, struct bs_slot *slot, enum bs_slot_kind kind, uint64_t generation)
{
	memset(slot, 0, sizeof(*slot));
	slot->kind = (uint8_t)kind;
	slot->generation = generation;
	slot->created = (uint64_t)time(NULL);
	if (kind == BS_SLOT_PASSWORD) {
		slot->memory_kib = (uint32_t)v->conf->kdf_memory_kib;
		slot->passes = (uint32_t)v->conf->kdf_passes;
	}
	bs_random(slot->id, BS_ID_LEN);
	bs_random(slot->salt, BS_SALT_LEN);
}

enum bs_err
change_append_slot(struct job *job, const struct bs_slot *slot)
{
	struct bs_keyset *ks = &job->ks;
	struct bs_slot *slots;

	if (ks->slot_count == BS_SLOTS_MAX)
		return BS_ERR_LIMIT;
	slots = realloc(ks->slots, (ks->slot_count + 1) * sizeof(*slots));
	if (slots == NULL)
		return BS_ERR_NOMEM;
	slots[ks->slot_count++] = *slot;
	ks->slots = slots;
	return BS_OK;
}

void
change_remove_slot(struct job *job, size_t i)
{
	struct bs_keyset *ks = &job->ks;

	memmove(&ks->slots[i], &ks->slots[i + 1], (ks->slot_count - i - 1) * sizeof(ks->slots[0]));
	ks->slot_count--;
	if (job->slot > i)
		job->slot--;
}

enum bs_err
change_append_escrow(struct vault *v, struct job *job, uint64_t generation)
{
	const struct escrow_key *key = escrow_find(v->escrow, job->user);
	struct bs_slot slot;
	enum bs_err err;

	if (key == NULL)
		return BS_OK;
	change_prepare_slot(v, &slot, BS_SLOT_ESCROW, generation);
	memcpy(slot.label, key->name, sizeof(slot.label));
	err = bs_keyset_make_slot_for(job->ks.record.account_id, &slot, key->public_key, job->sec->amk);
	return err == BS_OK ? change_append_slot(job, &slot) : err;
}

void
change_reply_with(struct vault *v, struct job *job, const char *what, enum bs_err err, const void *extra, size_t len)
{
	struct bs_wr wr = bs_wr_init(v->reply, BS_FRAME_MAX);

	if (err == BS_OK)
		bs_log(BS_LOG_INFO, "%s: %s, generation %llu", job->user, what, (unsigned long long)job->ks.record.generation);
	else
		bs_log(BS_LOG_WARNING, "%s: %s failed: %s", job->user, what, bs_err_text(err));
	bs_wr_u64(&wr, job->ks.record.generation);
	bs_wr_bytes(&wr, extra, len);
	job_finish(v, job, err, v->reply, wr.len);
	bs_wipe(v->reply, wr.len);
}

void
change_reply(struct vault *v, struct job *job, const char *what, enum bs_err err)
{
	change_reply_with(v, job, what, err, NULL, 0);
}

void
change_refuse(struct vault *v, struct job *job, const char *what, enum bs_err err)
{
	v->stats.denied += err == BS_ERR_DENIED;
	change_reply(v, job, what, err);
}

void
change_end_sessions(struct vault *v, const struct job *job)
{
	struct ring *ring = rings_find(v->rings, job->user);

	if (ring != NULL)
		conn_end_account(v, ring, BS_ENDED_KEYS);
}
