#include "compat.h"

#include <istream-private.h>
#include <mail-storage-private.h>

#include "crlf.h"

/* An LF that comes first may need two CRs, and room for itself. */
#define ROOM_MIN 3

struct crlf_istream {
	struct istream_private istream;
	unsigned int crs; /* that were given out last, in a row: 0, 1, or 2 for more */
};

static struct crlf_istream *
of(struct istream_private *stream)
{
	return container_of(stream, struct crlf_istream, istream);
}

static unsigned int
trailing_crs(unsigned int before, const unsigned char *data, size_t len)
{
	if (len == 0)
		return before;
	if (data[len - 1] != '\r')
		return 0;
	return len == 1 ? I_MIN(before + 1, 2) : 1 + (data[len - 2] == '\r' ? 1 : 0);
}

/* Takes of data what fits into room bytes at out, CRs included; says how much it took. */
static size_t
convert(struct crlf_istream *cs, const unsigned char *data, size_t len, unsigned char *out, size_t room, size_t *made)
{
	const unsigned char *p = data, *end = data + len, *lf;
	unsigned char *o = out;
	size_t n;

	while (p < end && room - (size_t)(o - out) >= ROOM_MIN) {
		n = I_MIN((size_t)(end - p), room - (size_t)(o - out) - ROOM_MIN);
		lf = n == 0 ? NULL : memchr(p, '\n', n);
		if (lf != NULL)
			n = (size_t)(lf - p);
		memcpy(o, p, n);
		cs->crs = trailing_crs(cs->crs, p, n);
		o += n;
		p += n;
		if (p == end || *p != '\n') {
			if (n == 0)
				break;
			continue;
		}
		for (; cs->crs < 2; cs->crs++)
			*o++ = '\r';
		*o++ = '\n';
		p++;
		cs->crs = 0;
	}
	*made = (size_t)(o - out);
	return (size_t)(p - data);
}

static ssize_t
crlf_read(struct istream_private *stream)
{
	struct crlf_istream *cs = of(stream);
	const unsigned char *data;
	size_t len, room, taken, made;
	ssize_t ret;

	if (i_stream_get_data_size(stream->parent) == 0) {
		ret = i_stream_read_memarea(stream->parent);
		if (ret <= 0) {
			stream->istream.stream_errno = stream->parent->stream_errno;
			stream->istream.eof = stream->parent->eof;
			return ret;
		}
	}
	data = i_stream_get_data(stream->parent, &len);
	/* Room for all of it and the CRs of its lines, mostly. */
	if (!i_stream_try_alloc(stream, I_MAX(len + len / 16, ROOM_MIN + 1), &room) || room <= ROOM_MIN)
		return -2;
	taken = convert(cs, data, len, stream->w_buffer + stream->pos, room, &made);
	i_stream_skip(stream->parent, taken);
	stream->pos += made;
	return (ssize_t)made;
}

struct istream *
basalt_crlf_create(struct istream *input)
{
	struct crlf_istream *cs = i_new(struct crlf_istream, 1);

	cs->istream.max_buffer_size = I_MAX(input->real_stream->max_buffer_size, IO_BLOCK_SIZE);
	cs->istream.read = crlf_read;
	cs->istream.istream.readable_fd = FALSE;
	cs->istream.istream.blocking = input->blocking;
	cs->istream.istream.seekable = FALSE;
	return i_stream_create(&cs->istream, input, i_stream_get_fd(input), 0);
}

bool
basalt_crlf_needed(struct mailbox *box)
{
	/* maildir heeds this setting, dbox does not. */
	return strcmp(box->storage->name, "maildir") != 0 || !box->storage->set->mail_save_crlf;
}
