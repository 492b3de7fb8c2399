#include "auth.h"

#include <string.h>

static const char *const dkim_texts[] = { "none", "pass", "fail", "policy", "neutral", "temperror", "permerror" };
static const char *const dmarc_texts[] = { "none", "pass", "fail", "temperror", "permerror" };
static const char *const policy_texts[] = { "none", "quarantine", "reject" };

const char *
auth_dkim_result_text(enum auth_dkim_result result)
{
	return dkim_texts[result];
}

const char *
auth_dmarc_result_text(enum auth_dmarc_result result)
{
	return dmarc_texts[result];
}

const char *
auth_dmarc_policy_text(enum auth_dmarc_policy policy)
{
	return policy_texts[policy];
}

bool
auth_return_path_verified(const struct auth *auth, const char *sender)
{
	return strrchr(sender, '@') != NULL && auth->mailfrom.done && auth->mailfrom.result == SPF_PASS;
}

void
auth_clean(char *out, size_t size, const char *text)
{
	size_t n = 0;

	for (; n + 1 < size && text[n] != '\0'; n++) {
		unsigned char c = (unsigned char)text[n];

		out[n] = (char)(c < 0x20 || c >= 0x7f ? '?' : strchr("\"()<>\\", c) != NULL ? '\'' : c);
	}
	out[n] = '\0';
}
