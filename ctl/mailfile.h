/*
 * mailfile: where the messages lie in a mail file: a Maildir file is one message; Dovecot's sdbox u.N and mdbox m.N wrap
 * one or many in headers and metadata of their own (lib-storage/index/dbox-common/dbox-file.h).
 *
 * Reads by pread() only, believes no length that it did not check against the file's size, allocates nothing. Any thread.
 * Errors: BS_ERR_FORMAT (a dbox frame is damaged: *bad_off says where; what lies behind was not seen), BS_ERR_VERSION,
 * BS_ERR_IO (errno), and what fn returns.
 *
 *     err = ctl_mailfile_each(fd, size, on_message, ctx, &bad_off);
 */
#ifndef CTL_MAILFILE_H
#define CTL_MAILFILE_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum ctl_mailfile_kind { CTL_MAILFILE_SINGLE, CTL_MAILFILE_DBOX };

struct ctl_mail {
	enum ctl_mailfile_kind kind;
	uint64_t head; /* where dbox's own header of it begins */
	uint64_t off;  /* in the file */
	uint64_t len;
};

/* What it returns other than BS_OK ends the walk. */
typedef enum bs_err (*ctl_mail_fn)(void *ctx, const struct ctl_mail *mail);

enum bs_err ctl_mailfile_each(int fd, uint64_t size, ctl_mail_fn fn, void *ctx, uint64_t *bad_off) BS_MUST_USE;
/* The same of a file that is opened for it; *fd is that while fn is called. BS_ERR_NOENT: it is gone. BS_ERR_FORMAT: no regular file, too. */
enum bs_err ctl_mailfile_look(const char *path, int *fd, ctl_mail_fn fn, void *ctx) BS_MUST_USE;
/* Says in the header of a dbox message that it is len bytes long. BS_ERR_IO. */
enum bs_err ctl_mailfile_set_len(int fd, const struct ctl_mail *mail, uint64_t len) BS_MUST_USE;
/* Reads up to len bytes at off; short only at the end of the file. */
enum bs_err ctl_pread(int fd, uint64_t off, void *out, size_t len, size_t *got) BS_MUST_USE;

#endif
