/*
 * builtfor: whether this process is the Dovecot for which the plugin was built.
 *
 * Dovecot compares DOVECOT_ABI_VERSION when it loads a module. Distributions change structures inside Dovecot without it, in a security
 * update say, and a plugin that reads the old ones crashes, or worse. So the build ids of Dovecot's libraries and programs are
 * noted when the plugin is built (tools/dovecot-builds) and compared when it is loaded.
 */
#ifndef BASALT_BUILTFOR_H
#define BASALT_BUILTFOR_H

#include <stdbool.h>

/* False: error_r (data stack) names the file that is another one, and the way out. What has no build id is not judged. */
bool basalt_built_for_this(const char **error_r);

#endif
