/* A pop3 session's end, in a pop3 process: as bye_imap.c. */
#include "compat.h"

#include <pop3-common.h>
#include <ostream.h>

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

/* POP3 knows no unasked response: the client reads it as the answer to its next command, and finds the connection closed. */
static void
say(struct client *client, const struct basalt_bye_words *words)
{
	io_remove(&client->io);
	o_stream_unset_flush_callback(client->output);
	o_stream_nsend_str(client->output, t_strdup_printf("-ERR [SYS/TEMP] %s\r\n", words->client));
}

void
basalt_bye_pop3(struct mail_user *user, struct basalt_bye_words *words)
{
	struct client *client = client_of(user);

	if (client == NULL || client->disconnected)
		return;
	if (client->cmd == NULL && !words->said) {
		say(client, words);
		words->said = true;
	}
	words->sent = basalt_bye_sent(client->output);
	if (!words->late && (!words->said || o_stream_flush(client->output) == 0))
		return;
	client->v.destroy(client, t_strconcat("basalt: ", words->log, NULL));
}
