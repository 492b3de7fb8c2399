/*
 * save: every way in which mail comes into a mailbox, and what it becomes there: suite 1 for a sealed account, suite 0 for
 * a plain one, by the account's verified public record and by nothing else. When there is no such record, or it can't be
 * trusted, the mail is not stored: MAIL_ERROR_TEMP, which LMTP answers with a 4xx.
 */
#ifndef BASALT_SAVE_H
#define BASALT_SAVE_H

struct mailbox;

/* Mail storage hook. */
void basalt_mailbox_allocated(struct mailbox *box);

#endif
