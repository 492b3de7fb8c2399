/* A pop3 session's end, in a pop3 process: as bye_imap.c. */
#include "compat.h"

#include <pop3-common.h>

#include "bye.h"

#pragma weak pop3_clients

static struct client *
client_of(const struct mail_user *user)
{
	struct client *client = &pop3_clients == NULL ? NULL : pop3_clients;

	while (client != NULL && client->user != user)
		client = client->next;
	return client;
}

void
basalt_bye_pop3(struct mail_user *user, struct basalt_bye_words *words)
{
	struct client *client = client_of(user);
	/* POP3 knows no unasked response: the client reads it as the answer to its next command, and finds the connection closed. */
	const char *line = t_strdup_printf("-ERR [SYS/TEMP] %s\r\n", words->client);

	if (client == NULL || client->disconnected)
		return;
	if (basalt_bye_say(words, line, client->cmd == NULL, &client->io, client->output))
		client->v.destroy(client, t_strconcat("basalt: ", words->log, NULL));
}
