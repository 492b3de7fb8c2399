/* fuzz_authres: header values. What we write for any login is ours again; and our name in front of anything is never
 * taken for another's. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "milter/authres.h"

#define ID "mx.example.org"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
need(bool ok)
{
	if (!ok)
		abort();
}

/* text as login, mechanism, sender, HELO, and as what a signature says of itself. */
static void
write_all(const char *text)
{
	struct session *session = NULL;
	struct auth *auth;
	char out[AUTHRES_MAX];

	need(session_new(&session) == BS_OK);
	auth = &session->msg.auth;
	if (session_set(session, &session->auth_method, text) != BS_OK ||
	    session_set(session, &session->auth_login, text) != BS_OK ||
	    session_set(session, &session->helo, text) != BS_OK || session_set(session, &session->msg.sender, text) != BS_OK)
		goto out;
	auth->mailfrom.done = auth->helo.done = auth->dmarc.done = true;
	auth->n_dkim = 1;
	auth_clean(auth->dkim[0].domain, sizeof(auth->dkim[0].domain), text);
	auth_clean(auth->dkim[0].reason, sizeof(auth->dkim[0].reason), text);
	if (authres_write(ID, session, out, sizeof(out)) == BS_OK) {
		need(authres_claims(out, ID) && !authres_claims(out, "other.example"));
		need(strchr(out, '\r') == NULL && strlen(out) < sizeof(out));
	}
out:
	session_free(session);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char front[] = " (c)" ID " ;";
	char *text = malloc(size + sizeof(front));

	if (text == NULL || size > 100000)
		goto out;
	memcpy(text, data, size);
	text[size] = '\0';
	(void)authres_claims(text, ID);
	write_all(text);
	memcpy(text, front, sizeof(front) - 1);
	memcpy(text + sizeof(front) - 1, data, size);
	text[size + sizeof(front) - 1] = '\0';
	need(authres_claims(text, ID));
out:
	free(text);
	return 0;
}
