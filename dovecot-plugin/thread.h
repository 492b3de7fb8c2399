/*
 * thread: THREAD leaves no index on disk.
 *
 * Dovecot keeps what it worked out for THREAD in dovecot.index.thread: a CRC of each Message-ID and reference, and who
 * answers whom. For a sealed account that stays in the imap process: its next THREADs in the same session are as quick
 * as ever, the first one of a session works it out anew (from the sealed index cache). A file from before goes when its
 * mailbox is opened by whoever reads or converts it.
 */
#ifndef BASALT_THREAD_H
#define BASALT_THREAD_H

#include "compat.h"

struct mailbox;

/* A hook of mail_storage_hooks. */
void basalt_thread_mailbox_allocated(struct mailbox *box);
/* The same, when the mailbox is open. */
void basalt_thread_mailbox_opened(struct mailbox *box);

#endif
