/* Earlier keysets beside a newer one: u8 n, then n times str32 of a keyset without such a section, the newest first. */
#include "keyset_priv.h"

#include <stdlib.h>
#include <string.h>

#include "wire.h"

/* The bytes of the i-th. */
static const uint8_t *
find(const uint8_t *kept, size_t kept_len, size_t i, size_t *len)
{
	struct bs_rd rd = bs_rd_init(kept, kept_len);
	size_t n = bs_rd_u8(&rd);
	const uint8_t *bytes = NULL;

	*len = 0;
	for (size_t k = 0; i < n && k <= i; k++)
		bytes = bs_rd_str32(&rd, len);
	return bytes;
}

/* All are keysets, of whoever. */
static enum bs_err
check_form(const uint8_t *data, size_t len)
{
	struct bs_rd rd = bs_rd_init(data, len);
	size_t n = bs_rd_u8(&rd);
	struct bs_keyset ks;

	if (n > BS_KEPT_MAX)
		return BS_ERR_LIMIT;
	for (size_t i = 0; i < n; i++) {
		size_t core_len;
		const uint8_t *core = bs_rd_str32(&rd, &core_len);
		enum bs_err err = core == NULL ? BS_ERR_FORMAT : bs_keyset_parse_core(core, core_len, &ks);

		if (err != BS_OK)
			return err;
		bs_keyset_clear(&ks);
	}
	return bs_rd_done(&rd) ? BS_OK : BS_ERR_FORMAT;
}

enum bs_err
bs_keyset_take_kept(struct bs_keyset *ks, const void *data, size_t len)
{
	uint8_t digest[BS_HASH_LEN];
	enum bs_err err = check_form(data, len);

	if (err != BS_OK)
		return err;
	bs_sha256(data, len, digest);
	if (memcmp(digest, ks->kept_digest, BS_HASH_LEN) != 0)
		return BS_ERR_AUTH;
	ks->kept = malloc(len);
	if (ks->kept == NULL)
		return BS_ERR_NOMEM;
	memcpy(ks->kept, data, len);
	ks->kept_len = len;
	return BS_OK;
}

size_t
bs_keyset_kept_count(const struct bs_keyset *ks)
{
	return ks->kept_len == 0 ? 0 : ks->kept[0];
}

enum bs_err
bs_keyset_kept(const struct bs_keyset *ks, size_t i, struct bs_keyset *out)
{
	size_t len;
	const uint8_t *core = find(ks->kept, ks->kept_len, i, &len);

	return core == NULL ? BS_ERR_NOENT : bs_keyset_parse_core(core, len, out);
}

static size_t
ring_key_count(const struct bs_keyset *ks)
{
	size_t empty = BS_RING_OVERHEAD + BS_RING_PLAIN_LEN(0);

	return ks->sealed_ring_len < empty ? 0 : (ks->sealed_ring_len - empty) / BS_RING_KEY_LEN;
}

size_t
bs_keyset_key_count(const struct bs_keyset *ks)
{
	size_t count = ring_key_count(ks);
	struct bs_keyset one;

	for (size_t i = 0; bs_keyset_kept(ks, i, &one) == BS_OK; i++) {
		count += ring_key_count(&one);
		bs_keyset_clear(&one);
	}
	return count;
}

/* Writes the section: first (may be NULL), then what ks keeps but the one of number but. */
static enum bs_err
write_section(const struct bs_keyset *ks, const uint8_t *first, size_t first_len, size_t but, uint8_t **out,
    size_t *out_len)
{
	size_t old = bs_keyset_kept_count(ks), n = old + (first != NULL) - (but < old), size = 1 + 4 + first_len + ks->kept_len;
	uint8_t *section = malloc(size);
	struct bs_wr wr = bs_wr_init(section, section == NULL ? 0 : size);

	if (section == NULL)
		return BS_ERR_NOMEM;
	bs_wr_u8(&wr, (uint8_t)n);
	if (first != NULL)
		bs_wr_str32(&wr, first, first_len);
	for (size_t i = 0; i < old; i++) {
		size_t len;
		const uint8_t *core = find(ks->kept, ks->kept_len, i, &len);

		if (i != but)
			bs_wr_str32(&wr, core, len);
	}
	if (wr.failed || n > BS_KEPT_MAX) {
		free(section);
		return BS_ERR_LIMIT;
	}
	*out = section;
	*out_len = wr.len;
	return BS_OK;
}

bool
bs_keyset_kept_has(const struct bs_keyset *ks, const uint8_t key_id[BS_ID_LEN])
{
	struct bs_keyset kept;
	bool found = false;

	for (size_t i = 0; !found && bs_keyset_kept(ks, i, &kept) == BS_OK; i++) {
		found = memcmp(kept.record.key_id, key_id, BS_ID_LEN) == 0;
		bs_keyset_clear(&kept);
	}
	return found;
}

/* Does the section have these very bytes? */
static bool
has_core(const uint8_t *kept, size_t kept_len, const uint8_t *core, size_t core_len)
{
	size_t len;
	const uint8_t *other;

	for (size_t i = 0; (other = find(kept, kept_len, i, &len)) != NULL; i++)
		if (len == core_len && memcmp(other, core, len) == 0)
			return true;
	return false;
}

bool
bs_keyset_kept_holds(const struct bs_keyset *ks, const struct bs_keyset *other)
{
	uint8_t *core = malloc(BS_KEYSET_MAX);
	size_t len = 0;
	bool found = core != NULL && bs_keyset_core_bytes(other, core, BS_KEYSET_MAX, &len) == BS_OK && has_core(ks->kept, ks->kept_len, core, len);
	struct bs_keyset kept;

	free(core);
	for (size_t i = 0; !found && bs_keyset_kept(ks, i, &kept) == BS_OK; i++) {
		found = memcmp(kept.record.key_id, other->record.key_id, BS_ID_LEN) == 0 && kept.record.generation != other->record.generation;
		bs_keyset_clear(&kept);
	}
	return found;
}

enum bs_err
bs_keyset_kept_add(const struct bs_keyset *ks, const struct bs_keyset *other, uint8_t **out, size_t *out_len)
{
	struct bs_keyset so_far = { .kept = ks->kept, .kept_len = ks->kept_len };
	uint8_t *section = NULL, *core = malloc(BS_KEYSET_MAX);
	size_t len = 0, n = bs_keyset_kept_count(other);
	enum bs_err err = core == NULL ? BS_ERR_NOMEM : BS_OK;

	/* From the oldest on, each to the front. */
	for (size_t i = n + 1; i-- > 0 && err == BS_OK;) {
		const uint8_t *first = i == 0 ? core : find(other->kept, other->kept_len, i - 1, &len);
		uint8_t *longer = NULL;

		if (i == 0)
			err = bs_keyset_core_bytes(other, core, BS_KEYSET_MAX, &len);
		if (err != BS_OK || has_core(so_far.kept, so_far.kept_len, first, len))
			continue;
		err = write_section(&so_far, first, len, SIZE_MAX, &longer, &so_far.kept_len);
		if (err != BS_OK)
			continue;
		free(section);
		so_far.kept = section = longer;
	}
	free(core);
	if (err == BS_OK && section == NULL) /* it keeps all of it already */
		err = write_section(ks, NULL, 0, SIZE_MAX, &section, &so_far.kept_len);
	if (err == BS_OK) {
		*out = section;
		*out_len = so_far.kept_len;
	} else {
		free(section);
	}
	return err;
}

enum bs_err
bs_keyset_keep(const struct bs_keyset *ks, uint8_t **out, size_t *out_len)
{
	uint8_t *core = malloc(BS_KEYSET_MAX);
	size_t core_len = 0;
	enum bs_err err = core == NULL ? BS_ERR_NOMEM : bs_keyset_core_bytes(ks, core, BS_KEYSET_MAX, &core_len);

	if (err == BS_OK)
		err = write_section(ks, core, core_len, SIZE_MAX, out, out_len);
	free(core);
	return err;
}

enum bs_err
bs_keyset_kept_drop(const struct bs_keyset *ks, size_t i, uint8_t **out, size_t *out_len)
{
	return write_section(ks, NULL, 0, i, out, out_len);
}
