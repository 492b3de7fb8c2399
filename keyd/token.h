/*
 * token: what a login gives and the first attach consumes: 256 random bits, kept only as their SHA-256, bound to an
 * account and a service, good for a short while; or for a longer one, in place of a session that sleeps. A token holds its ring open.
 *
 * tokens_take() consumes whatever it finds, so that a wrong user or service burns the token too. One thread.
 * Errors: BS_ERR_NOMEM.
 *
 *     err = tokens_issue(tokens, ring, "imap", now, token);
 *     ring = tokens_take(tokens, token, now, service);     // NULL: BS_ERR_TOKEN
 */
#ifndef KEYD_TOKEN_H
#define KEYD_TOKEN_H

#include "keyproto.h"
#include "ring.h"

#define SERVICE_MAX 32

struct tokens;

/* life_ms: of a login's. */
struct tokens *tokens_new(struct rings *rings, size_t expected, int64_t life_ms);
void tokens_free(struct tokens *tokens);
enum bs_err tokens_issue(struct tokens *tokens, struct ring *ring, const char *service, int64_t now,
    uint8_t out[BS_TOKEN_LEN]) BS_MUST_USE;
enum bs_err tokens_issue_for(struct tokens *tokens, struct ring *ring, const char *service, int64_t now, int64_t life_ms,
    uint8_t out[BS_TOKEN_LEN]) BS_MUST_USE;
/* The ring and service that it was made for. The ring is still held as a token would: release &ring->tokens. */
struct ring *tokens_take(struct tokens *tokens, const uint8_t token[BS_TOKEN_LEN], int64_t now,
    char service[SERVICE_MAX + 1]);
/* Forgets all tokens of a ring, which the caller holds by something else. */
void tokens_drop(struct tokens *tokens, struct ring *ring, int64_t now);
/* Forgets the ring's oldest token that lives longer than a login's: its client may be gone long since. False: there is none, or
 * nothing else holds the ring. */
bool tokens_yield(struct tokens *tokens, struct ring *ring, int64_t now) BS_MUST_USE;
void tokens_expire(struct tokens *tokens, int64_t now);
/* A token as another vault may take it over. */
struct token_kept {
	const uint8_t *hash; /* BS_HASH_LEN bytes */
	const char *service;
	struct ring *ring;
	int64_t expires_ms;
};
/* fn for all, until one fails; those of one life the oldest first. */
typedef enum bs_err (*tokens_fn)(void *arg, const struct token_kept *kept);
enum bs_err tokens_each(const struct tokens *tokens, tokens_fn fn, void *arg) BS_MUST_USE;
/* Holds the ring. */
enum bs_err tokens_restore(struct tokens *tokens, const struct token_kept *kept) BS_MUST_USE;
size_t tokens_count(const struct tokens *tokens);

#endif
