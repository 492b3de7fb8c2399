/*
 * sealed: one sealed mail behind a Dovecot input stream: which bytes to fetch, when to ask for its key, what to check.
 *
 * Of the file only the beginning, the end and the touched chunks are read; a small file at once when its body is wanted.
 * Chunks come out only authenticated. Mails up to BASALT_WHOLE_MAX are decoded into one piece, of larger ones the last two
 * chunks are kept: either way a reader gets the decoder's own bytes, without a copy.
 * Reference counted: the input stream made of it and the mail that was opened hold it. When the stream goes, the bytes
 * are gone and every call is BS_ERR_IO.
 *
 *     if (basalt_sealed_begins(input)) err = basalt_sealed_new(bu, input, &sm);   // parses the prefix
 *     err = basalt_sealed_open(sm);      // key, sizes, header chunks
 *     err = basalt_sealed_check(sm);     // and the body, where it is small
 *     err = basalt_sealed_read(sm, off, &data, &len);
 */
#ifndef BASALT_SEALED_H
#define BASALT_SEALED_H

#include "plugin.h"

#include <istream.h>

#define BASALT_WHOLE_MAX (1024 * 1024) /* plaintext up to which all tags are checked before a body byte goes out */

struct basalt_sealed;

/*
 * True for our files, and for what is left of one: the magic mangled or cut, the beginning overwritten but the end there,
 * zeros, nothing at all. Leaves input at its start.
 */
bool basalt_sealed_begins(struct istream *input);
/* input is borrowed until basalt_sealed_detach(). BS_ERR_FORMAT, BS_ERR_VERSION, BS_ERR_SHORT, BS_ERR_IO. */
enum bs_err basalt_sealed_new(struct basalt_user *bu, struct istream *input, struct basalt_sealed **out) BS_MUST_USE;
void basalt_sealed_ref(struct basalt_sealed *sm);
void basalt_sealed_unref(struct basalt_sealed **sm);
/* The stream is about to close. */
void basalt_sealed_detach(struct basalt_sealed *sm);

/* Valid as long as sm. */
const struct bs_msg_prefix *basalt_sealed_prefix(const struct basalt_sealed *sm);
/* The SHA-256 that stands at the end of the file; not compared with the file. */
enum bs_err basalt_sealed_digest(struct basalt_sealed *sm, uint8_t digest[BS_HASH_LEN]) BS_MUST_USE;
struct basalt_user *basalt_sealed_user(const struct basalt_sealed *sm);

/* Idempotent; a failure is remembered and comes back at each call, but for those that are transient. */
enum bs_err basalt_sealed_open(struct basalt_sealed *sm) BS_MUST_USE;
/* Opens, and checks all chunks if the mail is small or is known to be damaged. */
enum bs_err basalt_sealed_check(struct basalt_sealed *sm) BS_MUST_USE;
/* True if that is known: of a small mail that was checked and is good. Looks at all of it. */
bool basalt_sealed_has_no_nuls(const struct basalt_sealed *sm);
/* It will probably be opened soon: its key is asked for together with the next one. */
void basalt_sealed_expect(struct basalt_sealed *sm);
/* Has _open succeeded? */
bool basalt_sealed_is_open(const struct basalt_sealed *sm);
/* After _open. */
const struct bs_msg_sizes *basalt_sealed_sizes(const struct basalt_sealed *sm);
/*
 * Plaintext from byte off to the end of what is there in one piece. Of a large mail it is valid until the next call but one,
 * of a small one as long as sm, and one call's bytes follow another's in memory. len is 0 at the end, which has been checked.
 */
enum bs_err basalt_sealed_read(struct basalt_sealed *sm, uint64_t off, const uint8_t **data, size_t *len) BS_MUST_USE;

#endif
