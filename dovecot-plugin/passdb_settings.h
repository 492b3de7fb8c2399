/*
 * passdb_settings: the auth module's own settings, which stand in the passdb's args, and those of Dovecot that it refuses.
 *
 * Both functions return NULL, or what is wrong (static, or of the data stack). Read args once, ask for unsafe settings at the start and at
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
};

const char *passdb_settings_parse(pool_t pool, const char *args, struct passdb_settings *out);
const char *passdb_settings_unsafe(const struct auth_settings *set);

#endif
