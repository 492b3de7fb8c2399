/*
 * passdb_settings: the auth module's own settings, which stand in the passdb's args, and those of Dovecot that it refuses.
 *
 * The functions that return text return NULL, or what is wrong (static, or of the data stack). Read args once, ask for unsafe settings at the start and at
 * each login: they may differ by protocol.
 *
 *     problem = passdb_settings_parse(pool, "/run/basalt/auth no_slot=locked", &set);
 */
#ifndef BASALT_PASSDB_SETTINGS_H
#define BASALT_PASSDB_SETTINGS_H

#include "compat.h"

struct auth_settings;

struct passdb_settings {
	const char *socket;
	bool locks; /* who has the site's password but no slot comes into a locked mailbox; else he is refused */
	bool enrols; /* who has the site's password and no keys at all gets some, if keyd permits it */
	bool codes_only; /* judges app passwords and nothing else, for a place before the site's own passdb */
};

const char *passdb_settings_parse(pool_t pool, const char *args, struct passdb_settings *out);
/* Whether such a password is this passdb's to judge. */
bool passdb_settings_takes(const struct passdb_settings *set, const char *password);
const char *passdb_settings_unsafe(const struct auth_settings *set);

#endif
