#include "resolve.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cond.h"
#include "expand.h"
#include "log.h"
#include "policies.h"
#include "sock.h"

#define KEY_MAX 511 /* longer than any address; what is longer is none */
#define COMPLAIN_MS 60000 /* at most one line about preferences in this time */

struct resolver {
	struct pool *pool;
	struct resolver_settings settings;
	struct cache *known;
	struct cache *unknown;
	struct policies *policies;
	_Atomic int64_t complained_ms;
	atomic_ullong statements;
	pthread_mutex_t lock;
	pthread_cond_t landed;
	struct look *in_flight; /* one of each key, at the most as many as the pool has threads */
};

struct look {
	struct pool_job job;
	struct resolver *resolver;
	struct resolution *res;
	struct look *next; /* in flight */
	char key[KEY_MAX + 1];
};

static const char *const state_texts[] = {
	[RESOLVE_FOREIGN] = "foreign", [RESOLVE_DOMAIN] = "domain", [RESOLVE_ACCOUNT] = "account",
	[RESOLVE_ALIAS] = "alias", [RESOLVE_UNKNOWN] = "unknown", [RESOLVE_DISABLED] = "disabled",
	[RESOLVE_BROKEN] = "broken",
};

const char *
resolve_state_text(enum resolve_state state)
{
	return state_texts[state];
}

struct resolution *
resolution_ref(struct resolution *res)
{
	atomic_fetch_add(&res->refs, 1);
	return res;
}

void
resolution_unref(struct resolution *res)
{
	if (res == NULL || atomic_fetch_sub(&res->refs, 1) != 1)
		return;
	for (size_t i = 0; i < res->n; i++) {
		free(res->targets[i].address);
		policies_give(res->targets[i].policy);
	}
	policies_give(res->policy);
	free(res->logins);
	free(res);
}

static void *
ref_cb(void *value)
{
	return resolution_ref(value);
}

static void
unref_cb(void *value)
{
	resolution_unref(value);
}

struct resolver *
resolver_new(struct pool *pool, const struct resolver_settings *settings)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));

	if (resolver == NULL)
		return NULL;
	resolver->pool = pool;
	resolver->settings = *settings;
	pthread_mutex_init(&resolver->lock, NULL);
	bs_cond_init(&resolver->landed);
	resolver->known = cache_new(settings->entries_max, ref_cb, unref_cb);
	resolver->unknown = cache_new(settings->entries_max, ref_cb, unref_cb);
	resolver->policies = policies_new();
	if (resolver->known == NULL || resolver->unknown == NULL || resolver->policies == NULL) {
		resolver_free(resolver);
		return NULL;
	}
	return resolver;
}

void
resolver_free(struct resolver *resolver)
{
	if (resolver == NULL)
		return;
	cache_free(resolver->known);
	cache_free(resolver->unknown);
	policies_free(resolver->policies);
	pthread_cond_destroy(&resolver->landed);
	pthread_mutex_destroy(&resolver->lock);
	free(resolver);
}

static bool
is_known(enum resolve_state state)
{
	return state == RESOLVE_DOMAIN || state == RESOLVE_ACCOUNT || state == RESOLVE_ALIAS ||
	    state == RESOLVE_DISABLED;
}

static void
remember(struct resolver *resolver, const char *key, struct resolution *res)
{
	if (is_known(res->state))
		cache_put(resolver->known, key, res, bs_now_ms() + resolver->settings.known_ms);
	else
		cache_put(resolver->unknown, key, res, bs_now_ms() + resolver->settings.unknown_ms);
}

/* A preference of a newer program, or a damaged one, must not stop mail. */
static void
complain(struct resolver *resolver, const char *key, unsigned n)
{
	int64_t now = bs_now_ms(), last = atomic_load(&resolver->complained_ms);

	if ((last != 0 && now - last < COMPLAIN_MS) || !atomic_compare_exchange_strong(&resolver->complained_ms, &last, now))
		return;
	bs_log(BS_LOG_WARNING, "preferences for %s: %u are not understood and count as not set: `basaltctl pref list` marks them",
	    key, n);
}

/* With the lock held. */
static bool
is_in_flight(const struct resolver *resolver, const char *key)
{
	for (const struct look *look = resolver->in_flight; look != NULL; look = look->next)
		if (strcmp(look->key, key) == 0)
			return true;
	return false;
}

/* Waits while another thread looks the same key up: its answer will do. BS_ERR_TIMEOUT. */
static enum bs_err
take_off(struct look *look)
{
	struct resolver *resolver = look->resolver;
	int64_t deadline_ms = look->job.deadline_ms;
	enum bs_err err = BS_OK;
	int rc = 0;

	pthread_mutex_lock(&resolver->lock);
	while (is_in_flight(resolver, look->key) && rc == 0)
		rc = bs_cond_wait_until(&resolver->landed, &resolver->lock, deadline_ms);
	if (is_in_flight(resolver, look->key)) {
		err = BS_ERR_TIMEOUT;
	} else {
		look->next = resolver->in_flight;
		resolver->in_flight = look;
	}
	pthread_mutex_unlock(&resolver->lock);
	return err;
}

static void
land(struct look *look)
{
	struct resolver *resolver = look->resolver;
	struct look **at = &resolver->in_flight;

	pthread_mutex_lock(&resolver->lock);
	while (*at != look)
		at = &(*at)->next;
	*at = look->next;
	pthread_cond_broadcast(&resolver->landed);
	pthread_mutex_unlock(&resolver->lock);
}

/* What is remembered of key, or NULL. */
static struct resolution *
recall(struct resolver *resolver, const char *key)
{
	struct resolution *res = cache_get(resolver->known, key, bs_now_ms());

	return res != NULL ? res : cache_get(resolver->unknown, key, bs_now_ms());
}

static enum bs_err
ask_store(struct look *look, struct bs_store_policy *store, struct resolution **out)
{
	struct resolver *resolver = look->resolver;
	uint64_t before = bs_store_policy_statements(store);
	enum bs_err err;

	if (strchr(look->key, '@') != NULL)
		err = expand_address(store, resolver->policies, look->key, look->job.deadline_ms, out);
	else
		err = expand_domain(store, resolver->policies, look->key, out);
	atomic_fetch_add(&resolver->statements, bs_store_policy_statements(store) - before);
	if (err != BS_OK)
		return err;
	if ((*out)->ignored > 0)
		complain(resolver, look->key, (*out)->ignored);
	remember(resolver, look->key, *out);
	return BS_OK;
}

static enum bs_err
look_run(struct pool_job *job, struct bs_store_policy *store)
{
	struct look *look = (struct look *)job;
	struct resolution *res;
	enum bs_err err = take_off(look);

	if (err != BS_OK)
		return err;
	res = recall(look->resolver, look->key);
	if (res == NULL)
		err = ask_store(look, store, &res);
	land(look);
	if (err == BS_OK)
		look->res = res;
	return err;
}

static void
look_free(struct pool_job *job)
{
	struct look *look = (struct look *)job;

	resolution_unref(look->res);
	free(look);
}

/* Copies key, lower-case, so that every spelling has one place in the cache. */
static enum bs_err
fold_key(const char *key, char out[KEY_MAX + 1])
{
	size_t len = strlen(key);

	if (len == 0 || len > KEY_MAX)
		return BS_ERR_ARG;
	for (size_t i = 0; i <= len; i++)
		out[i] = (char)(key[i] >= 'A' && key[i] <= 'Z' ? key[i] - 'A' + 'a' : key[i]);
	return BS_OK;
}

/* The last answer about a domain, however old; NULL: there is none, or key is no domain. */
static struct resolution *
stale_domain(struct resolver *resolver, const char *key)
{
	struct resolution *res = NULL;

	if (strchr(key, '@') == NULL) {
		res = cache_get_stale(resolver->known, key);
		if (res == NULL)
			res = cache_get_stale(resolver->unknown, key);
	}
	return res;
}

enum bs_err
resolver_take(struct resolver *resolver, struct pool_job *job, enum bs_err result, struct resolution **out)
{
	struct look *look = (struct look *)job;
	struct resolution *res;

	res = result == BS_OK ? resolution_ref(look->res) : stale_domain(resolver, look->key);
	pool_release(resolver->pool, job);
	if (res == NULL)
		return result;
	*out = res;
	return BS_OK;
}

enum bs_err
resolver_begin(struct resolver *resolver, const char *key, int64_t deadline_ms, int notify_fd,
    struct resolution **out, struct pool_job **job)
{
	char folded[KEY_MAX + 1];
	struct resolution *res;
	struct look *look;
	enum bs_err err;

	err = fold_key(key, folded);
	if (err != BS_OK)
		return err;
	res = recall(resolver, folded);
	if (res != NULL) {
		*out = res;
		*job = NULL;
		return BS_OK;
	}
	look = calloc(1, sizeof(*look));
	if (look == NULL)
		return BS_ERR_NOMEM;
	pool_job_init(&look->job, look_run, look_free, deadline_ms);
	look->resolver = resolver;
	memcpy(look->key, folded, sizeof(folded));
	err = pool_submit(resolver->pool, &look->job, notify_fd);
	*job = err == BS_OK ? &look->job : NULL;
	return err == BS_OK ? BS_OK : resolver_take(resolver, &look->job, err, out);
}

enum bs_err
resolver_get(struct resolver *resolver, const char *key, int64_t deadline_ms, struct resolution **out)
{
	struct resolution *res = NULL;
	struct pool_job *job = NULL;
	enum bs_err err;

	err = resolver_begin(resolver, key, deadline_ms, -1, &res, &job);
	if (err != BS_OK)
		return err;
	if (job == NULL) {
		*out = res;
		return BS_OK;
	}
	return resolver_take(resolver, job, pool_wait(resolver->pool, job), out);
}

void
resolver_stats(struct resolver *resolver, struct resolver_stats *out)
{
	cache_stats(resolver->known, &out->known);
	cache_stats(resolver->unknown, &out->unknown);
	out->statements = atomic_load(&resolver->statements);
}
