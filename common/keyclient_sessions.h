/*
 * keyclient_sessions: what is open in keyd now, and its end: operations of the control socket for basaltctl. No secret is in them.
 *
 * Errors are keyd's or the connection's (keyclient.h). Between the pages of a long list time passes: an account that was opened
 * or ended meanwhile may be in it or not.
 *
 *     err = bs_keyclient_sessions(kc, "", print_one, ctx);           // of all accounts
 *     err = bs_keyclient_end_sessions(kc, "alice@example.org", &n);
 */
#ifndef BS_KEYCLIENT_SESSIONS_H
#define BS_KEYCLIENT_SESSIONS_H

#include "keyclient.h"

#define BS_SERVICE_MAX 32

struct bs_open_session {
	char service[BS_SERVICE_MAX + 1];
	uint64_t since; /* seconds since 1970 */
	uint32_t pid;
};

struct bs_open_account {
	char user[BS_ACCOUNT_NAME_MAX + 1];
	uint64_t since, used; /* seconds since 1970 */
	uint32_t linger_left_s;
	unsigned tokens, sessions;
	const struct bs_open_session *listed; /* not more than keyd lists of one account */
	size_t listed_count;
};

/* account is valid during the call. Anything but BS_OK ends the list. */
typedef enum bs_err (*bs_open_account_fn)(void *ctx, const struct bs_open_account *account);

/* user "": all, in no order. An account whose keys are not open is not in the list. */
enum bs_err bs_keyclient_sessions(struct bs_keyclient *kc, const char *user, bs_open_account_fn fn, void *ctx) BS_MUST_USE;
/* Ends sessions and tokens and shuts the keys. *ended: how many sessions and tokens there were. */
enum bs_err bs_keyclient_end_sessions(struct bs_keyclient *kc, const char *user, unsigned *ended) BS_MUST_USE;

#endif
