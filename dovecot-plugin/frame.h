/*
 * frame: sdbox and mdbox keep INTERNALDATE and sizes behind each message, in the same file. Where a cut or rot took that away,
 * Dovecot would call the whole mailbox corrupted, rebuild its index at each listing, and end the session at the second.
 *
 * So the place is looked at first, and if nothing is there, answers are made from what is left: the file's time, the
 * sizes in the mail's own trailer, else what lies on disk. Damage at the beginning of a frame Dovecot repairs by itself.
 *
 *     basalt_frame_mail_allocated(mail);    // mail storage hook, of the last in order
 */
#ifndef BASALT_FRAME_H
#define BASALT_FRAME_H

#include "plugin.h"

void basalt_frame_mail_allocated(struct mail *mail);

#endif
