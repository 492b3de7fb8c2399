#include "transport.h"

#include <string.h>

/* The server's mailer "error", with status and text of its reply in the place of host and address. */
bool
transport_is_refused(struct transport_session *line, struct transport_refusal *out)
{
	const char *mailer = transport_macro(line, "{rcpt_mailer}"), *status, *text;

	if (mailer == NULL || strcmp(mailer, "error") != 0)
		return false;
	status = transport_macro(line, "{rcpt_host}");
	text = transport_macro(line, "{rcpt_addr}");
	*out = (struct transport_refusal){ status != NULL ? status : "", text != NULL ? text : "refused" };
	return true;
}
