/* An imap session's end, in an imap process; imap's own symbols are weak, since the plugin is loaded elsewhere, too. */
#include "compat.h"

#include <imap-common.h>
#include <ostream.h>

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

/* No command says anything after this. */
static void
say(struct client *client, const struct basalt_bye_words *words)
{
	io_remove(&client->io);
	o_stream_unset_flush_callback(client->output);
	o_stream_nsend_str(client->output, t_strdup_printf("* BYE %s%s\r\n", words->passing ? "[UNAVAILABLE] " : "", words->client));
}

void
basalt_bye_imap(struct mail_user *user, struct basalt_bye_words *words)
{
	struct client *client = client_of(user);

	/* A disconnected one is freed by imap in a moment. */
	if (client == NULL || client->disconnected)
		return;
	/* The lock: a response is out by half, a message's literal say. Its keys are in this process: it comes to its end. */
	if (client->output_cmd_lock == NULL && !words->said) {
		say(client, words);
		words->said = true;
	}
	words->sent = basalt_bye_sent(client->output);
	if (!words->late && (!words->said || o_stream_flush(client->output) == 0))
		return;
	client->v.destroy(client, t_strconcat("basalt: ", words->log, NULL));
}
