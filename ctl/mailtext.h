/*
 * mailtext: the text of the one message in an open mail file, sealed or not: where it lies, what opens it, and its bytes as a mail
 * reader gets them, each checked before it is handed out.
 *
 * The file's bytes do not change meanwhile. Errors: mailfile.h's and msgfmt.h's; BS_ERR_ARG: a file of
 * several messages (mdbox). One thread.
 *
 *     err = mailtext_open(&m, path);
 *     err = mailtext_key(session, &m.prefix, data_key);         // of a sealed one
 *     err = mailtext_each(&m, data_key, take, ctx);
 *     mailtext_close(&m);
 */
#ifndef CTL_MAILTEXT_H
#define CTL_MAILTEXT_H

#include "keyclient.h"
#include "mailfile.h"

struct mailtext {
	int fd;
	uint64_t file_size;
	struct ctl_mail mail;
	uint8_t bytes[BS_MSG_PREFIX_MAX];
	struct bs_msg_prefix prefix; /* leads into bytes; its bytes are NULL: not sealed */
};

typedef enum bs_err (*mailtext_fn)(void *ctx, const uint8_t *text, size_t len);

/* BS_ERR_CONFLICT: there is no such file any more. BS_ERR_SHORT: it is empty. _close() leaves errno as it is. */
enum bs_err mailtext_open(struct mailtext *m, const char *path) BS_MUST_USE;
void mailtext_close(struct mailtext *m);
/* The same of a descriptor, which stays the caller's. */
enum bs_err mailtext_find(struct mailtext *m, int fd) BS_MUST_USE;
/* The data key, by the account's session: waits where keyd says that others come first. */
enum bs_err mailtext_key(struct bs_keyclient *session, const struct bs_msg_prefix *prefix, uint8_t data_key[BS_KEY_LEN]) BS_MUST_USE;
/* All of the text in order; data_key is NULL where nothing is encrypted. A sealed message is read as a mail reader does. */
enum bs_err mailtext_each(const struct mailtext *m, const uint8_t *data_key, mailtext_fn fn, void *ctx) BS_MUST_USE;
enum bs_err mailtext_digest(const struct mailtext *m, const uint8_t *data_key, uint8_t out[BS_HASH_LEN]) BS_MUST_USE;
/* len bytes at off of the file; BS_ERR_SHORT: it has no more. */
enum bs_err mailtext_read(int fd, uint64_t off, void *out, size_t len) BS_MUST_USE;

#endif
