/* An imap session's end, in an imap process; imap's own symbols are weak, since the plugin is loaded elsewhere, too. */
#include "compat.h"

#include <imap-common.h>

#include "bye.h"

#pragma weak imap_clients

static struct client *
client_of(const struct mail_user *user)
{
	struct client *client = &imap_clients == NULL ? NULL : imap_clients;

	while (client != NULL && client->user != user)
		client = client->next;
	return client;
}

void
basalt_bye_imap(struct mail_user *user, struct basalt_bye_words *words)
{
	struct client *client = client_of(user);
	const char *line = t_strdup_printf("* BYE %s%s\r\n", words->passing ? "[UNAVAILABLE] " : "", words->client);

	/* A disconnected one is freed by imap in a moment. */
	if (client == NULL || client->disconnected)
		return;
	/* The lock: a response is out by half, a message's literal say. Its keys are in this process: it comes to its end. */
	if (basalt_bye_say(words, line, client->output_cmd_lock == NULL, &client->io, client->output))
		client->v.destroy(client, t_strconcat("basalt: ", words->log, NULL));
}
