#include "keyset_priv.h"

#include <stdlib.h>
#include <string.h>

#include "utf8.h"
#include "wire.h"

#define MAGIC "BSK1"
#define MAGIC_LEN 4

/* --- slots --- */

size_t
bs_keyset_slot_head(const struct bs_slot *slot, uint8_t out[BS_SLOT_HEAD_MAX])
{
	struct bs_wr wr = bs_wr_init(out, BS_SLOT_HEAD_MAX);
	size_t label_len = strnlen(slot->label, BS_SLOT_LABEL_MAX);

	bs_wr_bytes(&wr, slot->id, BS_ID_LEN);
	bs_wr_u8(&wr, slot->kind);
	bs_wr_u8(&wr, BS_MSG_SUITE_X25519);
	bs_wr_u64(&wr, slot->generation);
	bs_wr_u32(&wr, slot->memory_kib);
	bs_wr_u32(&wr, slot->passes);
	bs_wr_bytes(&wr, slot->salt, BS_SALT_LEN);
	if (slot->version > 1) {
		bs_wr_u8(&wr, slot->flags);
		bs_wr_u64(&wr, slot->created);
		bs_wr_u8(&wr, (uint8_t)label_len);
		bs_wr_bytes(&wr, slot->label, label_len);
	}
	if (wr.failed)
		abort(); /* BS_SLOT_HEAD_MAX is wrong */
	return wr.len;
}

size_t
bs_keyset_slot_bytes(const struct bs_slot *slot, uint8_t out[BS_SLOT_LEN_MAX])
{
	size_t head_len = bs_keyset_slot_head(slot, out);
	struct bs_wr wr = bs_wr_init(out + head_len, BS_SLOT_LEN_MAX - head_len);

	bs_wr_bytes(&wr, slot->public_key, BS_KEY_LEN);
	bs_wr_bytes(&wr, slot->eph, BS_KEY_LEN);
	bs_wr_bytes(&wr, slot->sealed_amk, BS_SEALED_KEY_LEN);
	if (wr.failed)
		abort(); /* BS_SLOT_LEN_MAX is wrong */
	return head_len + wr.len;
}

enum bs_err
bs_keyset_slot_check(const struct bs_slot *slot, uint64_t keyset_generation)
{
	if (slot->generation == 0 || slot->generation > keyset_generation)
		return BS_ERR_FORMAT;
	/* An unknown flag may be one that forbids what this program would do. */
	if ((slot->flags & ~BS_SLOT_FLAGS_KNOWN) != 0)
		return BS_ERR_VERSION;
	if (slot->label[0] != '\0' && !bs_utf8_is_text(slot->label, strnlen(slot->label, sizeof(slot->label))))
		return BS_ERR_FORMAT;
	switch (slot->kind) {
	case BS_SLOT_PASSWORD:
		/* Before anybody gives them to Argon2id: the database could ask for all memory, or for none. */
		if (slot->memory_kib < BS_ARGON2_MEMORY_KIB_MIN || slot->memory_kib > BS_ARGON2_MEMORY_KIB_MAX ||
		    slot->passes < BS_ARGON2_PASSES_MIN || slot->passes > BS_ARGON2_PASSES_MAX)
			return BS_ERR_LIMIT;
		return BS_OK;
	case BS_SLOT_APP:
	case BS_SLOT_RECOVERY:
	case BS_SLOT_MEMBER:
	case BS_SLOT_ESCROW:
		return slot->memory_kib == 0 && slot->passes == 0 && slot->flags == 0 ? BS_OK : BS_ERR_FORMAT;
	default:
		return BS_ERR_VERSION;
	}
}

/* What version 2 has between salt and keys. */
static void
parse_extra(struct bs_rd *rd, struct bs_slot *slot)
{
	const uint8_t *label;
	size_t len;

	slot->flags = bs_rd_u8(rd);
	slot->created = bs_rd_u64(rd);
	len = bs_rd_u8(rd);
	label = len <= BS_SLOT_LABEL_MAX ? bs_rd_bytes(rd, len) : NULL;
	if (label == NULL || memchr(label, '\0', len) != NULL) {
		rd->failed = true;
		return;
	}
	memcpy(slot->label, label, len);
	slot->label[len] = '\0';
}

static enum bs_err
parse_slot(struct bs_rd *rd, uint8_t version, uint64_t keyset_generation, struct bs_slot *slot)
{
	size_t len;
	const uint8_t *bytes = bs_rd_str16(rd, &len);
	struct bs_rd in = bs_rd_init(bytes, len);
	uint8_t suite;

	bs_rd_copy(&in, slot->id, BS_ID_LEN);
	slot->kind = bs_rd_u8(&in);
	suite = bs_rd_u8(&in);
	if (in.failed)
		return BS_ERR_FORMAT;
	if (suite != BS_MSG_SUITE_X25519)
		return BS_ERR_VERSION;
	slot->version = version;
	slot->generation = bs_rd_u64(&in);
	slot->memory_kib = bs_rd_u32(&in);
	slot->passes = bs_rd_u32(&in);
	bs_rd_copy(&in, slot->salt, BS_SALT_LEN);
	if (version > 1)
		parse_extra(&in, slot);
	bs_rd_copy(&in, slot->public_key, BS_KEY_LEN);
	bs_rd_copy(&in, slot->eph, BS_KEY_LEN);
	bs_rd_copy(&in, slot->sealed_amk, BS_SEALED_KEY_LEN);
	if (!bs_rd_done(&in))
		return BS_ERR_FORMAT;
	return bs_keyset_slot_check(slot, keyset_generation);
}

/* --- the blob --- */

static enum bs_err
parse_record(struct bs_rd *rd, struct bs_keyset *ks)
{
	size_t len;
	const uint8_t *bytes = bs_rd_str16(rd, &len);

	if (bytes == NULL || len > sizeof(ks->record_bytes))
		return BS_ERR_FORMAT;
	memcpy(ks->record_bytes, bytes, len);
	ks->record_len = len;
	return bs_record_parse(bytes, len, &ks->record);
}

static enum bs_err
parse_slots(struct bs_rd *rd, struct bs_keyset *ks)
{
	size_t n = bs_rd_u16(rd);
	enum bs_err err = BS_OK;

	if (rd->failed || n == 0)
		return BS_ERR_FORMAT;
	if (n > BS_SLOTS_MAX)
		return BS_ERR_LIMIT;
	/* No memory for a count that the bytes at hand can't hold. */
	if (rd->left / (2 + BS_SLOT_LEN_MIN) < n)
		return BS_ERR_FORMAT;
	ks->slots = calloc(n, sizeof(*ks->slots));
	if (ks->slots == NULL)
		return BS_ERR_NOMEM;
	ks->slot_count = n;
	for (size_t i = 0; err == BS_OK && i < n; i++)
		err = parse_slot(rd, ks->version, ks->record.generation, &ks->slots[i]);
	return err;
}

static enum bs_err
parse_ring(struct bs_rd *rd, struct bs_keyset *ks)
{
	size_t len;
	const uint8_t *bytes = bs_rd_str32(rd, &len);

	if (bytes == NULL || len < BS_RING_OVERHEAD + BS_RING_PLAIN_LEN(1))
		return BS_ERR_FORMAT;
	if (len > BS_RING_OVERHEAD + BS_RING_PLAIN_LEN(BS_RING_MAX))
		return BS_ERR_LIMIT;
	ks->sealed_ring = malloc(len);
	if (ks->sealed_ring == NULL)
		return BS_ERR_NOMEM;
	memcpy(ks->sealed_ring, bytes, len);
	ks->sealed_ring_len = len;
	return BS_OK;
}

/* All but the kept section. */
static enum bs_err
parse_core(struct bs_rd *rd, struct bs_keyset *ks)
{
	const uint8_t *magic = bs_rd_bytes(rd, MAGIC_LEN);
	enum bs_err err;

	ks->version = bs_rd_u8(rd);
	if (rd->failed || memcmp(magic, MAGIC, MAGIC_LEN) != 0)
		return BS_ERR_FORMAT;
	if (ks->version == 0 || ks->version > BS_KEYSET_VERSION)
		return BS_ERR_VERSION;
	err = parse_record(rd, ks);
	if (err == BS_OK)
		err = parse_slots(rd, ks);
	if (err == BS_OK)
		err = parse_ring(rd, ks);
	if (err == BS_OK && ks->version > 1)
		bs_rd_copy(rd, ks->kept_digest, BS_HASH_LEN);
	bs_rd_copy(rd, ks->manifest, BS_HASH_LEN);
	return err == BS_OK && rd->failed ? BS_ERR_FORMAT : err;
}

/* What is behind the core. */
enum tail { TAIL_KEPT, TAIL_NONE, TAIL_ANY };

static enum bs_err
parse_tail(const struct bs_rd *rd, enum tail tail, struct bs_keyset *ks)
{
	if (tail == TAIL_KEPT && ks->version > 1)
		return bs_keyset_take_kept(ks, rd->p, rd->left);
	return tail == TAIL_ANY || bs_rd_done(rd) ? BS_OK : BS_ERR_FORMAT;
}

static enum bs_err
parse(const void *data, size_t len, enum tail tail, struct bs_keyset *out)
{
	struct bs_rd rd = bs_rd_init(data, len);
	struct bs_keyset ks = { .slots = NULL };
	enum bs_err err = len > BS_KEYSET_MAX ? BS_ERR_LIMIT : parse_core(&rd, &ks);

	if (err == BS_OK)
		err = parse_tail(&rd, tail, &ks);
	if (err != BS_OK) {
		bs_keyset_clear(&ks);
		return err;
	}
	*out = ks;
	return BS_OK;
}

enum bs_err
bs_keyset_parse(const void *data, size_t len, struct bs_keyset *out)
{
	return parse(data, len, TAIL_KEPT, out);
}

enum bs_err
bs_keyset_parse_without_kept(const void *data, size_t len, struct bs_keyset *out)
{
	return parse(data, len, TAIL_ANY, out);
}

enum bs_err
bs_keyset_parse_core(const void *data, size_t len, struct bs_keyset *out)
{
	return parse(data, len, TAIL_NONE, out);
}

enum bs_err
bs_keyset_core_bytes(const struct bs_keyset *ks, uint8_t *out, size_t out_size, size_t *out_len)
{
	struct bs_wr wr = bs_wr_init(out, out_size < BS_KEYSET_MAX ? out_size : BS_KEYSET_MAX);
	uint8_t slot[BS_SLOT_LEN_MAX];

	bs_wr_bytes(&wr, MAGIC, MAGIC_LEN);
	bs_wr_u8(&wr, ks->version);
	bs_wr_str16(&wr, ks->record_bytes, ks->record_len);
	bs_wr_u16(&wr, (uint16_t)ks->slot_count);
	for (size_t i = 0; i < ks->slot_count; i++)
		bs_wr_str16(&wr, slot, bs_keyset_slot_bytes(&ks->slots[i], slot));
	bs_wr_str32(&wr, ks->sealed_ring, ks->sealed_ring_len);
	if (ks->version > 1)
		bs_wr_bytes(&wr, ks->kept_digest, BS_HASH_LEN);
	bs_wr_bytes(&wr, ks->manifest, BS_HASH_LEN);
	if (wr.failed)
		return BS_ERR_LIMIT;
	*out_len = wr.len;
	return BS_OK;
}

enum bs_err
bs_keyset_bytes(const struct bs_keyset *ks, uint8_t *out, size_t out_size, size_t *out_len)
{
	size_t max = out_size < BS_KEYSET_MAX ? out_size : BS_KEYSET_MAX, len;
	enum bs_err err = bs_keyset_core_bytes(ks, out, max, &len);

	if (err != BS_OK)
		return err;
	if (ks->kept_len > max - len)
		return BS_ERR_LIMIT;
	if (ks->kept_len > 0)
		memcpy(out + len, ks->kept, ks->kept_len);
	*out_len = len + ks->kept_len;
	return BS_OK;
}

void
bs_keyset_clear(struct bs_keyset *ks)
{
	free(ks->slots);
	free(ks->sealed_ring);
	free(ks->kept);
	bs_wipe(ks, sizeof(*ks));
}

enum bs_err
bs_keyset_verify(const struct bs_keyset *ks, const uint8_t site_pub[BS_SIGN_PUB_LEN], const char *name)
{
	struct bs_record rec;

	return bs_record_open(ks->record_bytes, ks->record_len, site_pub, name, &rec);
}
