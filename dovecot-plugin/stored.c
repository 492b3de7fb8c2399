#include "compat.h"

#include <istream.h>
#include <istream-private.h>

#include <unistd.h>

#include "msgfmt.h"
#include "room.h"
#include "stored.h"

/* What is read of the beginning where the stream has no more in its buffer: prefix and most headers. */
#define HEAD_LEN 4096
/* What is read of the end: footer, and the trailer of a mail of 40 MB. */
#define TAIL_LEN 2048

/* --- reading --- */

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
fetch_direct(struct istream *input, int fd, uint64_t off, size_t len, uint8_t *out)
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
fetch_streamed(struct istream *input, uint64_t off, size_t len, uint8_t *out)
{
	const unsigned char *data;
	size_t done = 0, size;

	i_stream_seek(input, off);
	while (done < len) {
		if (i_stream_read_more(input, &data, &size) <= 0)
			return input->stream_errno != 0 ? BS_ERR_IO : BS_ERR_SHORT;
		size = I_MIN(size, len - done);
		memcpy(out + done, data, size);
		i_stream_skip(input, size);
		done += size;
	}
	return BS_OK;
}

enum bs_err
basalt_stored_fetch(struct istream *input, uint64_t off, size_t len, uint8_t *out)
{
	int fd = direct_fd(input);

	return fd == -1 ? fetch_streamed(input, off, len, out) : fetch_direct(input, fd, off, len, out);
}

/* --- windows --- */

static void
window_drop(struct basalt_stored *st, struct basalt_window *w)
{
	basalt_room_give(st->bu, w->bytes, w->room);
	*w = (struct basalt_window){ 0 };
}

static enum bs_err
window_load(struct basalt_stored *st, struct basalt_window *w, uint64_t off, size_t len)
{
	enum bs_err err;

	if (st->input == NULL)
		return BS_ERR_IO;
	if (w->room < len) {
		window_drop(st, w);
		w->bytes = basalt_room_take(st->bu, len);
		w->room = len;
	}
	w->len = 0;
	err = basalt_stored_fetch(st->input, off, len, w->bytes);
	if (err != BS_OK)
		return err;
	w->off = off;
	w->len = len;
	return BS_OK;
}

static bool
window_has(const struct basalt_window *w, uint64_t off, size_t len)
{
	return off >= w->off && off - w->off <= w->len && len <= w->len - (off - w->off);
}

enum bs_err
basalt_stored_bytes(struct basalt_stored *st, uint64_t off, size_t len, const uint8_t **data)
{
	struct basalt_window *w;
	size_t tail = I_MIN(st->size, TAIL_LEN);
	enum bs_err err;

	if (off > st->size || len > st->size - off)
		return BS_ERR_SHORT;
	for (unsigned int i = 0; i < BASALT_WINDOWS; i++) {
		w = &st->windows[i];
		if (window_has(w, off, len)) {
			*data = w->bytes + (off - w->off);
			return BS_OK;
		}
	}
	if (off >= st->size - tail) {
		w = &st->windows[BASALT_WINDOW_TAIL];
		err = window_load(st, w, st->size - tail, tail);
	} else {
		w = &st->windows[BASALT_WINDOW_WORK];
		err = window_load(st, w, off, len);
	}
	if (err == BS_OK)
		*data = w->bytes + (off - w->off);
	return err;
}

const uint8_t *
basalt_stored_head(const struct basalt_stored *st, size_t max, size_t *len)
{
	const struct basalt_window *w = &st->windows[BASALT_WINDOW_HEAD];

	*len = I_MIN(w->len, max);
	return w->bytes;
}

void
basalt_stored_done(struct basalt_stored *st)
{
	window_drop(st, &st->windows[BASALT_WINDOW_WORK]);
}

/* --- beginning and end --- */

/* Dovecot has read the beginning to see what it is: that is not read again. */
static enum bs_err
head_load(struct basalt_stored *st)
{
	struct basalt_window *w = &st->windows[BASALT_WINDOW_HEAD];
	size_t wanted = I_MIN(st->size, HEAD_LEN), size;
	const unsigned char *data;

	i_stream_seek(st->input, 0);
	if (i_stream_read_more(st->input, &data, &size) <= 0)
		return st->size == 0 && st->input->stream_errno == 0 ? BS_OK : BS_ERR_IO;
	if (size < wanted)
		return window_load(st, w, 0, wanted);
	size = I_MIN(st->size, size);
	w->bytes = basalt_room_take(st->bu, size);
	w->room = w->len = size;
	memcpy(w->bytes, data, size);
	return BS_OK;
}

enum bs_err
basalt_stored_open(struct basalt_stored *st, struct basalt_user *bu, struct istream *input)
{
	uoff_t size;
	enum bs_err err;

	if (i_stream_get_size(input, TRUE, &size) <= 0)
		return BS_ERR_IO;
	*st = (struct basalt_stored){ .bu = bu, .input = input, .size = size };
	err = head_load(st);
	if (err != BS_OK)
		basalt_stored_close(st);
	return err;
}

void
basalt_stored_close(struct basalt_stored *st)
{
	for (unsigned int i = 0; i < BASALT_WINDOWS; i++)
		window_drop(st, &st->windows[i]);
}

void
basalt_stored_detach(struct basalt_stored *st)
{
	st->input = NULL;
}
