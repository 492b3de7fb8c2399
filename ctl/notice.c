#include "notice.h"

#include <time.h>

#include "ctl.h"
#include "sendmail.h"

static int
make_text(const char *address, const char *what, const char *detail, char *out, size_t size)
{
	bool more = detail != NULL && detail[0] != '\0';
	char when[32];

	ctl_time((uint64_t)time(NULL), when);
	return snprintf(out, size,
	    "To: %s\nSubject: The keys of your mailbox were changed\nAuto-Submitted: auto-generated\n"
	    "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
	    "%s%s%s.\n\nAccount: %s\nTime: %s UTC\n\n"
	    "If this was not you, and nobody told you of it, ask your administrator now.\n",
	    address, what, more ? ": " : "", more ? detail : "", address, when);
}

bool
ctl_notice(const struct ctl *ctl, const char *address, const char *what, const char *detail)
{
	char text[2048];
	int len = make_text(address, what, detail, text, sizeof(text));
	const char *why;

	if (ctl->settings.notify[0] == '\0')
		return true;
	why = len > 0 && (size_t)len < sizeof(text) ? ctl_sendmail(ctl, address, text, (size_t)len) : "its text is too long";
	if (why != NULL)
		fprintf(stderr, "basaltctl: warning: the change is made, but %s was not told by mail: %s\n", address, why);
	return why == NULL;
}
