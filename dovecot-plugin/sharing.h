/*
 * sharing: single folders of a sealed account can't be shared: who visits has no key of them. Both ends are told so.
 *
 * Granting a right to somebody else (SETACL, doveadm acl set or add; not dsync, which carries what there is) fails, and so does opening
 * such a folder through a shared namespace, for whatever but storing mail into it. The text names what can be done. The acl
 * plugin, which need not be loaded, is found by its symbols. Plain accounts are left alone.
 */
#ifndef BASALT_SHARING_H
#define BASALT_SHARING_H

struct mailbox;

/* Mail storage hook. */
void basalt_sharing_mailbox_allocated(struct mailbox *box);

#endif
