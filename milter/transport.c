#include "transport.h"

#include <string.h>
#include <strings.h>

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

const char *
transport_address(struct transport_session *line, const char *name, const char *address)
{
	const char *read = transport_macro(line, name);
	size_t len = strlen(address), skip = len >= 2 && address[0] == '<' && address[len - 1] == '>' ? 1 : 0;

	if (read == NULL || read[0] == '\0')
		return address;
	len -= 2 * skip;
	return strlen(read) == len && strncasecmp(read, address + skip, len) == 0 ? address : read;
}
