/* basaltctl trace-key: the key of what the milters remember. Needs no configuration and no daemon. */
#include "trace_key.h"

#include "ctl.h"
#include "verbs.h"

#define KEY_GROUP "basalt-milter" /* systemd/basalt.sysusers: the milter is never root where systemd starts it */

int
trace_key_new(struct ctl *ctl)
{
	char why[512] = "";
	const char *path = ctl->args.words[0];
	enum bs_err err = bs_trace_key_new(path, ctl_key_group(KEY_GROUP, path), why, sizeof(why));

	return err == BS_OK ? CTL_OK : ctl_fail(err, "%s", why);
}
