#include "token.h"

#include <stdlib.h>
#include <string.h>

TAILQ_HEAD(token_list, token);

struct token {
	struct token *hash_next;
	TAILQ_ENTRY(token) age;
	struct token_list *list;
	uint8_t hash[BS_HASH_LEN];
	char service[SERVICE_MAX + 1];
	struct ring *ring;
	int64_t expires_ms;
};

struct tokens {
	struct rings *rings;
	struct token **buckets;
	size_t mask;
	size_t count;
	int64_t life_ms;
	struct token_list age[2]; /* the first expires first; two, since there are two lives: a login's is short, a sleeper's long */
};

struct tokens *
tokens_new(struct rings *rings, size_t expected, int64_t life_ms)
{
	struct tokens *tokens = calloc(1, sizeof(*tokens));
	size_t size = 64;

	if (tokens == NULL)
		return NULL;
	while (size < expected)
		size *= 2;
	tokens->buckets = calloc(size, sizeof(struct token *));
	if (tokens->buckets == NULL) {
		free(tokens);
		return NULL;
	}
	tokens->rings = rings;
	tokens->mask = size - 1;
	tokens->life_ms = life_ms;
	TAILQ_INIT(&tokens->age[0]);
	TAILQ_INIT(&tokens->age[1]);
	return tokens;
}

/* Where the chain of a hash begins: hashes are uniform, their first bytes will do. */
static struct token **
bucket(struct tokens *tokens, const uint8_t hash[BS_HASH_LEN])
{
	size_t i = (size_t)hash[0] | (size_t)hash[1] << 8 | (size_t)hash[2] << 16;

	return &tokens->buckets[i & tokens->mask];
}

/* At the end of the list whose last expires earlier: with two lives there is one. With a third, from other settings, it walks. */
static void
insert_by_age(struct tokens *tokens, struct token *token)
{
	struct token *last = TAILQ_LAST(&tokens->age[0], token_list);

	token->list = last == NULL || last->expires_ms <= token->expires_ms ? &tokens->age[0] : &tokens->age[1];
	last = TAILQ_LAST(token->list, token_list);
	while (last != NULL && last->expires_ms > token->expires_ms)
		last = TAILQ_PREV(last, token_list, age);
	if (last == NULL)
		TAILQ_INSERT_HEAD(token->list, token, age);
	else
		TAILQ_INSERT_AFTER(token->list, last, token, age);
}

/* Takes it out of the table and frees it; the ring is still held. */
static void
unlink_token(struct tokens *tokens, struct token *token)
{
	struct token **at = bucket(tokens, token->hash);

	while (*at != token)
		at = &(*at)->hash_next;
	*at = token->hash_next;
	TAILQ_REMOVE(token->list, token, age);
	tokens->count--;
	free(token);
}

void
tokens_free(struct tokens *tokens)
{
	struct token *token;

	if (tokens == NULL)
		return;
	for (unsigned i = 0; i < 2; i++) {
		while ((token = TAILQ_FIRST(&tokens->age[i])) != NULL)
			unlink_token(tokens, token);
	}
	free(tokens->buckets);
	free(tokens);
}

enum bs_err
tokens_restore(struct tokens *tokens, const struct token_kept *kept)
{
	struct token *token = calloc(1, sizeof(*token)), **at;
	size_t len = strlen(kept->service);

	if (token == NULL || len > SERVICE_MAX) {
		free(token);
		return BS_ERR_NOMEM;
	}
	memcpy(token->hash, kept->hash, BS_HASH_LEN);
	memcpy(token->service, kept->service, len + 1);
	token->ring = kept->ring;
	token->expires_ms = kept->expires_ms;
	at = bucket(tokens, token->hash);
	token->hash_next = *at;
	*at = token;
	insert_by_age(tokens, token);
	tokens->count++;
	ring_hold(tokens->rings, token->ring, &token->ring->tokens);
	return BS_OK;
}

enum bs_err
tokens_issue(struct tokens *tokens, struct ring *ring, const char *service, int64_t now, uint8_t out[BS_TOKEN_LEN])
{
	return tokens_issue_for(tokens, ring, service, now, tokens->life_ms, out);
}

enum bs_err
tokens_issue_for(struct tokens *tokens, struct ring *ring, const char *service, int64_t now, int64_t life_ms, uint8_t out[BS_TOKEN_LEN])
{
	uint8_t hash[BS_HASH_LEN];
	const struct token_kept kept = { .hash = hash, .service = service, .ring = ring, .expires_ms = now + life_ms };

	bs_random(out, BS_TOKEN_LEN);
	bs_sha256(out, BS_TOKEN_LEN, hash);
	return tokens_restore(tokens, &kept);
}

enum bs_err
tokens_each(const struct tokens *tokens, tokens_fn fn, void *arg)
{
	const struct token *token;
	enum bs_err err = BS_OK;

	for (unsigned i = 0; i < 2; i++) {
		TAILQ_FOREACH(token, &tokens->age[i], age) {
			const struct token_kept kept = { .hash = token->hash, .service = token->service, .ring = token->ring,
				.expires_ms = token->expires_ms };

			if (err == BS_OK)
				err = fn(arg, &kept);
		}
	}
	return err;
}

struct ring *
tokens_take(struct tokens *tokens, const uint8_t token[BS_TOKEN_LEN], int64_t now, char service[SERVICE_MAX + 1])
{
	uint8_t hash[BS_HASH_LEN];
	struct token *found;
	struct ring *ring;
	bool expired;

	bs_sha256(token, BS_TOKEN_LEN, hash);
	found = *bucket(tokens, hash);
	while (found != NULL && !bs_equal(found->hash, hash, BS_HASH_LEN))
		found = found->hash_next;
	if (found == NULL)
		return NULL;
	ring = found->ring;
	expired = now >= found->expires_ms;
	memcpy(service, found->service, sizeof(found->service));
	unlink_token(tokens, found);
	if (expired)
		ring_release(tokens->rings, ring, &ring->tokens, now);
	return expired ? NULL : ring;
}

static void
drop(struct tokens *tokens, struct token *token, int64_t now)
{
	struct ring *ring = token->ring;

	unlink_token(tokens, token);
	ring_release(tokens->rings, ring, &ring->tokens, now);
}

void
tokens_drop(struct tokens *tokens, struct ring *ring, int64_t now)
{
	struct token *token, *next;

	for (unsigned i = 0; i < 2; i++) {
		for (token = TAILQ_FIRST(&tokens->age[i]); token != NULL; token = next) {
			next = TAILQ_NEXT(token, age);
			if (token->ring == ring)
				drop(tokens, token, now);
		}
	}
}

bool
tokens_yield(struct tokens *tokens, struct ring *ring, int64_t now)
{
	struct token *token;

	for (unsigned i = 0; i < 2 && ring->sessions + ring->tokens > 1; i++) {
		TAILQ_FOREACH(token, &tokens->age[i], age) {
			if (token->ring != ring || token->expires_ms <= now + tokens->life_ms)
				continue;
			drop(tokens, token, now);
			return true;
		}
	}
	return false;
}

void
tokens_expire(struct tokens *tokens, int64_t now)
{
	struct token *token;

	for (unsigned i = 0; i < 2; i++) {
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see that unlinking changes TAILQ_FIRST */
		while ((token = TAILQ_FIRST(&tokens->age[i])) != NULL && now >= token->expires_ms)
			drop(tokens, token, now);
	}
}

size_t
tokens_count(const struct tokens *tokens)
{
	return tokens->count;
}
