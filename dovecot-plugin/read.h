/*
 * read: opening mails. Plaintext, suite 0 and sealed mails stand side by side: each is told by its first bytes.
 *
 *     basalt_mail_allocated(mail);                        // the hook
 *     state = basalt_mail_probe(mail, &prefix);           // what is it? for copying; asks keyd nothing
 */
#ifndef BASALT_READ_H
#define BASALT_READ_H

#include "sealed.h"

enum basalt_state {
	BASALT_PLAINTEXT, /* not one of our files */
	BASALT_SEALED,    /* one of our files, of either suite */
	BASALT_BROKEN,    /* one of our files, but its prefix can't be read; or it could not be opened at all */
};

/* Mail storage hook. */
void basalt_mail_allocated(struct mail *mail);
/* Opens the mail's file without decoding. prefix_r is set for BASALT_SEALED, valid until the mail is closed. */
enum basalt_state basalt_mail_probe(struct mail *mail, const struct bs_msg_prefix **prefix_r);
/* The file's own bytes, of a mail that is open in a process that works for dsync without keys; NULL otherwise. */
struct istream *basalt_mail_raw(struct mail *mail);
/* The sealed file behind the mail's open stream; NULL: not open, or not one of our files. outermost_r: no other plugin made
 * another mail of it. */
struct basalt_sealed *basalt_mail_sealed(struct mail *mail, bool *outermost_r);

#endif
