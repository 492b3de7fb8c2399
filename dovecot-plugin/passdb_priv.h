/* passdb_priv: what the files of the auth module share: one passdb of the configuration, and one request that waits for keyd. */
#ifndef BASALT_PASSDB_PRIV_H
#define BASALT_PASSDB_PRIV_H

#include "compat.h"

#include <auth-common.h>
#include <auth-request.h>
#include <ioloop.h>
#include <passdb.h>

#include "passdb_client.h"
#include "passdb_record.h"
#include "passdb_settings.h"

struct basalt_passdb {
	struct passdb_module module;
	struct passdb_settings set;
	struct passdb_client *client;
	struct bs_recent *recent; /* NULL: every mail of a burst asks keyd */
};

struct basalt_auth {
	struct auth_request *request;
	struct timeout *to_again;
	int64_t asked_ms;
	unsigned int tries;
	bool session;
	bool enrolled; /* keys were made since the login was refused, by us or by another one of the user's */
	union {
		verify_plain_callback_t *verify_plain;
		lookup_credentials_callback_t *lookup_credentials;
	} callback;
};

struct basalt_passdb *basalt_passdb_of(struct auth_request *request);
struct basalt_auth *basalt_auth_begin(struct auth_request *request);
void basalt_auth_end(struct basalt_auth *auth);
/* A request that is the user's name alone. */
void basalt_auth_ask(struct basalt_auth *auth, enum bs_op op, passdb_client_fn fn);

/* passdb_login.c: a password is judged, and mail opened by it. */
void basalt_verify_plain(struct auth_request *request, const char *password, verify_plain_callback_t *callback);

#endif
