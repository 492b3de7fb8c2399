/*
 * cache: the sealed index cache. In a mailbox of a sealed account dovecot.index.cache holds no field of Dovecot's own,
 * only blobs of common/cacheblob.h: one of a mail's storing (its key comes from the mail's data key), one of a session
 * (under the account's cache subkey). An opened blob primes Dovecot's mail object, so that ENVELOPE, BODYSTRUCTURE,
 * HEADER.FIELDS, SEARCH, SORT and THREAD neither open the mail's file nor ask basalt-keyd.
 *
 * A blob that does not open, for whatever reason, is as good as none: the file is read, and a new blob is written. Nothing
 * of this fails a command. Processes without a session open nothing and write nothing but what they store themselves.
 *   cache.c        mailboxes: which are sealed, finding and adding blobs
 *   cache_keys.c   the cache subkey, and data keys of many mails at once
 *   cache_open.c   a mail's blobs opened, and Dovecot's mail object told of it
 *   cache_mail.c   what Dovecot asks of a mail answered from them, else from its file
 *   cache_learn.c  a mail that was read becomes a blob
 *   cache_save.c   a mail that is stored or copied becomes one
 */
#ifndef BASALT_CACHE_H
#define BASALT_CACHE_H

#include "plugin.h"

/* Mail storage hooks. A mail's has to run before basalt_mail_allocated(): it is called first then. */
void basalt_cache_mailbox_allocated(struct mailbox *box);
void basalt_cache_mailbox_opened(struct mailbox *box);
void basalt_cache_mail_allocated(struct mail *mail);
/* The header of this mail can be had without its file. */
bool basalt_cache_has_header(struct mail *mail);
/* Wipes the user's cache keys. */
void basalt_cache_user_deinit(struct basalt_user *bu);

#endif
