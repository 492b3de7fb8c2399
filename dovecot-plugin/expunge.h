/*
 * expunge: the index's log says which mail was expunged, by its GUID: replication needs that, or it can take a mail that one side
 * expunged for one that the other side got. Dovecot looks for the GUID in its index cache alone, where a sealed account has
 * none. So it is looked up first, in the mail's own metadata.
 */
#ifndef BASALT_EXPUNGE_H
#define BASALT_EXPUNGE_H

struct mail;

/* Mail storage hook. */
void basalt_expunge_mail_allocated(struct mail *mail);

#endif
