/*
 * ahead: when a client fetches many mails, Dovecot opens some of them ahead (what it calls prefetching). Their data keys
 * are then asked for together: one request to keyd for BASALT_AHEAD_MAX mails, not one for each.
 */
#ifndef BASALT_AHEAD_H
#define BASALT_AHEAD_H

struct mailbox;

/* Mail storage hook. */
void basalt_ahead_mailbox_allocated(struct mailbox *box);

#endif
