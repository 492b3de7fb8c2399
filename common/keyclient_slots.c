#include "keyclient_slots.h"

#include <stdlib.h>
#include <string.h>

#include "keyclient_priv.h"

/* --- what there is --- */

static void
read_slot(struct bs_rd *rd, struct bs_slot_info *slot)
{
	bs_rd_copy(rd, slot->id, BS_ID_LEN);
	slot->kind = bs_rd_u8(rd);
	slot->flags = bs_rd_u8(rd);
	slot->generation = bs_rd_u64(rd);
	slot->created = bs_rd_u64(rd);
	slot->used = bs_rd_u64(rd);
	slot->memory_kib = bs_rd_u32(rd);
	slot->passes = bs_rd_u32(rd);
	bs_rd_copy(rd, slot->public_key, BS_KEY_LEN);
	bs_rd_cstr16(rd, slot->label, sizeof(slot->label));
}

static enum bs_err
read_list(struct bs_rd *rd, struct bs_slot_list *list)
{
	size_t len;
	const uint8_t *record = bs_rd_str16(rd, &len);

	if (record == NULL || bs_record_parse(record, len, &list->record) != BS_OK)
		return BS_ERR_FORMAT;
	bs_rd_cstr16(rd, list->escrow, sizeof(list->escrow));
	bs_rd_copy(rd, list->escrow_key, BS_KEY_LEN);
	list->kept = bs_rd_u8(rd);
	list->count = bs_rd_u16(rd);
	if (rd->failed || list->count > BS_SLOTS_MAX)
		return BS_ERR_FORMAT;
	list->slots = calloc(list->count + 1, sizeof(*list->slots));
	if (list->slots == NULL)
		return BS_ERR_NOMEM;
	for (size_t i = 0; i < list->count; i++)
		read_slot(rd, &list->slots[i]);
	return BS_OK;
}

enum bs_err
bs_keyclient_slots(struct bs_keyclient *kc, const char *user, struct bs_slot_list *out)
{
	struct bs_slot_list list = { .count = 0 };
	struct bs_rd rd;
	enum bs_err err = bs_keyclient_call_user(kc, BS_OP_SLOTS, user, &rd), end;

	if (err != BS_OK)
		return err;
	err = read_list(&rd, &list);
	end = bs_keyclient_end_call(kc, &rd);
	if (err == BS_OK)
		err = end;
	if (err != BS_OK) {
		bs_slot_list_clear(&list);
		return err;
	}
	*out = list;
	return BS_OK;
}

void
bs_slot_list_clear(struct bs_slot_list *list)
{
	free(list->slots);
	memset(list, 0, sizeof(*list));
}

/* --- changes: all begin with a user and a secret, and answer a generation first --- */

struct change {
	uint8_t bytes[REQUEST_MAX];
	struct bs_wr wr;
	struct bs_rd rd;
};

static void
begin(struct change *c, const char *user, const char *secret)
{
	c->wr = bs_wr_init(c->bytes, sizeof(c->bytes));
	bs_keyclient_write_name(&c->wr, user);
	bs_keyclient_write_password(&c->wr, secret);
}

/* Sends; the reply is read up to its generation. */
static enum bs_err
send_change(struct bs_keyclient *kc, uint8_t op, struct change *c)
{
	enum bs_err err = bs_keyclient_call_written(kc, op, &c->wr, &c->rd);

	if (err == BS_OK)
		(void)bs_rd_u64(&c->rd);
	return err;
}

/* One number behind the generation. */
static enum bs_err
end_with_number(struct bs_keyclient *kc, struct change *c, enum bs_err err, uint8_t *out)
{
	uint8_t number;

	if (err != BS_OK)
		return err;
	number = bs_rd_u8(&c->rd);
	err = bs_keyclient_end_call(kc, &c->rd);
	if (err == BS_OK)
		*out = number;
	return err;
}

static enum bs_err
end_plain(struct bs_keyclient *kc, struct change *c, enum bs_err err)
{
	return err == BS_OK ? bs_keyclient_end_call(kc, &c->rd) : err;
}

enum bs_err
bs_keyclient_add_slot(struct bs_keyclient *kc, const char *user, const char *secret, enum bs_slot_kind kind,
    const char *label, const char *member, uint8_t id[BS_ID_LEN], char *code)
{
	struct change c;
	uint8_t made[BS_ID_LEN];
	char text[BS_CODE_TEXT_SIZE];
	enum bs_err err;

	begin(&c, user, secret);
	bs_wr_u8(&c.wr, (uint8_t)kind);
	bs_keyclient_write_name(&c.wr, label);
	bs_keyclient_write_name(&c.wr, member);
	err = send_change(kc, BS_OP_ADD_SLOT, &c);
	if (err != BS_OK)
		return err;
	bs_rd_copy(&c.rd, made, BS_ID_LEN);
	bs_rd_cstr16(&c.rd, text, sizeof(text));
	err = bs_keyclient_end_call(kc, &c.rd);
	if (err == BS_OK) {
		memcpy(id, made, BS_ID_LEN);
		memcpy(code, text, sizeof(text));
	}
	bs_wipe(text, sizeof(text));
	return err;
}

enum bs_err
bs_keyclient_remove_slot(struct bs_keyclient *kc, const char *user, const char *secret, const uint8_t id[BS_ID_LEN],
    bool *rotated)
{
	struct change c;
	uint8_t number = 0;
	enum bs_err err;

	begin(&c, user, secret);
	bs_wr_bytes(&c.wr, id, BS_ID_LEN);
	err = end_with_number(kc, &c, send_change(kc, BS_OP_REMOVE_SLOT, &c), &number);
	if (err == BS_OK)
		*rotated = number != 0;
	return err;
}

enum bs_err
bs_keyclient_rotate(struct bs_keyclient *kc, const char *user, const char *secret, uint8_t flags)
{
	struct change c;

	begin(&c, user, secret);
	bs_wr_u8(&c.wr, flags);
	return end_plain(kc, &c, send_change(kc, BS_OP_ROTATE, &c));
}

enum bs_err
bs_keyclient_change_password(struct bs_keyclient *kc, const char *user, const char *secret, const char *new_password,
    uint8_t flags, bool *rotated)
{
	struct change c;
	uint8_t number = 0;
	enum bs_err err;

	begin(&c, user, secret);
	bs_keyclient_write_password(&c.wr, new_password);
	bs_wr_u8(&c.wr, flags);
	err = end_with_number(kc, &c, send_change(kc, BS_OP_CHANGE_PASSWORD, &c), &number);
	if (err == BS_OK)
		*rotated = number != 0;
	return err;
}

enum bs_err
bs_keyclient_reset(struct bs_keyclient *kc, const char *user, const char *new_password)
{
	struct change c;

	begin(&c, user, new_password);
	return end_plain(kc, &c, send_change(kc, BS_OP_RESET, &c));
}

enum bs_err
bs_keyclient_heal(struct bs_keyclient *kc, const char *user, const char *secret, const char *earlier, unsigned *left)
{
	struct change c;
	uint8_t number = 0;
	enum bs_err err;

	begin(&c, user, secret);
	bs_keyclient_write_password(&c.wr, earlier);
	err = end_with_number(kc, &c, send_change(kc, BS_OP_HEAL, &c), &number);
	if (err == BS_OK)
		*left = number;
	return err;
}

enum bs_err
bs_keyclient_restore(struct bs_keyclient *kc, const char *user, const char *secret, uint64_t above, uint8_t flags,
    const void *keyset, size_t len, struct bs_restored *out)
{
	size_t size = REQUEST_MAX + len;
	uint8_t *bytes = malloc(size);
	struct bs_restored restored;
	struct change c;
	enum bs_err err;

	if (bytes == NULL)
		return BS_ERR_NOMEM;
	c.wr = bs_wr_init(bytes, size);
	bs_keyclient_write_name(&c.wr, user);
	bs_keyclient_write_password(&c.wr, secret);
	bs_wr_u64(&c.wr, above);
	bs_wr_u8(&c.wr, flags);
	bs_wr_str32(&c.wr, keyset, len);
	err = bs_keyclient_call_written(kc, BS_OP_RESTORE_KEYSET, &c.wr, &c.rd);
	free(bytes); /* wiped by the call */
	if (err != BS_OK)
		return err;
	restored.generation = bs_rd_u64(&c.rd);
	restored.lost = bs_rd_u64(&c.rd);
	err = bs_keyclient_end_call(kc, &c.rd);
	if (err == BS_OK)
		*out = restored;
	return err;
}

enum bs_err
bs_keyclient_keyset_digest(struct bs_keyclient *kc, const char *user, uint64_t *generation, uint8_t digest[BS_HASH_LEN])
{
	struct bs_rd rd;
	uint8_t got[BS_HASH_LEN] = { 0 };
	uint64_t number;
	enum bs_err err = bs_keyclient_call_user(kc, BS_OP_KEYSET_DIGEST, user, &rd);

	if (err != BS_OK)
		return err;
	number = bs_rd_u64(&rd);
	bs_rd_copy(&rd, got, BS_HASH_LEN);
	err = bs_keyclient_end_call(kc, &rd);
	if (err == BS_OK) {
		*generation = number;
		memcpy(digest, got, BS_HASH_LEN);
	}
	return err;
}

enum bs_err
bs_keyclient_drop_key(struct bs_keyclient *kc, const char *user, const char *secret, const uint8_t key_id[BS_ID_LEN])
{
	struct change c;

	begin(&c, user, secret);
	bs_wr_bytes(&c.wr, key_id, BS_ID_LEN);
	return end_plain(kc, &c, send_change(kc, BS_OP_DROP_KEY, &c));
}

enum bs_err
bs_keyclient_keys(struct bs_keyclient *kc, const char *user, const char *secret, struct bs_key_info *out, size_t *count)
{
	struct bs_key_info keys[BS_RING_MAX];
	struct change c;
	enum bs_err err, end;
	size_t n;

	begin(&c, user, secret);
	err = send_change(kc, BS_OP_KEYS, &c);
	if (err != BS_OK)
		return err;
	n = bs_rd_u16(&c.rd);
	err = n <= BS_RING_MAX ? BS_OK : BS_ERR_FORMAT;
	for (size_t i = 0; err == BS_OK && i < n; i++) {
		bs_rd_copy(&c.rd, keys[i].id, BS_ID_LEN);
		keys[i].created = bs_rd_u64(&c.rd);
		keys[i].active = bs_rd_u8(&c.rd) != 0;
	}
	end = bs_keyclient_end_call(kc, &c.rd);
	if (err == BS_OK)
		err = end;
	if (err == BS_OK) {
		memcpy(out, keys, n * sizeof(keys[0]));
		*count = n;
	}
	return err;
}
