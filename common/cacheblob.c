#include "cacheblob.h"

#include "compress.h"
#include "wire.h"

#include <string.h>

#define SIZE_LIMIT (1ULL << 47)
#define DATE_LIMIT (1ULL << 33) /* the year 2242 */
#define ZONE_MAX (99 * 60 + 99) /* minutes: what a Date field can say */
#define NONCE_LEN 23 /* one more byte, the part's number, makes it a nonce of XChaCha20 */
#define LABEL "basalt cache v1"
#define LABEL_LEN (sizeof(LABEL) - 1)
#define AAD_LEN (LABEL_LEN + 2 + BS_ID_LEN + 16 + 4 + 4 + 8)
#define OUTSIDE_LEN (4 + NONCE_LEN) /* version, kind, parts, reserved, nonce */
#define ITEM_HEAD 4                 /* u8 number, u24 length */
#define ITEM_LEN_MAX 0xffffffu
#define HEADER_STORED 0
#define HEADER_LZO 1

static enum bs_cache_part
part_of(unsigned item)
{
	return item < BS_CACHE_HEADER_TEXT ? BS_CACHE_LIST : BS_CACHE_HEADER;
}

/* --- items --- */

static size_t
items_len(enum bs_cache_part part, const struct bs_cache_items *items)
{
	size_t len = 0;

	for (unsigned i = 1; i < BS_CACHE_ITEMS; i++) {
		if (items->item[i].p != NULL && part_of(i) == part)
			len += ITEM_HEAD + items->item[i].len;
	}
	return len;
}

static void
items_write(struct bs_wr *wr, enum bs_cache_part part, const struct bs_cache_items *items)
{
	for (unsigned i = 1; i < BS_CACHE_ITEMS; i++) {
		const struct bs_cache_bytes *item = &items->item[i];

		if (item->p == NULL || part_of(i) != part)
			continue;
		wr->failed |= item->len > ITEM_LEN_MAX;
		bs_wr_u8(wr, (uint8_t)i);
		bs_wr_u24(wr, (uint32_t)item->len);
		bs_wr_bytes(wr, item->p, item->len);
	}
}

/* The bytes of a literal, {N} CR LF and N bytes, that begins at p; 0 when there is none. */
static size_t
literal_len(const uint8_t *p, size_t len)
{
	size_t n = 0, i = 1;

	for (; i < len && i < 9 && p[i] >= '0' && p[i] <= '9'; i++)
		n = n * 10 + (size_t)(p[i] - '0');
	if (i == 1 || len - i < 3 || memcmp(p + i, "}\r\n", 3) != 0 || n > len - i - 3)
		return 0;
	return i + 3 + n;
}

/* The bytes of a quoted string; 0 when it does not end. */
static size_t
quoted_len(const uint8_t *p, size_t len)
{
	for (size_t i = 1; i < len; i++) {
		if (p[i] == '"')
			return i + 1;
		if (p[i] == '\\')
			i++;
		if (i < len && (p[i] == '\r' || p[i] == '\n'))
			return 0;
	}
	return 0;
}

/* Dovecot sends such a text between parentheses as it is: whoever made it, it must not get out of them. */
static bool
stays_inside(const uint8_t *p, size_t len)
{
	size_t depth = 0, n;

	for (size_t i = 0; i < len; i += n) {
		n = p[i] == '"' ? quoted_len(p + i, len - i) : p[i] == '{' ? literal_len(p + i, len - i) : 1;
		if (n == 0 || p[i] < ' ' || p[i] > '~' || (p[i] == ')' && depth == 0))
			return false;
		depth += p[i] == '(';
		depth -= p[i] == ')';
	}
	return len > 0 && depth == 0;
}

/* Letters, digits and what else stands in a maildir's base name or a hexadecimal GUID. */
static bool
is_guid(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] <= ' ' || p[i] > '~' || strchr("\"\\(){%*]", p[i]) != NULL)
			return false;
	}
	return len > 0;
}

/* What a reader of Dovecot's relies on. */
static bool
item_is_sound(unsigned number, const struct bs_cache_bytes *item)
{
	switch (number) {
	case BS_CACHE_NUMBERS:
		return item->len == BS_CACHE_NUMBERS_LEN;
	case BS_CACHE_ENVELOPE:
	case BS_CACHE_STRUCTURE:
		return memchr(item->p, '\0', item->len) == NULL && stays_inside(item->p, item->len);
	case BS_CACHE_GUID:
		return is_guid(item->p, item->len);
	case BS_CACHE_SNIPPET:
		return item->len > 0 && memchr(item->p, '\0', item->len) == NULL;
	case BS_CACHE_MESSAGE_ID:
		return item->len == BS_ID_LEN;
	case BS_CACHE_DIGEST:
		return item->len == BS_HASH_LEN;
	case BS_CACHE_DATA_KEY:
	case BS_CACHE_BLOB_KEY:
		return item->len == BS_KEY_LEN;
	default:
		return item->len > 0;
	}
}

enum bs_err
bs_cache_items_parse(enum bs_cache_part part, const uint8_t *plain, size_t len, struct bs_cache_items *items)
{
	struct bs_rd rd = bs_rd_init(plain, len);
	unsigned last = 0;

	while (rd.left > 0 && !rd.failed) {
		unsigned number = bs_rd_u8(&rd);
		struct bs_cache_bytes item = { .len = bs_rd_u24(&rd) };

		item.p = bs_rd_bytes(&rd, item.len);
		/* Numbers ascend: none comes twice. One that is not known is a later writer's. */
		if (rd.failed || number <= last)
			return BS_ERR_FORMAT;
		last = number;
		if (number >= BS_CACHE_ITEMS || (number > BS_CACHE_BLOB_KEY && number < BS_CACHE_HEADER_TEXT))
			continue;
		if (part_of(number) != part || !item_is_sound(number, &item))
			return BS_ERR_FORMAT;
		items->item[number] = item;
	}
	return rd.failed ? BS_ERR_FORMAT : BS_OK;
}

/* --- sealing and opening --- */

static void
write_aad(uint8_t aad[AAD_LEN], enum bs_cache_kind kind, enum bs_cache_part part, const struct bs_cache_place *place)
{
	struct bs_wr wr = bs_wr_init(aad, AAD_LEN);

	bs_wr_bytes(&wr, LABEL, LABEL_LEN);
	bs_wr_u8(&wr, (uint8_t)kind);
	bs_wr_u8(&wr, (uint8_t)part);
	bs_wr_bytes(&wr, place->account_id, BS_ID_LEN);
	bs_wr_bytes(&wr, place->mailbox_guid, 16);
	bs_wr_u32(&wr, place->uid_validity);
	bs_wr_u32(&wr, place->uid);
	bs_wr_u64(&wr, kind == BS_CACHE_ACCOUNT ? place->epoch : 0);
}

static void
part_nonce(const uint8_t base[NONCE_LEN], enum bs_cache_part part, uint8_t nonce[BS_XNONCE_LEN])
{
	memcpy(nonce, base, NONCE_LEN);
	nonce[NONCE_LEN] = (uint8_t)part;
}

size_t
bs_cache_sealed_len(const struct bs_msg_prefix *prefix, const struct bs_cache_items *items)
{
	size_t len = OUTSIDE_LEN + (prefix != NULL ? 2 + prefix->len : 0);

	for (unsigned i = 0; i < BS_CACHE_PARTS; i++) {
		size_t part = items_len((enum bs_cache_part)i, items);
		len += 3 + (part > 0 ? part + BS_TAG_LEN : 0);
	}
	return len;
}

/* In place: the items are written where their sealed bytes will stand. */
static enum bs_err
seal_part(struct bs_wr *wr, enum bs_cache_kind kind, enum bs_cache_part part, const uint8_t key[BS_KEY_LEN],
    const uint8_t base[NONCE_LEN], const struct bs_cache_place *place, const struct bs_cache_items *items)
{
	static const uint8_t tag_room[BS_TAG_LEN];
	uint8_t aad[AAD_LEN], nonce[BS_XNONCE_LEN];
	size_t at, len;

	at = wr->len;
	items_write(wr, part, items);
	len = wr->len - at;
	if (len == 0)
		return wr->failed ? BS_ERR_LIMIT : BS_OK;
	bs_wr_bytes(wr, tag_room, BS_TAG_LEN);
	if (wr->failed)
		return BS_ERR_LIMIT;
	write_aad(aad, kind, part, place);
	part_nonce(base, part, nonce);
	return bs_xchacha_seal(key, nonce, aad, sizeof(aad), wr->base + at, len, wr->base + at);
}

enum bs_err
bs_cache_seal(enum bs_cache_kind kind, const uint8_t key[BS_KEY_LEN], const struct bs_cache_place *place,
    const struct bs_msg_prefix *prefix, const struct bs_cache_items *items, uint8_t *out, size_t size, size_t *out_len)
{
	struct bs_wr wr = bs_wr_init(out, size);
	uint8_t base[NONCE_LEN];
	enum bs_err err = BS_OK;

	if ((kind == BS_CACHE_MESSAGE) != (prefix != NULL))
		return BS_ERR_ARG;
	bs_random(base, sizeof(base));
	bs_wr_u8(&wr, BS_CACHE_VERSION);
	bs_wr_u8(&wr, (uint8_t)kind);
	bs_wr_u16(&wr, 0);
	bs_wr_bytes(&wr, base, sizeof(base));
	if (prefix != NULL)
		bs_wr_str16(&wr, prefix->bytes, prefix->len);
	for (unsigned i = 0; i < BS_CACHE_PARTS; i++) {
		size_t len = items_len((enum bs_cache_part)i, items);
		wr.failed |= len > ITEM_LEN_MAX - BS_TAG_LEN;
		bs_wr_u24(&wr, len > 0 ? (uint32_t)(len + BS_TAG_LEN) : 0);
	}
	for (unsigned i = 0; i < BS_CACHE_PARTS && err == BS_OK; i++)
		err = seal_part(&wr, kind, (enum bs_cache_part)i, key, base, place, items);
	if (err == BS_OK && wr.failed)
		err = BS_ERR_LIMIT;
	if (err == BS_OK)
		*out_len = wr.len;
	else
		bs_wipe(out, wr.len);
	return err;
}

enum bs_err
bs_cache_parse(const void *data, size_t len, struct bs_cache_blob *out)
{
	struct bs_rd rd = bs_rd_init(data, len);
	struct bs_cache_blob blob = { .kind = BS_CACHE_ACCOUNT };
	size_t part_len[BS_CACHE_PARTS];
	uint8_t version = bs_rd_u8(&rd), kind = bs_rd_u8(&rd);
	uint16_t reserved = bs_rd_u16(&rd);

	if (rd.failed)
		return BS_ERR_FORMAT;
	if (version != BS_CACHE_VERSION || (kind != BS_CACHE_MESSAGE && kind != BS_CACHE_ACCOUNT) || reserved != 0)
		return BS_ERR_VERSION;
	blob.kind = (enum bs_cache_kind)kind;
	blob.nonce = bs_rd_bytes(&rd, NONCE_LEN);
	if (kind == BS_CACHE_MESSAGE)
		blob.prefix.p = bs_rd_str16(&rd, &blob.prefix.len);
	for (unsigned i = 0; i < BS_CACHE_PARTS; i++)
		part_len[i] = bs_rd_u24(&rd);
	for (unsigned i = 0; i < BS_CACHE_PARTS; i++) {
		if (part_len[i] == 0)
			continue;
		if (part_len[i] <= BS_TAG_LEN)
			return BS_ERR_FORMAT;
		blob.part[i].len = part_len[i];
		blob.part[i].p = bs_rd_bytes(&rd, part_len[i]);
	}
	if (!bs_rd_done(&rd))
		return BS_ERR_FORMAT;
	*out = blob;
	return BS_OK;
}

enum bs_err
bs_cache_open(const struct bs_cache_blob *blob, enum bs_cache_part part, const uint8_t key[BS_KEY_LEN],
    const struct bs_cache_place *place, uint8_t *plain, struct bs_cache_items *items)
{
	const struct bs_cache_bytes *sealed = &blob->part[part];
	uint8_t aad[AAD_LEN], nonce[BS_XNONCE_LEN];
	enum bs_err err;

	if (sealed->p == NULL)
		return BS_ERR_NOENT;
	write_aad(aad, blob->kind, part, place);
	part_nonce(blob->nonce, part, nonce);
	err = bs_xchacha_open(key, nonce, aad, sizeof(aad), sealed->p, sealed->len, plain);
	if (err == BS_OK)
		err = bs_cache_items_parse(part, plain, sealed->len - BS_TAG_LEN, items);
	if (err != BS_OK)
		bs_wipe(plain, sealed->len - BS_TAG_LEN);
	return err;
}

enum bs_err
bs_cache_message_key(const struct bs_msg_prefix *prefix, const uint8_t data_key[BS_KEY_LEN], uint8_t key[BS_KEY_LEN])
{
	uint8_t h[BS_HASH_LEN];

	bs_sha256(prefix->bytes, prefix->hashed_len, h);
	return bs_hkdf(data_key, BS_KEY_LEN, h, sizeof(h), LABEL, LABEL_LEN, key);
}

/* --- what is inside items --- */

void
bs_cache_numbers_write(const struct bs_cache_numbers *numbers, uint8_t out[BS_CACHE_NUMBERS_LEN])
{
	struct bs_wr wr = bs_wr_init(out, BS_CACHE_NUMBERS_LEN);

	bs_wr_u64(&wr, numbers->physical_len);
	bs_wr_u64(&wr, numbers->virtual_len);
	bs_wr_u64(&wr, numbers->received);
	bs_wr_u64(&wr, numbers->saved);
	bs_wr_u32(&wr, numbers->sent);
	bs_wr_u32(&wr, (uint32_t)numbers->sent_zone);
	bs_wr_u8(&wr, numbers->nuls);
}

static bool
number_is_sound(uint64_t n, uint64_t limit)
{
	return n < limit || n == BS_CACHE_UNKNOWN;
}

enum bs_err
bs_cache_numbers_read(const struct bs_cache_bytes *item, struct bs_cache_numbers *out)
{
	struct bs_rd rd = bs_rd_init(item->p, item->len);
	struct bs_cache_numbers n;

	n.physical_len = bs_rd_u64(&rd);
	n.virtual_len = bs_rd_u64(&rd);
	n.received = bs_rd_u64(&rd);
	n.saved = bs_rd_u64(&rd);
	n.sent = bs_rd_u32(&rd);
	n.sent_zone = (int32_t)bs_rd_u32(&rd);
	n.nuls = bs_rd_u8(&rd);
	if (!bs_rd_done(&rd) || n.nuls > BS_CACHE_NULS_SOME || !number_is_sound(n.physical_len, SIZE_LIMIT) ||
	    !number_is_sound(n.virtual_len, SIZE_LIMIT) || !number_is_sound(n.received, DATE_LIMIT) ||
	    !number_is_sound(n.saved, DATE_LIMIT) || n.sent_zone < -ZONE_MAX || n.sent_zone > ZONE_MAX)
		return BS_ERR_FORMAT;
	*out = n;
	return BS_OK;
}

size_t
bs_cache_header_pack(void *work, const uint8_t *text, size_t len, uint8_t *out, size_t size)
{
	struct bs_wr wr = bs_wr_init(out, size);
	size_t packed;

	if (len == 0 || len > BS_CACHE_HEADER_MAX || size < BS_CACHE_HEADER_BOUND(len))
		return 0;
	packed = bs_compress(work, text, len, out + 4, size - 4);
	if (packed > 0 && packed < len) {
		bs_wr_u8(&wr, HEADER_LZO);
		bs_wr_u24(&wr, (uint32_t)len);
		return 4 + packed;
	}
	bs_wr_u8(&wr, HEADER_STORED);
	bs_wr_u24(&wr, (uint32_t)len);
	bs_wr_bytes(&wr, text, len);
	return wr.len;
}

enum bs_err
bs_cache_header_len(const struct bs_cache_bytes *item, size_t *len)
{
	struct bs_rd rd = bs_rd_init(item->p, item->len);
	uint8_t how = bs_rd_u8(&rd);
	uint32_t plain = bs_rd_u24(&rd);

	if (rd.failed || how > HEADER_LZO || plain == 0 || plain > BS_CACHE_HEADER_MAX)
		return BS_ERR_FORMAT;
	if (how == HEADER_STORED ? rd.left != plain : rd.left >= plain)
		return BS_ERR_FORMAT;
	*len = plain;
	return BS_OK;
}

enum bs_err
bs_cache_header_unpack(const struct bs_cache_bytes *item, uint8_t *text, size_t len)
{
	size_t plain;
	enum bs_err err = bs_cache_header_len(item, &plain);

	if (err != BS_OK)
		return err;
	if (plain != len)
		return BS_ERR_ARG;
	if (item->p[0] == HEADER_LZO)
		return bs_decompress(item->p + 4, item->len - 4, text, len);
	memcpy(text, item->p + 4, len);
	return BS_OK;
}
