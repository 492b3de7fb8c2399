/* basaltctl trace-key: the key of what the milters remember. Needs no configuration and no daemon. */
#include "trace_key.h"

#include "ctl.h"
#include "verbs.h"

int
trace_key_new(struct ctl *ctl)
{
	char why[512] = "";
	enum bs_err err = bs_trace_key_new(ctl->args.words[0], why, sizeof(why));

	return err == BS_OK ? CTL_OK : ctl_fail(err, "%s", why);
}
