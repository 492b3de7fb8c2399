#include <stdlib.h>
#include <string.h>

#include "carrier.h"
#include "wire.h"

#define MAGIC "\x89" "BSC\r\n\x1a\n"
#define MAGIC_LEN 8
#define VERSION 1
#define CHUNK_FRAME 24 /* of a chunk, beside its stored bytes: docs/FORMAT.message.md */
#define DAMAGED_EXTRA (1ull << 30) /* by how much more than its bytes a damaged file is believed to have held */

struct bs_passing {
	struct bs_sha256 *hash;
	uint64_t file_len;
	uint64_t seen;
	uint8_t footer[BS_MSG_FOOTER_LEN];
};

bool
bs_carrier_begins(const void *data, size_t len)
{
	/* As with sealed files: what follows the first four bytes is there to be mangled. */
	return len >= 4 && memcmp(data, MAGIC, 4) == 0;
}

void
bs_carrier_write(const struct bs_carrier *head, uint8_t out[BS_CARRIER_LEN])
{
	struct bs_wr wr = bs_wr_init(out, BS_CARRIER_LEN);

	bs_wr_bytes(&wr, MAGIC, MAGIC_LEN);
	bs_wr_u8(&wr, VERSION);
	bs_wr_u8(&wr, (uint8_t)head->kind);
	bs_wr_u16(&wr, 0);
	bs_wr_u64(&wr, head->physical_len);
	bs_wr_u64(&wr, head->virtual_len);
	bs_wr_u64(&wr, head->file_len);
}

bool
bs_carrier_physical_possible(const struct bs_carrier *head)
{
	if (head->physical_len > (UINT64_MAX >> 16) || head->file_len > (UINT64_MAX >> 16))
		return false;
	/* A damaged file may have lost chunks. Whoever stores it has to count through as many bytes as are claimed. */
	if (head->kind == BS_CARRIER_DAMAGED)
		return head->physical_len <= head->file_len + DAMAGED_EXTRA;
	/* No chunk is stored in less than its frame. */
	return head->physical_len <= (head->file_len / CHUNK_FRAME) * BS_MSG_CHUNK_LEN;
}

bool
bs_carrier_virtual_possible(const struct bs_carrier *head)
{
	return head->virtual_len == UINT64_MAX ||
	    (head->virtual_len >= head->physical_len && head->virtual_len <= 2 * head->physical_len);
}

static bool
sizes_possible(const struct bs_carrier *head)
{
	if (head->kind == BS_CARRIER_LITERAL)
		return head->physical_len == 0 && head->virtual_len == 0 && head->file_len == 0;
	return bs_carrier_physical_possible(head) && bs_carrier_virtual_possible(head);
}

enum bs_err
bs_carrier_parse(const uint8_t in[BS_CARRIER_LEN], struct bs_carrier *out)
{
	struct bs_rd rd = bs_rd_init(in, BS_CARRIER_LEN);
	const uint8_t *magic = bs_rd_bytes(&rd, MAGIC_LEN);
	uint8_t version = bs_rd_u8(&rd), kind = bs_rd_u8(&rd);
	uint16_t zero = bs_rd_u16(&rd);
	struct bs_carrier head = { .kind = (enum bs_carrier_kind)kind };

	head.physical_len = bs_rd_u64(&rd);
	head.virtual_len = bs_rd_u64(&rd);
	head.file_len = bs_rd_u64(&rd);
	if (!bs_rd_done(&rd) || memcmp(magic, MAGIC, MAGIC_LEN) != 0)
		return BS_ERR_FORMAT;
	if (version != VERSION || zero != 0)
		return BS_ERR_VERSION;
	if (kind < BS_CARRIER_INTACT || kind > BS_CARRIER_LITERAL || !sizes_possible(&head))
		return BS_ERR_FORMAT;
	*out = head;
	return BS_OK;
}

/* --- the bytes as they pass --- */

struct bs_passing *
bs_passing_new(uint64_t file_len)
{
	struct bs_passing *pass = calloc(1, sizeof(*pass));

	if (pass == NULL)
		abort();
	pass->hash = bs_sha256_new();
	pass->file_len = file_len;
	return pass;
}

void
bs_passing_update(struct bs_passing *pass, const uint8_t *data, size_t len)
{
	uint64_t footer_at = pass->file_len < BS_MSG_FOOTER_LEN ? 0 : pass->file_len - BS_MSG_FOOTER_LEN;
	uint64_t hashed = pass->file_len < BS_HASH_LEN ? 0 : pass->file_len - BS_HASH_LEN;
	uint64_t end = pass->seen + len, at;

	if (pass->seen < hashed)
		bs_sha256_update(pass->hash, data, end <= hashed ? len : (size_t)(hashed - pass->seen));
	if (end > footer_at && pass->seen < pass->file_len) {
		at = pass->seen > footer_at ? pass->seen : footer_at;
		if (end > pass->file_len)
			end = pass->file_len;
		memcpy(pass->footer + (at - footer_at), data + (at - pass->seen), (size_t)(end - at));
	}
	pass->seen += len;
}

enum bs_err
bs_passing_end(struct bs_passing *pass)
{
	uint8_t told[BS_HASH_LEN], found[BS_HASH_LEN];
	uint64_t trailer_off;
	uint32_t trailer_len;
	enum bs_err err;

	if (pass->seen != pass->file_len)
		return BS_ERR_SHORT;
	if (pass->file_len < BS_MSG_FOOTER_LEN)
		return BS_ERR_FORMAT;
	err = bs_msg_footer_parse(pass->footer, pass->file_len, &trailer_off, &trailer_len, told);
	if (err != BS_OK)
		return err;
	bs_sha256_final(pass->hash, found);
	return memcmp(told, found, BS_HASH_LEN) == 0 ? BS_OK : BS_ERR_AUTH;
}

void
bs_passing_free(struct bs_passing *pass)
{
	if (pass == NULL)
		return;
	bs_sha256_free(pass->hash);
	free(pass);
}
