/*
 * passdb_site: what a passdb of the site's own, which stands before this one, has said of a login's password, and how far it
 * can be believed.
 *
 * Dovecot tells those that follow little: that a password counts as right. For opening keys that is enough, since keys open
 * themselves or not. To make keys from a password it has to be certain that it was checked, now, and is this user's: for that each
 * passdb which judges has the line PASSDB_SITE_MARK, and all that could make the word false is a doubt.
 *
 *     if (passdb_site_says_right(request)) ...
 *     doubt = passdb_site_doubt(request);          // NULL, or why not (static text)
 */
#ifndef BASALT_PASSDB_SITE_H
#define BASALT_PASSDB_SITE_H

#include "compat.h"

struct auth_request;

/* In override_fields of each passdb that judges: Dovecot forgets "nopassword" before the next one is asked. */
#define PASSDB_SITE_MARK "basalt_password=%{passdb:nopassword:checked}"

/* A passdb before this one has judged the password; for a master login that would be somebody else's. */
bool passdb_site_says_right(const struct auth_request *request);
/* What speaks against making keys for the user from this request's password. */
const char *passdb_site_doubt(struct auth_request *request);
/* Only these services open mail. */
bool passdb_site_opens_mail(const struct auth_request *request);

#endif
