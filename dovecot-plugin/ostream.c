#include "compat.h"

#include <buffer.h>
#include <ostream-private.h>

#include "exchange.h"
#include "iostream.h"
#include "keymem.h"
#include "packer.h"

struct basalt_ostream {
	struct ostream_private ostream;
	struct bs_msg_encoder *enc;
	const struct basalt_user *writer;
	bool sealed;
	bool ended; /* trailer and footer are written */
	struct basalt_watch *watch;
};

static struct basalt_ostream *
of(struct ostream_private *stream)
{
	return container_of(stream, struct basalt_ostream, ostream);
}

static void
basalt_ostream_close(struct iostream_private *stream, bool close_parent)
{
	struct basalt_ostream *bs = of(container_of(stream, struct ostream_private, iostream));

	bs_msg_encoder_free(bs->enc);
	bs->enc = NULL;
	if (close_parent)
		o_stream_close(bs->ostream.parent);
}

/* --- for the index cache --- */

/* Up to the first empty line. */
static void
watch_header(struct basalt_watch *w, const uint8_t *data, size_t len)
{
	size_t from = w->header->used < 2 ? 0 : w->header->used - 2;
	const char *p;

	if (w->header_ended)
		return;
	buffer_append(w->header, data, I_MIN(len, BASALT_WATCH_HEADER_MAX - w->header->used));
	p = w->header->data;
	for (size_t i = from; i + 1 < w->header->used && !w->header_ended; i++) {
		if (p[i] == '\n' && (p[i + 1] == '\n' || (i + 2 < w->header->used && p[i + 1] == '\r' && p[i + 2] == '\n')))
			w->header_ended = true;
	}
	w->header_ended |= w->header->used == BASALT_WATCH_HEADER_MAX;
}

static void
watch_file(struct basalt_watch *w, const uint8_t *data, size_t len)
{
	size_t n = I_MIN(len, sizeof(w->prefix) - w->prefix_len);

	memcpy(w->prefix + w->prefix_len, data, n);
	w->prefix_len += n;
	if (len < sizeof(w->tail)) {
		memmove(w->tail, w->tail + len, sizeof(w->tail) - len);
		memcpy(w->tail + sizeof(w->tail) - len, data, len);
	} else {
		memcpy(w->tail, data + len - sizeof(w->tail), sizeof(w->tail));
	}
}

/* --- */

/* bs_msg_emit_fn */
static enum bs_err
emit(void *ctx, const uint8_t *data, size_t len)
{
	struct basalt_ostream *bs = ctx;

	if (bs->watch != NULL)
		watch_file(bs->watch, data, len);
	ssize_t n = o_stream_send(bs->ostream.parent, data, len);

	/* Mail is written to files, which take all or fail. */
	return n >= 0 && (size_t)n == len ? BS_OK : BS_ERR_IO;
}

/* Not to be called while the encoder works: taking over the parent's error may close this stream, and free the encoder. */
static int
stream_fail(struct basalt_ostream *bs, enum bs_err err)
{
	if (bs->ostream.parent->stream_errno != 0)
		o_stream_copy_error_from_parent(&bs->ostream);
	if (bs->ostream.ostream.stream_errno == 0) {
		io_stream_set_error(&bs->ostream.iostream, "basalt: sealing: %s", bs_err_text(err));
		bs->ostream.ostream.stream_errno = EIO;
	}
	return -1;
}

static ssize_t
basalt_ostream_sendv(struct ostream_private *stream, const struct const_iovec *iov, unsigned int iov_count)
{
	struct basalt_ostream *bs = of(stream);
	size_t sent = 0;

	for (unsigned int i = 0; i < iov_count; i++) {
		enum bs_err err = bs_msg_encoder_write(bs->enc, iov[i].iov_base, iov[i].iov_len);
		if (err != BS_OK)
			return stream_fail(bs, err);
		if (bs->watch != NULL)
			watch_header(bs->watch, iov[i].iov_base, iov[i].iov_len);
		sent += iov[i].iov_len;
	}
	stream->ostream.offset += sent;
	return (ssize_t)sent;
}

static void
keep_data_key(struct basalt_ostream *bs)
{
	uint8_t id[BS_ID_LEN], key[BS_KEY_LEN];

	if (!bs->sealed)
		return;
	bs_msg_encoder_message_id(bs->enc, id);
	bs_msg_encoder_data_key(bs->enc, key);
	basalt_keymem_put(bs->writer, id, key);
	bs_wipe(key, sizeof(key));
}

static int
basalt_ostream_flush(struct ostream_private *stream)
{
	struct basalt_ostream *bs = of(stream);
	enum bs_err err;

	if (stream->finished && !bs->ended) {
		err = bs_msg_encoder_finish(bs->enc);
		if (err != BS_OK)
			return stream_fail(bs, err);
		bs->ended = true;
		keep_data_key(bs);
		if (bs->watch != NULL)
			bs->watch->ended = true;
	}
	return o_stream_flush_parent(stream);
}

struct ostream *
basalt_ostream_create(struct ostream *parent, const struct basalt_user *writer, const struct bs_record *rec)
{
	struct basalt_ostream *bs = i_new(struct basalt_ostream, 1);
	struct bs_msg_encoder_opts opts = {
		.compress = (rec->flags & BS_RECORD_FLAG_NOCOMPRESS) == 0,
		.zstd = basalt_packer(),
	};

	bs->sealed = (rec->flags & BS_RECORD_FLAG_SEALED) != 0;
	bs->writer = writer;
	opts.suite = bs->sealed ? BS_MSG_SUITE_X25519 : BS_MSG_SUITE_PLAIN;
	memcpy(opts.account_id, rec->account_id, BS_ID_LEN);
	memcpy(opts.public_key, rec->public_key, BS_KEY_LEN);
	opts.kem = bs->sealed ? basalt_exchange(rec->public_key) : NULL;
	if (bs_msg_encoder_new(&opts, emit, bs, &bs->enc) != BS_OK) {
		i_free(bs);
		return NULL;
	}
	bs->ostream.iostream.close = basalt_ostream_close;
	bs->ostream.sendv = basalt_ostream_sendv;
	bs->ostream.flush = basalt_ostream_flush;
	return o_stream_create(&bs->ostream, parent, o_stream_get_fd(parent));
}

bool
basalt_ostream_watch(struct ostream *output, struct basalt_watch *watch)
{
	struct basalt_ostream *bs;

	if (output->real_stream->sendv != basalt_ostream_sendv)
		return false;
	bs = of(output->real_stream);
	if (!bs->sealed)
		return false;
	bs->watch = watch;
	return true;
}
