/*
 * convert_mdbox: an account's mdbox is sealed: many mails share a file there that Dovecot may be writing to, so Dovecot itself carries them over into
 * a second mdbox, by `doveadm backup`, which seals on the way; then that one takes the first one's place.
 *
 * Most of it is done while the account is in use. For the rest its mail folder is shut (mdbox_place.h): a delivery is put off by Postfix, a session
 * ended. What came meanwhile is carried after, both are compared, and names exchanged. Where anything fails it is opened again as it was. A killed
 * run is gone on with, from any moment, by the same command.
 *
 *     rc = convert_mdbox(task, &record, &result);      // as root: doveadm wants to be; back to root at its end
 *     if (rc != CTL_OK)
 *         convert_mdbox_reopen(task);
 */
#ifndef CTL_CONVERT_MDBOX_H
#define CTL_CONVERT_MDBOX_H

#include "convert.h"
#include "record.h"

struct convert_mdbox {
	json_int_t sealed; /* messages */
};

/* An exit status; it was said why. Of an account without an mdbox nothing is asked. */
int convert_mdbox(const struct convert_task *task, const struct bs_record *record, struct convert_mdbox *out);
/* Where a run that was killed left it shut, and the account is not to be converted after all. */
void convert_mdbox_reopen(const struct convert_task *task);

#endif
