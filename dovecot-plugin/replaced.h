/*
 * replaced: no mail is lost in a file that mdbox has replaced. While one process appends to m.5, another may rebuild the account's
 * storage, after a crash or by doveadm force-resync. It does not ask whether somebody has the file locked: it takes a mail
 * that is half there for damage, writes the others into a new m.5 and renames it over the old. The first process goes on in a file
 * that has no name any more, or appends to one that it had open for reading, and Dovecot answers OK; what the index says of
 * the mail then points behind the new file's end, or at another letter.
 *
 * Here a mail counts as stored only while the file that it was written to is the one that its name leads to: before the storage's
 * map is locked, and once it is, since who rebuilds holds that lock. Else it is MAIL_ERROR_TEMP, and the sender tries again.
 */
#ifndef BASALT_REPLACED_H
#define BASALT_REPLACED_H

struct mailbox;

/* Mail storage hook; has to be next to Dovecot's own functions. */
void basalt_replaced_mailbox_allocated(struct mailbox *box);

#endif
