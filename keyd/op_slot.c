/* Operations of the socket control on single slots and keys: SLOTS, ADD_SLOT, REMOVE_SLOT, KEYS, DROP_KEY. */
#include <string.h>

#include "change.h"
#include "escrow.h"
#include "lastuse.h"
#include "utf8.h"

/* --- SLOTS --- */

static void
write_slot(const struct vault *v, struct bs_wr *wr, const struct bs_slot *slot)
{
	bs_wr_bytes(wr, slot->id, BS_ID_LEN);
	bs_wr_u8(wr, slot->kind);
	bs_wr_u8(wr, slot->flags);
	bs_wr_u64(wr, slot->generation);
	bs_wr_u64(wr, slot->created);
	bs_wr_u64(wr, lastuse_get(v->uses, slot->id));
	bs_wr_u32(wr, slot->memory_kib);
	bs_wr_u32(wr, slot->passes);
	bs_wr_bytes(wr, slot->public_key, BS_KEY_LEN);
	bs_wr_str16(wr, slot->label, strlen(slot->label));
}

static void
on_slots_row(struct vault *v, struct job *job, enum bs_err err)
{
	static const struct escrow_key none;
	const struct escrow_key *escrow = escrow_find(v->escrow, job->user);
	struct bs_wr wr = bs_wr_init(v->reply, BS_FRAME_MAX - BS_FRAME_HEADER_LEN);

	err = unlock_read(v, job, err);
	if (err == BS_OK) {
		escrow = escrow == NULL ? &none : escrow;
		bs_wr_str16(&wr, job->ks.record_bytes, job->ks.record_len);
		bs_wr_str16(&wr, escrow->name, strlen(escrow->name));
		bs_wr_bytes(&wr, escrow->public_key, BS_KEY_LEN);
		bs_wr_u8(&wr, (uint8_t)bs_keyset_kept_count(&job->ks));
		bs_wr_u16(&wr, (uint16_t)job->ks.slot_count);
		for (size_t i = 0; i < job->ks.slot_count; i++)
			write_slot(v, &wr, &job->ks.slots[i]);
	}
	job_finish(v, job, err == BS_OK && wr.failed ? BS_ERR_LIMIT : err, v->reply, wr.len);
}

enum bs_err
op_slots(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	return job_store_user(v, conn, frame, LINK_GET, on_slots_row);
}

/* --- ADD_SLOT --- */

static void
on_added(struct vault *v, struct job *job, enum bs_err err)
{
	uint8_t extra[BS_ID_LEN + 2 + BS_CODE_TEXT_SIZE];
	struct bs_wr wr = bs_wr_init(extra, sizeof(extra));

	if (err == BS_OK) /* the password was given, but what it opens has a new generation */
		newgen_refresh_ring(v, job, 0, NULL, 0);
	bs_wr_bytes(&wr, job->new_slot.id, BS_ID_LEN);
	bs_wr_str16(&wr, job->sec->new_password, job->sec->new_password_len);
	change_reply_with(v, job, "slot added", err, extra, wr.len);
	bs_wipe(extra, sizeof(extra));
}

/* A secret of our own making, which goes out once, in the reply. */
static enum bs_err
make_code_slot(struct job *job)
{
	struct bs_slot *slot = &job->new_slot;
	char text[BS_CODE_TEXT_SIZE];
	uint8_t seed[BS_KEY_LEN];
	struct bs_code code;
	enum bs_err err;

	bs_code_make((enum bs_code_kind)slot->kind, slot->id, text, &code);
	err = bs_slot_seed(slot, code.secret, code.secret_len, seed);
	if (err == BS_OK)
		err = bs_keyset_make_slot(job->ks.record.account_id, slot, seed, job->sec->amk);
	job->sec->new_password_len = strlen(text);
	memcpy(job->sec->new_password, text, strlen(text));
	bs_wipe(seed, sizeof(seed));
	bs_wipe(text, sizeof(text));
	bs_wipe(&code, sizeof(code));
	return err;
}

static bool
has_slot_for(const struct job *job, enum bs_slot_kind kind, const uint8_t public_key[BS_KEY_LEN])
{
	for (size_t i = 0; i < job->ks.slot_count; i++) {
		const struct bs_slot *slot = &job->ks.slots[i];

		if (slot->kind == kind && memcmp(slot->public_key, public_key, BS_KEY_LEN) == 0)
			return true;
	}
	return false;
}

static enum bs_err
make_escrow_slot(struct vault *v, struct job *job, uint64_t generation)
{
	const struct escrow_key *key = escrow_find(v->escrow, job->user);
	enum bs_err err;

	if (key == NULL)
		return BS_ERR_NOENT;
	if (has_slot_for(job, BS_SLOT_ESCROW, key->public_key))
		return BS_ERR_EXISTS;
	err = change_append_escrow(v, job, generation);
	if (err == BS_OK)
		job->new_slot = job->ks.slots[job->ks.slot_count - 1];
	return err;
}

/* public_key, salt and label of the new slot are the member's, from on_member_row(). */
static enum bs_err
make_member_slot(struct job *job)
{
	struct bs_slot *slot = &job->new_slot;

	if (has_slot_for(job, BS_SLOT_MEMBER, slot->public_key))
		return BS_ERR_EXISTS;
	return bs_keyset_make_slot_for(job->ks.record.account_id, slot, slot->public_key, job->sec->amk);
}

static enum bs_err
make_slot(struct vault *v, struct job *job)
{
	uint64_t generation = job->ks.record.generation + 1;
	enum bs_err err;

	job->new_slot.generation = generation;
	if (job->new_slot.kind == BS_SLOT_ESCROW)
		return make_escrow_slot(v, job, generation);
	err = job->new_slot.kind == BS_SLOT_MEMBER ? make_member_slot(job) : make_code_slot(job);
	return err == BS_OK ? change_append_slot(job, &job->new_slot) : err;
}

static void
on_add_unlocked(struct vault *v, struct job *job, enum bs_err err)
{
	struct newgen gen;

	if (err != BS_OK) {
		change_refuse(v, job, "slot added", err);
		return;
	}
	err = make_slot(v, job);
	if (err != BS_OK) {
		change_reply(v, job, "slot added", err);
		return;
	}
	gen = newgen_next(job);
	newgen_write(v, job, &gen, on_added);
}

/* The member's signed record says what to seal to. */
static void
on_member_row(struct vault *v, struct job *job, enum bs_err err)
{
	const struct bs_record *rec = &job->ks.record;

	err = unlock_read(v, job, err);
	memcpy(job->user, job->shared, sizeof(job->user));
	if (err != BS_OK) {
		change_reply(v, job, "slot for a member", err);
		return;
	}
	memcpy(job->new_slot.public_key, rec->public_key, BS_KEY_LEN);
	memcpy(job->new_slot.salt, rec->account_id, BS_SALT_LEN);
	memcpy(job->new_slot.label, rec->name, BS_SLOT_LABEL_MAX); /* a long address is cut: the account's id counts */
	unlock_start(v, job, on_add_unlocked);
}

static bool
label_is_good(const char *label, size_t len)
{
	return len == 0 || (len <= BS_SLOT_LABEL_MAX && bs_utf8_is_name(label, len));
}

/* Kind, label and member, in job->new_slot and job->shared. */
static enum bs_err
read_new_slot(struct vault *v, struct job *job, struct bs_rd *rd)
{
	uint8_t kind = bs_rd_u8(rd);
	size_t len;
	const char *label = (const char *)bs_rd_str16(rd, &len);

	bs_rd_cstr16(rd, job->shared, sizeof(job->shared));
	if (rd->failed)
		return BS_ERR_FORMAT;
	if (kind < BS_SLOT_APP || kind > BS_SLOT_ESCROW || !label_is_good(label, len))
		return BS_ERR_ARG;
	if (kind == BS_SLOT_MEMBER ? !change_is_account_name(job->shared) || strcmp(job->shared, job->user) == 0
	                           : job->shared[0] != '\0')
		return BS_ERR_ARG;
	change_prepare_slot(v, &job->new_slot, (enum bs_slot_kind)kind, 1);
	memcpy(job->new_slot.label, label, len);
	return BS_OK;
}

enum bs_err
op_add_slot(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	char member[BS_ACCOUNT_NAME_MAX + 1];
	struct bs_rd rd;
	enum bs_err err;
	struct job *job = change_start(v, conn, frame, &rd, &err);

	if (job == NULL)
		return err;
	err = read_new_slot(v, job, &rd);
	if (err != BS_OK || job->new_slot.kind != BS_SLOT_MEMBER)
		return change_go(v, job, &rd, err, on_add_unlocked);
	err = change_check(v, job, &rd, BS_OK);
	if (err != BS_OK)
		return err;
	memcpy(member, job->shared, sizeof(member));
	memcpy(job->shared, job->user, sizeof(job->shared));
	memcpy(job->user, member, sizeof(job->user));
	job_store(v, job, LINK_GET, 0, on_member_row);
	return BS_OK;
}

/* --- REMOVE_SLOT --- */

static void
on_slot_removed(struct vault *v, struct job *job, enum bs_err err)
{
	uint8_t rotated = job->rotated;

	if (err == BS_OK)
		change_end_sessions(v, job); /* one of them may have been opened by what is gone */
	change_reply_with(v, job, "slot removed", err, &rotated, 1);
}

/* The slot that job->target_id names; one that may go. */
static enum bs_err
find_target(const struct job *job, size_t *out)
{
	size_t i = 0, passwords = 0;

	for (size_t k = 0; k < job->ks.slot_count; k++)
		passwords += job->ks.slots[k].kind == BS_SLOT_PASSWORD;
	while (i < job->ks.slot_count && memcmp(job->ks.slots[i].id, job->target_id, BS_ID_LEN) != 0)
		i++;
	if (i == job->ks.slot_count)
		return BS_ERR_NOENT;
	/* The secret at hand must open what comes of it, and somebody must be able to log in. */
	if (i == job->slot || (job->ks.slots[i].kind == BS_SLOT_PASSWORD && passwords == 1))
		return BS_ERR_ARG;
	*out = i;
	return BS_OK;
}

static void
on_remove_unlocked(struct vault *v, struct job *job, enum bs_err err)
{
	struct newgen gen;
	size_t i = 0;

	if (err != BS_OK) {
		change_refuse(v, job, "slot removed", err);
		return;
	}
	err = find_target(job, &i);
	if (err == BS_OK) {
		change_remove_slot(job, i);
		gen = newgen_next(job);
		err = newgen_renew(job, &gen);
	}
	if (err != BS_OK)
		change_reply(v, job, "slot removed", err);
	else
		newgen_write(v, job, &gen, on_slot_removed);
}

/* --- KEYS --- */

static void
on_keys_unlocked(struct vault *v, struct job *job, enum bs_err err)
{
	uint8_t list[2 + BS_RING_MAX * (BS_ID_LEN + 8 + 1)];
	struct bs_wr wr = bs_wr_init(list, sizeof(list));

	if (err != BS_OK) {
		change_refuse(v, job, "list of keys", err);
		return;
	}
	bs_wr_u16(&wr, (uint16_t)job->sec->key_count);
	for (size_t i = 0; i < job->sec->key_count; i++) {
		const struct bs_ring_key *key = &job->sec->keys[i];

		bs_wr_bytes(&wr, key->key_id, BS_ID_LEN);
		bs_wr_u64(&wr, key->created);
		bs_wr_u8(&wr, key->active);
	}
	change_reply_with(v, job, "keys listed", BS_OK, list, wr.len);
}

enum bs_err
op_keys(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd;
	enum bs_err err;
	struct job *job = change_start(v, conn, frame, &rd, &err);

	return job == NULL ? err : change_go(v, job, &rd, BS_OK, on_keys_unlocked);
}

/* --- DROP_KEY --- */

static void
on_key_dropped(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_OK)
		newgen_refresh_ring(v, job, 0, NULL, 0);
	change_reply(v, job, "old key dropped", err);
}

static enum bs_err
drop_key(struct job *job)
{
	struct job_secret *sec = job->sec;
	size_t i = 0;

	while (i < sec->key_count && memcmp(sec->keys[i].key_id, job->target_id, BS_ID_LEN) != 0)
		i++;
	if (i == sec->key_count)
		return BS_ERR_NOENT;
	if (sec->keys[i].active)
		return BS_ERR_ARG;
	memmove(&sec->keys[i], &sec->keys[i + 1], (sec->key_count - i - 1) * sizeof(sec->keys[0]));
	bs_wipe(&sec->keys[--sec->key_count], sizeof(sec->keys[0]));
	return BS_OK;
}

static void
on_drop_unlocked(struct vault *v, struct job *job, enum bs_err err)
{
	struct newgen gen;

	if (err != BS_OK) {
		change_refuse(v, job, "old key dropped", err);
		return;
	}
	err = drop_key(job);
	if (err != BS_OK) {
		change_reply(v, job, "old key dropped", err);
		return;
	}
	gen = newgen_next(job);
	newgen_write(v, job, &gen, on_key_dropped);
}

/* Both name what goes by 16 bytes. */
static enum bs_err
start_removal(struct vault *v, struct conn *conn, const struct bs_frame *frame, job_fn unlocked)
{
	struct bs_rd rd;
	enum bs_err err;
	struct job *job = change_start(v, conn, frame, &rd, &err);

	if (job == NULL)
		return err;
	bs_rd_copy(&rd, job->target_id, BS_ID_LEN);
	return change_go(v, job, &rd, BS_OK, unlocked);
}

enum bs_err
op_remove_slot(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	return start_removal(v, conn, frame, on_remove_unlocked);
}

enum bs_err
op_drop_key(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	return start_removal(v, conn, frame, on_drop_unlocked);
}
