/*
 * compat: what differs between Dovecot 2.3 and 2.4, so that the rest of the plugin is one source.
 *
 * Built and run against 2.3.19. The 2.4 branches were written from its sources and are not run yet (docs/DOVECOT.md);
 * what 2.4 still needs is a settings module in place of plugin {}.
 * Every file of this folder includes this one first: it brings Dovecot's lib.h, which has to stand before all others.
 */
#ifndef BASALT_COMPAT_H
#define BASALT_COMPAT_H

#include <lib.h>

#if DOVECOT_PREREQ(2, 4, 0)
#define BASALT_DOVECOT_2_4 1
#else
#define BASALT_DOVECOT_2_4 0
#endif

/* True when s starts with prefix; 2.4's str_begins() has a third argument. */
#define basalt_begins(s, prefix) (strncmp((s), (prefix), strlen(prefix)) == 0)

/* The service of an auth request ("imap", "pop3", "smtp"): 2.4 renamed the field. */
#if BASALT_DOVECOT_2_4
#define BASALT_AUTH_SERVICE(request) ((request)->fields.protocol)
#else
#define BASALT_AUTH_SERVICE(request) ((request)->fields.service)
#endif

#endif
