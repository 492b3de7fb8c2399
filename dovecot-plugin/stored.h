/*
 * stored: the bytes of one sealed mail as they lie in its file, behind the input stream that Dovecot opened.
 *
 * Three windows on the file: its beginning, which Dovecot's stream has read already; its last pages, for footer and
 * trailer; and what was asked for last. Where the stream has a descriptor, pread() fetches exactly what is wanted: a
 * stream would read ahead. The stream is borrowed: after basalt_stored_detach() what is not in a window is BS_ERR_IO.
 *
 *     err = basalt_stored_open(&st, bu, input);
 *     err = basalt_stored_bytes(&st, off, len, &data);
 *     basalt_stored_close(&st);
 */
#ifndef BASALT_STORED_H
#define BASALT_STORED_H

#include "plugin.h"

#include <istream.h>

enum { BASALT_WINDOW_HEAD, BASALT_WINDOW_TAIL, BASALT_WINDOW_WORK, BASALT_WINDOWS };

struct basalt_window {
	uint8_t *bytes; /* NULL: nothing */
	uint64_t off;   /* in the file */
	size_t len;
	size_t room;
};

struct basalt_stored {
	struct basalt_user *bu;
	struct istream *input; /* NULL once detached */
	uint64_t size;
	struct basalt_window windows[BASALT_WINDOWS];
};

/* len bytes at off of a stream that nobody has wrapped, by pread() where that is possible. Moves the stream. */
enum bs_err basalt_stored_fetch(struct istream *input, uint64_t off, size_t len, uint8_t *out) BS_MUST_USE;

/* BS_ERR_IO; then there is nothing to close. */
enum bs_err basalt_stored_open(struct basalt_stored *st, struct basalt_user *bu, struct istream *input) BS_MUST_USE;
void basalt_stored_close(struct basalt_stored *st);
void basalt_stored_detach(struct basalt_stored *st);
/* len bytes at off, in one read if they are in no window; valid until the next call. BS_ERR_SHORT: the file is shorter. */
enum bs_err basalt_stored_bytes(struct basalt_stored *st, uint64_t off, size_t len, const uint8_t **data) BS_MUST_USE;
/* The file's first bytes, at least max of them if it has so many; valid until _close. */
const uint8_t *basalt_stored_head(const struct basalt_stored *st, size_t max, size_t *len);
/* Gives back the memory of the last window. */
void basalt_stored_done(struct basalt_stored *st);

#endif
