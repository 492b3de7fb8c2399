#include "compat.h"

#include <istream.h>
#include <istream-private.h>

#include <unistd.h>

#include "home.h"
#include "sealed.h"
#include "session.h"

#define WINDOW_MAX (128 * 1024) /* files up to this size are read at once */
#define KEPT_LARGE 2            /* decoded chunks kept of a large mail */

struct kept {
	uint8_t *plain; /* NULL: nothing here */
	uint32_t index;
	uint64_t used;
};

struct basalt_sealed {
	int refcount;
	struct basalt_user *bu;
	struct istream *input; /* NULL once detached */
	uoff_t file_size;
	uint8_t *window; /* the whole file if it is small, else room for one stored chunk */
	bool whole_file;
	uint8_t prefix_bytes[BS_MSG_PREFIX_MAX];
	struct bs_msg_prefix prefix;
	struct bs_msg_reader *reader; /* NULL until opened */
	struct kept *kept;
	uint32_t kept_count;
	uint64_t clock;
	enum bs_err failed;      /* opening, for good */
	bool checked;
	enum bs_err body_failed; /* the check of all chunks, for good */
};

/* i_malloc() without its zeros, which cost as much as decryption: all of it is written at once. */
static void *
must_malloc(size_t size)
{
	void *p = malloc(size);

	if (p == NULL)
		i_fatal_status(FATAL_OUTOFMEM, "basalt: out of memory (%zu bytes)", size);
	return p;
}

/* --- bytes of the file --- */

/* The descriptor that holds the stream's bytes as they are, or -1. */
static int
direct_fd(struct istream *input)
{
	struct istream *root = i_stream_get_root_io(input);

	if (!input->readable_fd || root->closed)
		return -1;
	return root->real_stream->fd;
}

static enum bs_err
fetch_direct(struct istream *input, int fd, uoff_t off, size_t len, uint8_t *out)
{
	uoff_t base = i_stream_get_absolute_offset(input) - input->v_offset;
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, out + done, len - done, (off_t)(base + off + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? BS_ERR_SHORT : BS_ERR_IO;
		done += (size_t)n;
	}
	return BS_OK;
}

static enum bs_err
fetch_streamed(struct istream *input, uoff_t off, size_t len, uint8_t *out)
{
	const unsigned char *data;
	size_t size;

	/* dbox shrinks its buffers after the stream was opened. */
	if (i_stream_get_max_buffer_size(input) < len)
		i_stream_set_max_buffer_size(input, len);
	i_stream_seek(input, off);
	if (i_stream_read_bytes(input, &data, &size, len) <= 0)
		return input->stream_errno != 0 ? BS_ERR_IO : BS_ERR_SHORT;
	memcpy(out, data, len);
	return BS_OK;
}

static enum bs_err
fetch(struct istream *input, uoff_t off, size_t len, uint8_t *out)
{
	int fd = direct_fd(input);

	return fd == -1 ? fetch_streamed(input, off, len, out) : fetch_direct(input, fd, off, len, out);
}

/* len bytes of the file at off: inside the window, valid until the next call. */
static enum bs_err
file_bytes(struct basalt_sealed *sm, uint64_t off, size_t len, const uint8_t **data)
{
	enum bs_err err;

	if (sm->input == NULL)
		return BS_ERR_IO;
	if (off > sm->file_size || len > sm->file_size - off)
		return BS_ERR_SHORT;
	if (sm->whole_file) {
		*data = sm->window + off;
		return BS_OK;
	}
	if (len > WINDOW_MAX)
		return BS_ERR_LIMIT;
	err = fetch(sm->input, off, len, sm->window);
	if (err == BS_OK)
		*data = sm->window;
	return err;
}

/* --- beginning and end --- */

/* The footer where it belongs: one of our files whose beginning was overwritten. */
static bool
ends_like_ours(struct istream *input)
{
	uint8_t footer[BS_MSG_FOOTER_LEN], digest[BS_HASH_LEN];
	uoff_t size;
	uint64_t off;
	uint32_t len;

	return i_stream_get_size(input, TRUE, &size) > 0 && size > sizeof(footer) &&
	    fetch(input, size - sizeof(footer), sizeof(footer), footer) == BS_OK &&
	    bs_msg_footer_parse(footer, size, &off, &len, digest) == BS_OK;
}

/* No mail begins with zero bytes, and Dovecot stores none without any: what a crash or a bad disk left. */
static bool
is_blank(const unsigned char *data, size_t size)
{
	static const uint8_t zeros[BS_MSG_MAGIC_LEN];

	return memcmp(data, zeros, I_MIN(size, sizeof(zeros))) == 0;
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
	ours = memcmp(data, BS_MSG_MAGIC, I_MIN(size, 4)) == 0 || is_blank(data, size) || ends_like_ours(input);
	i_stream_seek(input, 0);
	return ours;
}

static enum bs_err
read_prefix(struct basalt_sealed *sm)
{
	size_t len = I_MIN(sm->file_size, BS_MSG_PREFIX_MAX);
	const uint8_t *data;
	enum bs_err err = file_bytes(sm, 0, len, &data);

	if (err != BS_OK)
		return err;
	memcpy(sm->prefix_bytes, data, len);
	return bs_msg_prefix_parse(sm->prefix_bytes, len, &sm->prefix);
}

enum bs_err
basalt_sealed_new(struct basalt_user *bu, struct istream *input, struct basalt_sealed **out)
{
	struct basalt_sealed *sm;
	uoff_t size;
	enum bs_err err = BS_OK;

	if (i_stream_get_size(input, TRUE, &size) <= 0)
		return BS_ERR_IO;
	sm = i_new(struct basalt_sealed, 1);
	sm->refcount = 1;
	sm->bu = bu;
	sm->input = input;
	sm->file_size = size;
	sm->window = must_malloc(I_MIN(size, WINDOW_MAX) + 1);
	if (size <= WINDOW_MAX) {
		err = fetch(input, 0, (size_t)size, sm->window);
		sm->whole_file = true;
	}
	if (err == BS_OK)
		err = read_prefix(sm);
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

void
basalt_sealed_unref(struct basalt_sealed **_sm)
{
	struct basalt_sealed *sm = *_sm;

	*_sm = NULL;
	if (sm == NULL || --sm->refcount > 0)
		return;
	basalt_session_unexpect(sm->bu, &sm->prefix);
	for (uint32_t i = 0; i < sm->kept_count; i++)
		free(sm->kept[i].plain);
	i_free(sm->kept);
	bs_msg_reader_free(sm->reader);
	free(sm->window);
	i_free(sm);
}

void
basalt_sealed_detach(struct basalt_sealed *sm)
{
	sm->input = NULL;
}

const struct bs_msg_prefix *
basalt_sealed_prefix(const struct basalt_sealed *sm)
{
	return &sm->prefix;
}

struct basalt_user *
basalt_sealed_user(const struct basalt_sealed *sm)
{
	return sm->bu;
}

const struct bs_msg_sizes *
basalt_sealed_sizes(const struct basalt_sealed *sm)
{
	return bs_msg_reader_sizes(sm->reader);
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
	const uint8_t *data;
	uint8_t *trailer;
	uint64_t off;
	uint32_t len;
	enum bs_err err;

	if (sm->file_size < BS_MSG_FOOTER_LEN)
		return BS_ERR_SHORT;
	err = file_bytes(sm, sm->file_size - BS_MSG_FOOTER_LEN, BS_MSG_FOOTER_LEN, &data);
	if (err == BS_OK)
		err = bs_msg_reader_footer(rd, sm->file_size, data, &off, &len);
	if (err != BS_OK)
		return err;
	if (len <= WINDOW_MAX) {
		err = file_bytes(sm, off, len, &data);
		return err == BS_OK ? bs_msg_reader_trailer(rd, data, len) : err;
	}
	/* The index of a very large mail; the footer's check bounds it by the file's size. */
	trailer = i_malloc(len);
	err = fetch(sm->input, off, len, trailer);
	if (err == BS_OK)
		err = bs_msg_reader_trailer(rd, trailer, len);
	i_free(trailer);
	return err;
}

static bool
is_small(const struct basalt_sealed *sm)
{
	return bs_msg_reader_sizes(sm->reader)->physical_len <= BASALT_WHOLE_MAX;
}

static struct kept *
keep_where(struct basalt_sealed *sm)
{
	struct kept *where = &sm->kept[0];

	for (uint32_t i = 0; i < sm->kept_count; i++) {
		if (sm->kept[i].plain == NULL)
			return &sm->kept[i];
		if (sm->kept[i].used < where->used)
			where = &sm->kept[i];
	}
	return where;
}

/* The plaintext of a chunk, decoded now or kept from before. */
static enum bs_err
chunk_plain(struct basalt_sealed *sm, const struct bs_msg_span *span, const uint8_t **plain)
{
	const uint8_t *data;
	struct kept *k;
	uint8_t *out;
	enum bs_err err;

	for (uint32_t i = 0; i < sm->kept_count; i++) {
		k = &sm->kept[i];
		if (k->plain != NULL && k->index == span->index) {
			k->used = ++sm->clock;
			*plain = k->plain;
			return BS_OK;
		}
	}
	err = file_bytes(sm, span->file_off, span->file_len, &data);
	if (err != BS_OK)
		return err;
	out = must_malloc(span->plain_len + 1);
	err = bs_msg_reader_chunk(sm->reader, span, data, span->file_len, out);
	if (err != BS_OK) {
		free(out);
		return err;
	}
	k = keep_where(sm);
	free(k->plain);
	*k = (struct kept){ .plain = out, .index = span->index, .used = ++sm->clock };
	*plain = out;
	return BS_OK;
}

/* Decodes the chunks that hold plaintext before end; all of them, the empty last one too, for UINT64_MAX. */
static enum bs_err
check_chunks(struct basalt_sealed *sm, uint64_t end)
{
	uint32_t count = bs_msg_reader_chunk_count(sm->reader);
	const uint8_t *plain;
	struct bs_msg_span span;
	enum bs_err err = BS_OK;

	for (uint32_t i = 0; i < count && err == BS_OK; i++) {
		err = bs_msg_reader_span(sm->reader, i, &span);
		if (err == BS_OK && span.plain_off >= end)
			break;
		if (err == BS_OK)
			err = chunk_plain(sm, &span, &plain);
	}
	return err;
}

static enum bs_err
open_now(struct basalt_sealed *sm)
{
	struct bs_msg_reader *rd = NULL;
	enum bs_err err = make_reader(sm, &rd);

	if (err == BS_OK)
		err = read_trailer(sm, rd);
	if (err != BS_OK) {
		bs_msg_reader_free(rd);
		return err;
	}
	sm->reader = rd;
	sm->kept_count = is_small(sm) ? bs_msg_reader_chunk_count(rd) : KEPT_LARGE;
	sm->kept_count = I_MAX(sm->kept_count, KEPT_LARGE);
	sm->kept = i_new(struct kept, sm->kept_count);
	return check_chunks(sm, bs_msg_reader_sizes(rd)->header_len);
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

enum bs_err
basalt_sealed_check(struct basalt_sealed *sm)
{
	enum bs_err err = basalt_sealed_open(sm);

	if (err != BS_OK)
		return err;
	if (sm->checked)
		return sm->body_failed;
	if (is_small(sm) || basalt_home_is_damaged(sm->bu, sm->prefix.message_id))
		err = check_chunks(sm, UINT64_MAX);
	sm->checked = !bs_err_is_transient(err);
	sm->body_failed = err;
	return err;
}

/* --- reading --- */

static enum bs_err
check_end(struct basalt_sealed *sm)
{
	uint32_t count = bs_msg_reader_chunk_count(sm->reader);
	const uint8_t *plain;
	struct bs_msg_span span;
	enum bs_err err;

	if (count == 0)
		return BS_OK;
	err = bs_msg_reader_span(sm->reader, count - 1, &span);
	return err == BS_OK ? chunk_plain(sm, &span, &plain) : err;
}

enum bs_err
basalt_sealed_read(struct basalt_sealed *sm, uint64_t off, const uint8_t **data, size_t *len)
{
	const uint8_t *plain;
	struct bs_msg_span span;
	enum bs_err err = basalt_sealed_open(sm);

	if (err != BS_OK)
		return err;
	if (off >= basalt_sealed_sizes(sm)->physical_len) {
		err = check_end(sm);
		if (err == BS_OK)
			*len = 0;
		return err;
	}
	err = bs_msg_reader_locate(sm->reader, off, &span);
	if (err == BS_OK)
		err = chunk_plain(sm, &span, &plain);
	if (err == BS_OK) {
		*data = plain + (off - span.plain_off);
		*len = (size_t)(span.plain_len - (off - span.plain_off));
	}
	return err;
}
