#include "compat.h"

#include <istream-private.h>

#include "iostream.h"
#include "unreadable.h"

struct basalt_istream {
	struct istream_private istream;
	struct basalt_sealed *sm;
};

static struct basalt_istream *
of(struct istream_private *stream)
{
	return container_of(stream, struct basalt_istream, istream);
}

static void
basalt_istream_close(struct iostream_private *stream, bool close_parent)
{
	struct basalt_istream *bs = of(container_of(stream, struct istream_private, iostream));

	basalt_sealed_detach(bs->sm);
	if (close_parent)
		i_stream_close(bs->istream.parent);
}

static void
basalt_istream_destroy(struct iostream_private *stream)
{
	struct basalt_istream *bs = of(container_of(stream, struct istream_private, iostream));

	basalt_sealed_detach(bs->sm);
	basalt_sealed_unref(&bs->sm);
	i_stream_free_buffer(&bs->istream);
	i_stream_unref(&bs->istream.parent);
}

static ssize_t
stream_fail(struct basalt_istream *bs, enum bs_err err)
{
	struct istream *input = &bs->istream.istream;

	basalt_unreadable_midway(bs->sm, i_stream_get_name(input), err);
	io_stream_set_error(&bs->istream.iostream, "basalt: at byte %ju: %s", (uintmax_t)input->v_offset, bs_err_text(err));
	/* EINVAL is Dovecot's word for bytes that make no sense. */
	input->stream_errno = bs_err_is_transient(err) ? EIO : EINVAL;
	return -1;
}

static ssize_t
basalt_istream_read(struct istream_private *stream)
{
	struct basalt_istream *bs = of(stream);
	const uint8_t *data;
	size_t len, room;
	enum bs_err err;

	err = basalt_sealed_read(bs->sm, stream->istream.v_offset + (stream->pos - stream->skip), &data, &len);
	if (err != BS_OK)
		return stream_fail(bs, err);
	if (len == 0) {
		stream->istream.eof = TRUE;
		return -1;
	}
	if (!i_stream_try_alloc(stream, len, &room))
		return -2;
	len = I_MIN(len, room);
	memcpy(stream->w_buffer + stream->pos, data, len);
	stream->pos += len;
	return (ssize_t)len;
}

static int
basalt_istream_get_size(struct istream_private *stream, bool exact ATTR_UNUSED, uoff_t *size_r)
{
	struct basalt_istream *bs = of(stream);
	enum bs_err err = basalt_sealed_open(bs->sm);

	if (err != BS_OK) {
		(void)stream_fail(bs, err);
		return -1;
	}
	*size_r = basalt_sealed_sizes(bs->sm)->physical_len;
	return 1;
}

static int
basalt_istream_stat(struct istream_private *stream, bool exact)
{
	const struct stat *st;
	uoff_t size;

	if (i_stream_stat(stream->parent, FALSE, &st) < 0) {
		stream->istream.stream_errno = stream->parent->stream_errno;
		return -1;
	}
	stream->statbuf = *st;
	if (basalt_istream_get_size(stream, exact, &size) < 0)
		return -1;
	stream->statbuf.st_size = (off_t)size;
	return 0;
}

struct istream *
basalt_istream_create(struct istream *parent, struct basalt_sealed *sm)
{
	struct basalt_istream *bs = i_new(struct basalt_istream, 1);

	basalt_sealed_ref(sm);
	bs->sm = sm;
	bs->istream.iostream.close = basalt_istream_close;
	bs->istream.iostream.destroy = basalt_istream_destroy;
	bs->istream.max_buffer_size = I_MAX(parent->real_stream->max_buffer_size, BS_MSG_CHUNK_LEN);
	bs->istream.read = basalt_istream_read;
	bs->istream.get_size = basalt_istream_get_size;
	bs->istream.stat = basalt_istream_stat;
	/* Nobody may send the file's own bytes in place of ours. */
	bs->istream.istream.readable_fd = FALSE;
	bs->istream.istream.blocking = TRUE;
	bs->istream.istream.seekable = TRUE;
	return i_stream_create(&bs->istream, parent, i_stream_get_fd(parent), 0);
}
