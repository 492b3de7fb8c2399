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
/*
 * For the index cache: what goes through a stream of basalt_ostream_create(), while the mail is written. watch has to live
 * until the stream is destroyed; its header buffer is the caller's.
 */
#define BASALT_WATCH_HEADER_MAX (64 * 1024)
struct basalt_watch {
	buffer_t *header;                    /* plaintext up to the empty line, or somewhat more */
	bool header_ended;
	uint8_t prefix[BS_MSG_PREFIX_MAX];   /* the file's first bytes */
	size_t prefix_len;
	uint8_t tail[BS_HASH_LEN];           /* its last ones */
	bool ended;                          /* the mail is sealed and written; its data key is in keymem */
};
/* False when output is another stream, or the mail is not encrypted. */
bool basalt_ostream_watch(struct ostream *output, struct basalt_watch *watch);

#endif
