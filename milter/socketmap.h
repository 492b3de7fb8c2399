/*
 * socketmap: Postfix's look-ups, answered from the policy store (socketmap_table(5)).
 *
 * A request is the netstring "NAME KEY"; the answer a netstring: "OK value", "NOTFOUND ", "TEMP reason", "PERM reason".
 *   domains     is KEY a domain of ours?                                virtual_mailbox_domains
 *   recipients  is KEY, without its extension, an account of ours?      virtual_mailbox_maps
 *               A disabled one is: the milter then refuses it with the right words.
 *   aliases     the final addresses behind KEY, separated by ", "       virtual_alias_maps
 *   senders     the logins that may send as KEY, separated by ", "      smtpd_sender_login_maps
 * The store in trouble, a broken alias, or no answer within SOCKETMAP_REQUEST_MS: TEMP, and Postfix answers 451.
 * Keys that Postfix asks for catch-alls ("@domain", a bare domain in the others but domains) are not found: in its
 * virtual_alias_maps they stand above accounts. Behind an address that is neither account nor alias stand the catch-all's targets.
 *
 *     err = socketmap_start(fd, &map, &server);
 */
#ifndef MILTER_SOCKETMAP_H
#define MILTER_SOCKETMAP_H

#include "counters.h"
#include "resolve.h"
#include "server.h"

#define SOCKETMAP_REQUEST_MS 2000
#define SOCKETMAP_PAYLOAD_MAX 1000

struct socketmap {
	struct resolver *resolver;
	struct pool *pool;
	struct counters *counters;
};

/* listen_fd is taken; map is borrowed until server_stop(). */
enum bs_err socketmap_start(int listen_fd, struct socketmap *map, struct server **out) BS_MUST_USE;

enum socketmap_name { SOCKETMAP_DOMAINS, SOCKETMAP_RECIPIENTS, SOCKETMAP_ALIASES, SOCKETMAP_SENDERS };

struct socketmap_query {
	enum socketmap_name name;
	char key[SOCKETMAP_PAYLOAD_MAX + 1];
};

/* Reads a payload. BS_ERR_NOENT: no such map; BS_ERR_FORMAT. */
enum bs_err socketmap_parse(const uint8_t *data, size_t len, struct socketmap_query *out) BS_MUST_USE;
/* Appends the answer to the question name from what was resolved. */
enum bs_err socketmap_answer(enum socketmap_name name, const struct resolution *res, struct bs_buf *reply) BS_MUST_USE;

#endif
