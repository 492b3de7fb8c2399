/*
 * hibernate: an imap session that Dovecot puts to sleep in imap-hibernate (imap_hibernate_timeout), and what wakes it.
 *
 * The imap process ends then, and its session with keyd with it. Before that, when imap exports its client's state, a resume token is
 * asked of keyd and stands in the userdb's field in place of the login's token, which is used: so it goes to imap-hibernate and comes
 * back to the imap process that wakes the session, which begins it with that token as if it were a login's. Without a token imap is told that its
 * state can't be kept, and goes on as it is. imap does not say whether imap-hibernate took the client over: who is still here when
 * the event loop comes round was not, and gives the token back.
 *
 *     basalt_hibernate_init();         // the plugin is loaded; does nothing outside imap
 *     basalt_hibernate_end(bu);        // the user goes, asleep or not; before its session
 */
#ifndef BASALT_HIBERNATE_H
#define BASALT_HIBERNATE_H

#include "plugin.h"

void basalt_hibernate_init(void);
void basalt_hibernate_deinit(void);
void basalt_hibernate_end(struct basalt_user *bu);

#endif
