#include "compat.h"

#include <istream.h>

#include "home.h"
#include "packer.h"
#include "room.h"
#include "sealed.h"
#include "session.h"
#include "stored.h"
#include "wire.h"

#define KEPT_LARGE 2 /* decoded chunks kept of a large mail */
/* A file up to this size is read at once when its body is wanted; a larger one in two or three pieces, or by chunks. */
#define AT_ONCE_MAX BASALT_ROOM_LEN
#define FRAME_SLACK 4096

struct kept {
	uint8_t *plain; /* NULL: nothing here; else room for a full chunk */
	uint32_t index;
	uint64_t used; /* 0: what is in it is nothing */
};

struct basalt_sealed {
	int refcount;
	struct basalt_user *bu;
	struct basalt_stored stored;
	struct bs_msg_prefix prefix; /* leads into stored's first window */
	struct bs_msg_reader *reader; /* NULL until opened */
	/* A small mail: all of its plaintext in one piece, decoded from the start on. */
	uint8_t *plain;
	uint32_t decoded; /* chunks of it */
	/* A large one: the chunks used last. */
	struct kept kept[KEPT_LARGE];
	uint64_t clock;
	enum bs_err failed; /* opening, for good */
	bool checked;
	enum bs_err body_failed; /* the check of all chunks, for good */
};

/* --- beginning and end --- */

/*
 * A footer at the end that tells of about as many bytes as there are: one of our files whose beginning was overwritten; or
 * what Dovecot made of an sdbox file whose frame was broken, with some bytes of the frame too many or too few.
 */
static bool
ends_like_ours(struct istream *input)
{
	uint8_t footer[BS_MSG_FOOTER_LEN], digest[BS_HASH_LEN];
	struct bs_rd rd = bs_rd_init(footer, sizeof(footer));
	uoff_t size;
	uint64_t off, claimed;
	uint32_t len;

	if (i_stream_get_size(input, TRUE, &size) <= 0 || size <= sizeof(footer) ||
	    basalt_stored_fetch(input, size - sizeof(footer), sizeof(footer), footer) != BS_OK)
		return false;
	off = bs_rd_u64(&rd);
	len = bs_rd_u32(&rd);
	if (off > size + FRAME_SLACK)
		return false;
	claimed = off + len + sizeof(footer);
	return claimed <= size + FRAME_SLACK && size <= claimed + FRAME_SLACK &&
	    bs_msg_footer_parse(footer, claimed, &off, &len, digest) == BS_OK;
}

/* No mail begins with a zero byte, and Dovecot stores none without any: what a crash or a bad disk left. */
static bool
is_blank(const unsigned char *data, size_t size)
{
	return size == 0 || data[0] == '\0';
}

bool
basalt_sealed_begins(struct istream *input)
{
	const unsigned char *data;
	size_t size;
	bool ours;

	i_stream_seek(input, 0);
	(void)i_stream_read_bytes(input, &data, &size, BS_MSG_MAGIC_LEN);
	/* The first four bytes are enough: what follows them is there to be mangled. */
	ours = is_blank(data, size) || memcmp(data, BS_MSG_MAGIC, I_MIN(size, 4)) == 0 || ends_like_ours(input);
	i_stream_seek(input, 0);
	return ours;
}

enum bs_err
basalt_sealed_new(struct basalt_user *bu, struct istream *input, struct basalt_sealed **out)
{
	struct basalt_sealed *sm = i_new(struct basalt_sealed, 1);
	const uint8_t *head;
	size_t len;
	enum bs_err err;

	sm->refcount = 1;
	sm->bu = bu;
	err = basalt_stored_open(&sm->stored, bu, input);
	if (err != BS_OK) {
		i_free(sm);
		return err;
	}
	head = basalt_stored_head(&sm->stored, BS_MSG_PREFIX_MAX, &len);
	err = bs_msg_prefix_parse(head, len, &sm->prefix);
	if (err != BS_OK) {
		basalt_sealed_unref(&sm);
		return err;
	}
	*out = sm;
	return BS_OK;
}

void
basalt_sealed_ref(struct basalt_sealed *sm)
{
	sm->refcount++;
}

static size_t
plain_size(const struct basalt_sealed *sm)
{
	return (size_t)bs_msg_reader_sizes(sm->reader)->physical_len;
}

/* As before it was opened. */
static void
unopen(struct basalt_sealed *sm)
{
	if (sm->plain != NULL)
		basalt_room_give(sm->bu, sm->plain, plain_size(sm));
	sm->plain = NULL;
	sm->decoded = 0;
	for (unsigned int i = 0; i < KEPT_LARGE; i++) {
		basalt_room_give(sm->bu, sm->kept[i].plain, BS_MSG_CHUNK_LEN);
		sm->kept[i] = (struct kept){ 0 };
	}
	bs_msg_reader_free(sm->reader);
	sm->reader = NULL;
}

void
basalt_sealed_unref(struct basalt_sealed **_sm)
{
	struct basalt_sealed *sm = *_sm;

	*_sm = NULL;
	if (sm == NULL || --sm->refcount > 0)
		return;
	basalt_session_unexpect(sm->bu, &sm->prefix);
	unopen(sm);
	basalt_stored_close(&sm->stored);
	i_free(sm);
}

void
basalt_sealed_detach(struct basalt_sealed *sm)
{
	basalt_stored_detach(&sm->stored);
}

const struct bs_msg_prefix *
basalt_sealed_prefix(const struct basalt_sealed *sm)
{
	return &sm->prefix;
}

enum bs_err
basalt_sealed_digest(struct basalt_sealed *sm, uint8_t digest[BS_HASH_LEN])
{
	struct basalt_stored *st = &sm->stored;
	const uint8_t *data;
	enum bs_err err = st->size < BS_HASH_LEN ? BS_ERR_SHORT : BS_OK;

	if (err == BS_OK)
		err = basalt_stored_bytes(st, st->size - BS_HASH_LEN, BS_HASH_LEN, &data);
	if (err == BS_OK)
		memcpy(digest, data, BS_HASH_LEN);
	return err;
}

struct basalt_user *
basalt_sealed_user(const struct basalt_sealed *sm)
{
	return sm->bu;
}

bool
basalt_sealed_is_open(const struct basalt_sealed *sm)
{
	return sm->reader != NULL;
}

const struct bs_msg_sizes *
basalt_sealed_sizes(const struct basalt_sealed *sm)
{
	return bs_msg_reader_sizes(sm->reader);
}

/* --- chunks --- */

static bool
is_small(const struct basalt_sealed *sm)
{
	return bs_msg_reader_sizes(sm->reader)->physical_len <= BASALT_WHOLE_MAX;
}

/* Decodes a small mail up to chunk end, out of one read of the file. */
static enum bs_err
decode_small(struct basalt_sealed *sm, uint32_t end)
{
	struct bs_msg_span first, span;
	const uint8_t *data;
	enum bs_err err;

	if (sm->decoded >= end)
		return BS_OK;
	err = bs_msg_reader_span(sm->reader, sm->decoded, &first);
	if (err == BS_OK)
		err = bs_msg_reader_span(sm->reader, end - 1, &span);
	if (err == BS_OK)
		err = basalt_stored_bytes(&sm->stored, first.file_off, (size_t)(span.file_off + span.file_len - first.file_off),
		    &data);
	while (err == BS_OK && sm->decoded < end) {
		err = bs_msg_reader_span(sm->reader, sm->decoded, &span);
		if (err == BS_OK)
			err = bs_msg_reader_chunk(sm->reader, &span, data + (span.file_off - first.file_off), span.file_len,
			    sm->plain + span.plain_off);
		if (err == BS_OK)
			sm->decoded++;
	}
	return err;
}

static enum bs_err
decode_chunk(struct basalt_sealed *sm, const struct bs_msg_span *span, uint8_t *out)
{
	const uint8_t *data;
	enum bs_err err = basalt_stored_bytes(&sm->stored, span->file_off, span->file_len, &data);

	return err == BS_OK ? bs_msg_reader_chunk(sm->reader, span, data, span->file_len, out) : err;
}

static struct kept *
keep_where(struct basalt_sealed *sm)
{
	struct kept *where = &sm->kept[0];

	for (unsigned int i = 1; i < KEPT_LARGE; i++) {
		if (sm->kept[i].used < where->used)
			where = &sm->kept[i];
	}
	if (where->plain == NULL)
		where->plain = basalt_room_take(sm->bu, BS_MSG_CHUNK_LEN);
	where->used = 0;
	return where;
}

/* The plaintext of a large mail's chunk, decoded now or kept from before. */
static enum bs_err
chunk_plain(struct basalt_sealed *sm, const struct bs_msg_span *span, const uint8_t **plain)
{
	struct kept *k;
	enum bs_err err;

	for (unsigned int i = 0; i < KEPT_LARGE; i++) {
		k = &sm->kept[i];
		if (k->used != 0 && k->index == span->index) {
			k->used = ++sm->clock;
			*plain = k->plain;
			return BS_OK;
		}
	}
	k = keep_where(sm);
	err = decode_chunk(sm, span, k->plain);
	if (err != BS_OK)
		return err;
	k->index = span->index;
	k->used = ++sm->clock;
	*plain = k->plain;
	return BS_OK;
}

/* Keeps the chunk, if only because the mail is not good without it. */
static enum bs_err
need_chunk(struct basalt_sealed *sm, uint32_t index)
{
	const uint8_t *plain;
	struct bs_msg_span span;
	enum bs_err err = bs_msg_reader_span(sm->reader, index, &span);

	return err == BS_OK ? chunk_plain(sm, &span, &plain) : err;
}

/* Keeps none of them: a reader may have been lent a kept one. */
static enum bs_err
check_large(struct basalt_sealed *sm)
{
	uint32_t count = bs_msg_reader_chunk_count(sm->reader);
	uint8_t *plain = basalt_room_take(sm->bu, BS_MSG_CHUNK_LEN);
	struct bs_msg_span span;
	enum bs_err err = BS_OK;

	for (uint32_t i = 0; i < count && err == BS_OK; i++) {
		err = bs_msg_reader_span(sm->reader, i, &span);
		if (err == BS_OK)
			err = decode_chunk(sm, &span, plain);
	}
	basalt_room_give(sm->bu, plain, BS_MSG_CHUNK_LEN);
	return err;
}

/* --- opening --- */

void
basalt_sealed_expect(struct basalt_sealed *sm)
{
	if (sm->reader == NULL && sm->failed == BS_OK)
		basalt_session_expect(sm->bu, &sm->prefix);
}

static enum bs_err
make_reader(struct basalt_sealed *sm, struct bs_msg_reader **out)
{
	uint8_t key[BS_KEY_LEN];
	enum bs_err err;

	if (sm->prefix.suite == BS_MSG_SUITE_PLAIN)
		return bs_msg_reader_new(&sm->prefix, NULL, out);
	err = basalt_session_unwrap(sm->bu, &sm->prefix, key);
	if (err == BS_OK)
		err = bs_msg_reader_new(&sm->prefix, key, out);
	bs_wipe(key, sizeof(key));
	return err;
}

static enum bs_err
read_trailer(struct basalt_sealed *sm, struct bs_msg_reader *rd)
{
	struct basalt_stored *st = &sm->stored;
	const uint8_t *data;
	uint64_t off;
	uint32_t len;
	enum bs_err err;

	if (st->size < BS_MSG_FOOTER_LEN)
		return BS_ERR_SHORT;
	err = basalt_stored_bytes(st, st->size - BS_MSG_FOOTER_LEN, BS_MSG_FOOTER_LEN, &data);
	if (err == BS_OK)
		err = bs_msg_reader_footer(rd, st->size, data, &off, &len);
	/* The footer's check bounds len by the file's size. */
	if (err == BS_OK)
		err = basalt_stored_bytes(st, off, len, &data);
	return err == BS_OK ? bs_msg_reader_trailer(rd, data, len) : err;
}

/* The chunks that hold the header. */
static enum bs_err
decode_header(struct basalt_sealed *sm)
{
	uint32_t chunks = bs_msg_reader_header_chunks(sm->reader);
	enum bs_err err = BS_OK;

	if (!is_small(sm)) {
		for (uint32_t i = 0; i < chunks && err == BS_OK; i++)
			err = need_chunk(sm, i);
		return err;
	}
	sm->plain = basalt_room_take(sm->bu, plain_size(sm));
	return decode_small(sm, chunks);
}

static enum bs_err
open_now(struct basalt_sealed *sm)
{
	enum bs_err err = make_reader(sm, &sm->reader);

	if (err == BS_OK)
		bs_msg_reader_use(sm->reader, basalt_packer());
	if (err == BS_OK)
		err = read_trailer(sm, sm->reader);
	if (err == BS_OK)
		err = decode_header(sm);
	if (err != BS_OK)
		unopen(sm);
	return err;
}

enum bs_err
basalt_sealed_open(struct basalt_sealed *sm)
{
	enum bs_err err;

	if (sm->failed != BS_OK || sm->reader != NULL)
		return sm->failed;
	err = open_now(sm);
	if (!bs_err_is_transient(err))
		sm->failed = err;
	return err;
}

/* All chunks, the empty last one too. */
static enum bs_err
check_all(struct basalt_sealed *sm)
{
	enum bs_err err;

	if (!is_small(sm))
		return basalt_home_is_damaged(sm->bu, sm->prefix.message_id) ? check_large(sm) : BS_OK;
	err = decode_small(sm, bs_msg_reader_chunk_count(sm->reader));
	basalt_stored_done(&sm->stored);
	return err;
}

/* The body is wanted too: a small mail is read at once. */
static enum bs_err
load_whole(struct basalt_sealed *sm)
{
	const uint8_t *data;

	if (sm->reader != NULL || sm->stored.size > AT_ONCE_MAX)
		return BS_OK;
	return basalt_stored_bytes(&sm->stored, 0, (size_t)sm->stored.size, &data);
}

enum bs_err
basalt_sealed_check(struct basalt_sealed *sm)
{
	enum bs_err err = load_whole(sm);

	if (err == BS_OK)
		err = basalt_sealed_open(sm);
	if (err != BS_OK)
		return err;
	if (sm->checked)
		return sm->body_failed;
	err = check_all(sm);
	sm->checked = !bs_err_is_transient(err);
	sm->body_failed = err;
	return err;
}

bool
basalt_sealed_has_no_nuls(const struct basalt_sealed *sm)
{
	return sm->checked && sm->body_failed == BS_OK && is_small(sm) && memchr(sm->plain, '\0', plain_size(sm)) == NULL;
}

/* --- reading --- */

static enum bs_err
read_small(struct basalt_sealed *sm, uint64_t off, const uint8_t **data, size_t *len)
{
	const struct bs_msg_sizes *sizes = basalt_sealed_sizes(sm);
	bool header = off < sizes->header_len;
	uint64_t end = header && !sm->checked ? sizes->header_len : sizes->physical_len;
	enum bs_err err = header ? BS_OK : basalt_sealed_check(sm);

	if (err != BS_OK)
		return err;
	if (header && sm->body_failed != BS_OK)
		end = sizes->header_len;
	*data = sm->plain + off;
	*len = (size_t)(end - off);
	return BS_OK;
}

static enum bs_err
read_large(struct basalt_sealed *sm, uint64_t off, const uint8_t **data, size_t *len)
{
	const uint8_t *plain;
	struct bs_msg_span span;
	enum bs_err err = bs_msg_reader_locate(sm->reader, off, &span);

	if (err == BS_OK)
		err = chunk_plain(sm, &span, &plain);
	if (err == BS_OK) {
		*data = plain + (off - span.plain_off);
		*len = (size_t)(span.plain_len - (off - span.plain_off));
	}
	return err;
}

static enum bs_err
read_end(struct basalt_sealed *sm)
{
	return is_small(sm) ? basalt_sealed_check(sm) : need_chunk(sm, bs_msg_reader_chunk_count(sm->reader) - 1);
}

enum bs_err
basalt_sealed_read(struct basalt_sealed *sm, uint64_t off, const uint8_t **data, size_t *len)
{
	enum bs_err err = basalt_sealed_open(sm);

	if (err != BS_OK)
		return err;
	if (off >= basalt_sealed_sizes(sm)->physical_len) {
		err = read_end(sm);
		if (err == BS_OK)
			*len = 0;
		return err;
	}
	return is_small(sm) ? read_small(sm, off, data, len) : read_large(sm, off, data, len);
}
