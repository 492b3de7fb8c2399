/*
 * msgfmt_reseal: a sealed message (suite 1) for another key of its account: bytes in, as many bytes out.
 *
 * Message id, data key, compression, sizes, and so every length and place in the file stay. The prefix is new, and what is bound
 * to it: each chunk is opened and sealed again under keys of the new prefix, without being decompressed. The caller gives frames in
 * the file's order (FORMAT.message.md: chunks, then the trailer), each whole, and then the footer; nothing comes out that did not
 * authenticate. That all frames were there the trailer alone can tell: read the result before you trust it. One thread an object.
 * Errors: BS_ERR_AUTH (damaged, or a weak public key), BS_ERR_FORMAT (no frame that may come here), BS_ERR_NOKEY (suite 0), BS_ERR_NOMEM.
 *
 *     err = bs_msg_reseal_new(&prefix, data_key, public_key, &rs);
 *     write(bs_msg_reseal_prefix(rs), prefix.len);
 *     err = bs_msg_reseal_frame(rs, frame, len);      // in place, as often as there are frames
 *     bs_msg_reseal_footer(rs, footer);               // in place
 */
#ifndef BS_MSGFMT_RESEAL_H
#define BS_MSGFMT_RESEAL_H

#include "msgfmt.h"

#define BS_MSG_RESEAL_HEAD_LEN 8 /* of a frame: what bs_msg_reseal_frame_len() needs */

struct bs_msg_reseal;

/* Checks data_key against the prefix. */
enum bs_err bs_msg_reseal_new(const struct bs_msg_prefix *prefix, const uint8_t data_key[BS_KEY_LEN],
    const uint8_t public_key[BS_KEY_LEN], struct bs_msg_reseal **out) BS_MUST_USE;
void bs_msg_reseal_free(struct bs_msg_reseal *rs);
/* The new prefix, as long as the old one; rs owns it. */
const uint8_t *bs_msg_reseal_prefix(const struct bs_msg_reseal *rs);
/* The length of the frame that begins so; 0: it does not look like one. */
size_t bs_msg_reseal_frame_len(const uint8_t head[BS_MSG_RESEAL_HEAD_LEN]);
enum bs_err bs_msg_reseal_frame(struct bs_msg_reseal *rs, uint8_t *frame, size_t len) BS_MUST_USE;
/* Puts the digest of all that came out in the place of the old one. */
void bs_msg_reseal_footer(struct bs_msg_reseal *rs, uint8_t footer[BS_MSG_FOOTER_LEN]);

#endif
