/*
 * substitute: what a listing shows of a mail that can't be read, so that one bad mail does not fail the listing of a folder
 * (mutt, mbsync and others give up on a FETCH of all messages that ends in NO).
 *
 * In imap, and only for mails that stay unreadable, headers, ENVELOPE, BODYSTRUCTURE, PREVIEW, SORT, THREAD and SEARCH see
 * a header made here: who says so (postmaster), what is the matter (Subject), the mail's own INTERNALDATE as Date. Of a mail
 * whose header is good they see that; only BODYSTRUCTURE and PREVIEW are made up then. Nothing ever gets a made-up body:
 * BODY[...], RFC822, BINARY and POP3's RETR are refused, so that no client takes this for the mail, keeps it, copies it to
 * another server and deletes the original. Sizes are the mail's. Nothing of it is cached (data.no_caching; who caches
 * by himself asks basalt_substitute_in_use()).
 *
 *     basalt_substitute_mail_allocated(mail);    // mail storage hook, of the first in order
 *     basalt_substitute_note(mail, err);         // by unreadable.c: why it can't be read
 */
#ifndef BASALT_SUBSTITUTE_H
#define BASALT_SUBSTITUTE_H

#include "plugin.h"

void basalt_substitute_mail_allocated(struct mail *mail);
void basalt_substitute_note(struct mail *mail, enum bs_err err);
/* True when what the mail answers now is made up: it must not be kept. */
bool basalt_substitute_in_use(struct mail *mail);

#endif
