#include "dmarc_row.h"

#include <stdio.h>
#include <string.h>

#define DAY_S 86400

static void
put(char *out, size_t size, const char *text)
{
	auth_clean(out, size, text);
}

static void
put_policy(const struct dmarc_record *record, struct bs_dmarc_row *out)
{
	(void)snprintf(out->policy, sizeof(out->policy), "p=%s; sp=%s; np=%s; adkim=%c; aspf=%c; pct=%u; t=%c; fo=%s",
	    auth_dmarc_policy_text(record->p), auth_dmarc_policy_text(record->sp), auth_dmarc_policy_text(record->np),
	    record->adkim_strict ? 's' : 'r', record->aspf_strict ? 's' : 'r', record->pct, record->testing ? 'y' : 'n',
	    record->fo);
	put(out->rua, sizeof(out->rua), record->rua);
}

static void
put_auth(const struct auth *auth, struct bs_dmarc_row *out)
{
	size_t n = 0;

	if (auth->mailfrom.done)
		(void)snprintf(out->spf, sizeof(out->spf), "%s %s", spf_result_text(auth->mailfrom.result), auth->mailfrom.domain);
	for (size_t i = 0; i < auth->n_dkim; i++) {
		const struct auth_dkim *dkim = &auth->dkim[i];
		size_t room = sizeof(out->dkim) - n;
		int len;

		if (dkim->domain[0] == '\0' || strpbrk(dkim->domain, "; ") != NULL || strpbrk(dkim->selector, "; ") != NULL)
			continue;
		len = snprintf(out->dkim + n, room, "%s%s %s %s", n > 0 ? ";" : "", auth_dkim_result_text(dkim->result), dkim->domain,
		    dkim->selector);
		if (len < 0 || (size_t)len >= room) {
			memset(out->dkim + n, 0, room);
			return;
		}
		n += (size_t)len;
	}
}

/* What a hit may do at the most, of all who get the message. */
static enum auth_dmarc_policy
allowed(const struct message *msg)
{
	enum auth_dmarc_policy most = AUTH_DMARC_P_NONE;

	for (size_t i = 0; i < msg->n_finals; i++) {
		enum bs_hit hit = msg->finals[i]->target->policy->check[BS_CHECK_DMARC].hit;
		enum auth_dmarc_policy this = hit == BS_HIT_REJECT || hit == BS_HIT_DROP ? AUTH_DMARC_P_REJECT :
		    hit == BS_HIT_FOLDER || hit == BS_HIT_LABEL ? AUTH_DMARC_P_QUARANTINE : AUTH_DMARC_P_NONE;

		most = this > most ? this : most;
	}
	return most;
}

void
dmarc_row_of(const struct session *session, const struct dmarc_outcome *outcome, const char *author,
    struct bs_dmarc_row *out)
{
	const struct message *msg = &session->msg;
	enum auth_dmarc_policy asked = outcome->result == AUTH_DMARC_FAIL ? outcome->policy : AUTH_DMARC_P_NONE, done;
	const char *at = strrchr(msg->sender, '@');

	memset(out, 0, sizeof(*out));
	done = allowed(msg) < asked ? allowed(msg) : asked;
	out->day = msg->now_s / DAY_S;
	out->messages = 1;
	out->dkim_aligned = outcome->dkim_aligned;
	out->spf_aligned = outcome->spf_aligned;
	put(out->author, sizeof(out->author), author);
	put(out->domain, sizeof(out->domain), outcome->where);
	put(out->source, sizeof(out->source), session->client_addr);
	put(out->envelope, sizeof(out->envelope), at != NULL ? at + 1 : "");
	put(out->disposition, sizeof(out->disposition), auth_dmarc_policy_text(done));
	put(out->reason, sizeof(out->reason), done != asked ? "local_policy" : outcome->result != AUTH_DMARC_FAIL || !outcome->eased ? "" :
	    outcome->record.has_t ? "policy_test_mode" : "sampled_out");
	put_policy(&outcome->record, out);
	put_auth(&msg->auth, out);
}
