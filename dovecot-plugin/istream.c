#include "compat.h"

#include <istream-private.h>

#include "iostream.h"
#include "unreadable.h"

struct basalt_istream {
	struct istream_private istream;
	struct basalt_sealed *sm;
	uint8_t *joined; /* the buffer, when it had to be put together */
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
	i_free(bs->joined);
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

/*
 * What the caller has not taken yet and what comes now have to lie side by side: for the line that crosses the chunks of
 * a large mail they are copied together.
 */
static void
join(struct basalt_istream *bs, const uint8_t *data, size_t len)
{
	struct istream_private *stream = &bs->istream;
	size_t have = stream->pos - stream->skip;
	uint8_t *both = i_malloc(have + len);

	memcpy(both, stream->buffer + stream->skip, have);
	memcpy(both + have, data, len);
	i_free(bs->joined);
	bs->joined = both;
	stream->buffer = both;
	stream->skip = 0;
	stream->pos = have;
}

/*
 * Lends the decoder's own bytes, but never more than the buffer's maximum at once: what Dovecot's parsers make of a line
 * longer than that shows in their answers.
 */
static ssize_t
basalt_istream_read(struct istream_private *stream)
{
	struct basalt_istream *bs = of(stream);
	size_t have = stream->pos - stream->skip, len;
	const uint8_t *data;
	enum bs_err err;

	if (have >= stream->max_buffer_size)
		return -2;
	err = basalt_sealed_read(bs->sm, stream->istream.v_offset + have, &data, &len);
	if (err != BS_OK)
		return stream_fail(bs, err);
	if (len == 0) {
		stream->istream.eof = TRUE;
		return -1;
	}
	len = I_MIN(len, stream->max_buffer_size - have);
	if (have == 0) {
		stream->buffer = data;
		stream->skip = stream->pos = 0;
	} else if (stream->buffer + stream->pos != data) {
		join(bs, data, len);
	}
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
	bs->istream.max_buffer_size = parent->real_stream->max_buffer_size;
	bs->istream.read = basalt_istream_read;
	bs->istream.get_size = basalt_istream_get_size;
	bs->istream.stat = basalt_istream_stat;
	/* Nobody may send the file's own bytes in place of ours. */
	bs->istream.istream.readable_fd = FALSE;
	bs->istream.istream.blocking = TRUE;
	bs->istream.istream.seekable = TRUE;
	return i_stream_create(&bs->istream, parent, i_stream_get_fd(parent),
	    ISTREAM_CREATE_FLAG_NOOP_SNAPSHOT);
}
