#include "conf_value.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A whole decimal number below 2^31. */
static bool
parse_id(const char *text, unsigned *out)
{
	char *end;
	unsigned long v;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno != 0 || *end != '\0' || v > INT32_MAX)
		return false;
	*out = (unsigned)v;
	return true;
}

bool
bs_conf_user(const char *text, uid_t *uid, gid_t *gid)
{
	const struct passwd *pw;
	unsigned n;

	if (parse_id(text, &n)) {
		*uid = n;
		*gid = n;
		return true;
	}
	pw = getpwnam(text);
	if (pw == NULL)
		return false;
	*uid = pw->pw_uid;
	*gid = pw->pw_gid;
	return true;
}

bool
bs_conf_group(const char *text, gid_t *gid)
{
	const struct group *gr;
	unsigned n;

	if (parse_id(text, &n)) {
		*gid = n;
		return true;
	}
	gr = getgrnam(text);
	if (gr != NULL)
		*gid = gr->gr_gid;
	return gr != NULL;
}

bool
bs_conf_log(const char *text)
{
	return text[0] == '/' || strcmp(text, "stderr") == 0 || strcmp(text, "syslog") == 0;
}

bool
bs_conf_level(const char *text, enum bs_log_level *level)
{
	static const char *const names[] = { "debug", "info", "warning", "error" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i], text) == 0) {
			*level = (enum bs_log_level)i;
			return true;
		}
	}
	return false;
}

enum bs_err
bs_conf_complain(const char *path, const char *key, const char *value, const char *what, char *errbuf, size_t errbuf_size)
{
	(void)snprintf(errbuf, errbuf_size, "%s: %s: \"%s\" %s", path, key, value, what);
	return BS_ERR_CONF;
}
