/*
 * Greylist: who has never written to the account is asked to come again, which mail servers do and much that is none does not.
 *
 * What is known is the account, the client's network (/24, /64) or, where SPF passes, the sender's domain (whose servers take
 * turns), and the sender's stem (sender.h). A client or domain with greylist.passes messages that passed waits no more. Shared
 * by all milters of the site (ledger.h).
 */
#include <inttypes.h>
#include <string.h>

#include "address.h"
#include "auth_spf.h"
#include "check.h"
#include "ledger.h"
#include "network.h"
#include "sender.h"
#include "settings.h"

#define DEADLINE_MS 2000

/* Who sends: "@example.net", all servers of a domain, or a network. False: somebody without an address. */
static bool
client_of(struct check_call *call, char out[SENDER_MAX + 1])
{
	int64_t spf_deadline_ms = check_until_ms(call, call->services->settings->spf_timeout_ms);
	const struct session *session = call->session;
	struct network_addr addr;
	char text[NETWORK_TEXT_MAX];

	if (!network_addr(session->client_addr, &addr))
		return false;
	if (session->msg.sender[0] != '\0' && auth_spf_mailfrom(call->services, call->session, spf_deadline_ms)->result == SPF_PASS) {
		out[0] = '@';
		sender_lower(sender_domain(session->msg.sender), out + 1);
		return true;
	}
	network_text(&addr, text);
	memcpy(out, text, sizeof(text));
	return true;
}

static enum bs_err
fill_in(struct check_call *call, const char *client, struct ledger_greylist *grey)
{
	const struct settings *settings = call->services->settings;
	char account[BS_ADDRESS_MAX + 1], stem[SENDER_MAX];
	enum bs_err err;

	*grey = (struct ledger_greylist){ .delay_s = call->policy->greylist_delay_s, .passes = call->policy->greylist_passes,
		.window_s = settings->greylist_window_s, .keep_s = settings->greylist_keep_s };
	bs_address_base(call->final->target->address, account);
	sender_stem(call->session->msg.sender, stem);
	err = ledger_key(call->services->ledger, "grey", account, client, stem, grey->id);
	return err == BS_OK ? ledger_key(call->services->ledger, "grey client", account, client, "", grey->client) : err;
}

static void
say(struct finding *finding, enum ledger_greeting greeting, int64_t wait_s)
{
	static const char *const texts[] = { "new", "too early", "known", "client known" };
	bool wait = greeting == LEDGER_NEW || greeting == LEDGER_EARLY;

	finding->outcome = wait ? CHECK_HIT : CHECK_CLEAN;
	if (wait) {
		finding_reason(finding, "%s: %" PRId64 " s to wait", texts[greeting], wait_s);
		finding_reply(finding, "451", "4.7.1", "Greylisted, please try again in %" PRId64 " seconds", wait_s);
	} else {
		finding_reason(finding, "%s", texts[greeting]);
	}
}

static void
target(struct check_call *call)
{
	enum ledger_greeting greeting;
	struct ledger_greylist grey;
	char client[SENDER_MAX + 1];
	int64_t wait_s;
	enum bs_err err = call->services->ledger == NULL ? BS_ERR_UNAVAIL : BS_OK;

	if (check_is_trusted(call) || !client_of(call, client))
		return;
	if (err == BS_OK)
		err = fill_in(call, client, &grey);
	if (err == BS_OK)
		err = ledger_greet(call->services->ledger, &grey, call->session->msg.now_s, call->session->dry, check_until_ms(call, DEADLINE_MS),
		    &greeting, &wait_s);
	if (err == BS_OK) {
		say(call->finding, greeting, wait_s);
		return;
	}
	call->finding->outcome = CHECK_DOWN;
	finding_reason(call->finding, "ledger: %s", bs_err_text(err));
	finding_reply(call->finding, "451", "4.3.0", "Greylist can't be asked now, try again later");
}

const struct check check_greylist = {
	.id = BS_CHECK_GREYLIST,
	.deadline_ms = DEADLINE_MS,
	.strangers = true,
	.target = target,
};
