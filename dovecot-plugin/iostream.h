/*
 * iostream: the two Dovecot streams: plaintext out of a sealed mail, and sealed bytes out of plaintext.
 *
 *     input = basalt_istream_create(parent, sm);       // seekable anywhere, only touched chunks are decoded
 *     output = basalt_ostream_create(parent, bu, rec); // o_stream_finish() writes the last chunk and the trailer
 */
#ifndef BASALT_IOSTREAM_H
#define BASALT_IOSTREAM_H

#include "sealed.h"

struct ostream;

/* Takes a reference to sm. parent is the stream that sm reads. */
struct istream *basalt_istream_create(struct istream *parent, struct basalt_sealed *sm);
/* What is lent at once where nobody parses: a mail up to BASALT_WHOLE_MAX goes to the client in one piece. */
#define BASALT_LEND_MAX BASALT_WHOLE_MAX
/* writer is the user who saves: the data key is kept for him, so that he can read what he just wrote. NULL on failure. */
struct ostream *basalt_ostream_create(struct ostream *parent, const struct basalt_user *writer, const struct bs_record *rec);

#endif
