/*
 * rawsync: dsync (doveadm backup, sync, dsync-server) carries sealed mail unopened, in a process that has no keys.
 *
 * Where such a process reads a mail for dsync it gets a carrier (carrier.h): the sizes that Dovecot knows, and the file's
 * own bytes. Where it saves for dsync, a carrier's bytes go into the file as they are, if they are this account's. doveadm import
 * copies an account's own mail in the same way.
 * Nothing of it touches a mail user that dsync has not marked its own (mail_user.dsyncing, which only doveadm sets), but for
 * the moment of such a copy: what imap, lmtp or doveadm save are given is sealed, whatever it looks like.
 *
 * read.c asks _wanted and _get_stream, save.c _begin; the rest are hooks. Read docs/DOVECOT.md, "Backup and replication".
 */
#ifndef BASALT_RAWSYNC_H
#define BASALT_RAWSYNC_H

#include "compat.h"

struct bs_record;
struct istream;
struct mail;
struct mail_save_context;
struct mailbox;
struct mail_user;

/* Can that be, ever: is it doveadm's? */
bool basalt_rawsync_possible(const struct mail_user *user);
/* Mail of this user comes and goes as carriers now. */
bool basalt_rawsync_active(struct mail_user *user);
/* And there is no key. */
bool basalt_rawsync_wanted(struct mail_user *user);

/*
 * For one copy between two mail users of one account in a process without keys, as doveadm import makes it: carriers go from one to the
 * other. False: it is another copy. True: call _copy_end() after it.
 */
bool basalt_rawsync_copy_begin(struct mailbox *dest, struct mail *src);
void basalt_rawsync_copy_end(struct mailbox *dest, struct mail *src);

/* --- reading --- */

/* Mail storage hook. */
void basalt_rawsync_mail_allocated(struct mail *mail);
/*
 * What dsync is to read of a sealed mail. 1: stream_r is set, and the mail's until it is closed. 0: no sealed mail, or
 * it is to be counted: read it as ever, and hand what was not counted to _escape. -1: with the mail storage's error set.
 */
int basalt_rawsync_get_stream(struct mail *mail, bool count, struct istream **stream_r);
void basalt_rawsync_escape(struct mail *mail, struct istream **stream);

/* --- saving --- */

/* Mail storage hook: stands between basalt_mailbox_allocated's and the storage. */
void basalt_rawsync_mailbox_allocated(struct mailbox *box);
/* 1: input is a carrier, its saving has begun. 0: a plaintext mail, to be sealed. -1: with the error set. */
int basalt_rawsync_save_begin(struct mail_save_context *ctx, struct istream *input, const struct bs_record *rec);
/* The sizes of the mail that is being saved; both 0: as Dovecot counts them. */
void basalt_rawsync_set_sizes(struct mail *dest, uint64_t physical_len, uint64_t virtual_len);
void basalt_rawsync_unset_sizes(struct mail *dest);

#endif
