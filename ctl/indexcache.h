/*
 * indexcache: what Dovecot's index files remember of the text of mails, for the folders of a sealed account, where Basalt's plugin keeps
 * sealed fields alone (docs/FORMAT.cache.md).
 *
 * A cache with fields of Dovecot's own was written before the account was sealed, or by a session that has gone on since. It is unlinked:
 * Dovecot makes it anew, and a process that has it open notices (one line in its log). Errors are errno's.
 *
 *     removed += indexcache_purge(path, &error);
 */
#ifndef CTL_INDEXCACHE_H
#define CTL_INDEXCACHE_H

#include <stdbool.h>

#define INDEXCACHE_NAME "dovecot.index.cache"

/* path: a file of an index. True: it may have held text, and is gone. *error is set where it could not be read or unlinked. */
bool indexcache_purge(const char *path, int *error);
/* Whatever it holds: of mails that are other files now. */
bool indexcache_forget(const char *path, int *error);

#endif
