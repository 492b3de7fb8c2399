/*
 * surroundings: what around the plugin would leave a sealed mail's text on a disk, and is refused.
 *
 * Dovecot and its other plugins write text to more places than mail files: temporary files, logs, search indexes. Each
 * place that a setting opens is looked at when a mail user is made; the text of a refusal ends with what to set. A
 * refused delivery waits (4xx). docs/DOVECOT.md has the list.
 *
 *     if (basalt_surroundings_check(user, &error) < 0)
 *         user->error = error;
 */
#ifndef BASALT_SURROUNDINGS_H
#define BASALT_SURROUNDINGS_H

#include "compat.h"

struct mail_user;

/* 0, or -1 with the reason. A few system calls: it is made for each login and each delivery. */
int basalt_surroundings_check(struct mail_user *user, const char **error_r);
/*
 * lmtp spools a mail above 64 KiB before any recipient's mail user is made, by the service's own mail_temp_dir, whatever the
 * recipients' say. _check_spool() looks at it when lmtp loads the plugin, at its first connection; basalt_check_temp_dir()
 * at the user that holds mail on its way in, of each later one: settings may differ by address (`remote ... { }`).
 */
int basalt_check_spool(const char **error_r);
int basalt_check_temp_dir(struct mail_user *user, const char **error_r);
/* Does path, or the folder that it would stand in, lie in memory (tmpfs, ramfs)? */
bool basalt_is_memory(const char *path);
/* Is this Dovecot plugin ("sieve", "fts") loaded? */
bool basalt_has_plugin(const char *name);
/* No core files of this process, and of no child. */
void basalt_no_cores(void);
/* The half of it that the kernel forgets when the process changes its user. */
void basalt_not_dumpable(void);

#endif
