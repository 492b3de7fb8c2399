#include "cache.h"

#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

struct cached {
	const char *key; /* points at text, or at the key that is looked for */
	struct cached *newer, *older;
	void *value;
	int64_t expires_ms;
	char text[];
};

struct cache {
	pthread_mutex_t lock;
	void *tree; /* tsearch(3): glibc's is red-black */
	struct cached *newest, *oldest;
	size_t max;
	void *(*ref)(void *);
	void (*unref)(void *);
	struct cache_stats stats;
};

static int
compare(const void *a, const void *b)
{
	return strcmp(((const struct cached *)a)->key, ((const struct cached *)b)->key);
}

struct cache *
cache_new(size_t max, void *(*ref)(void *), void (*unref)(void *))
{
	struct cache *cache = calloc(1, sizeof(*cache));

	if (cache == NULL)
		return NULL;
	pthread_mutex_init(&cache->lock, NULL);
	cache->max = max;
	cache->ref = ref;
	cache->unref = unref;
	return cache;
}

static void
list_push(struct cache *cache, struct cached *e)
{
	e->newer = NULL;
	e->older = cache->newest;
	if (cache->newest != NULL)
		cache->newest->newer = e;
	else
		cache->oldest = e;
	cache->newest = e;
}

static void
list_remove(struct cache *cache, struct cached *e)
{
	if (e->newer != NULL)
		e->newer->older = e->older;
	else
		cache->newest = e->older;
	if (e->older != NULL)
		e->older->newer = e->newer;
	else
		cache->oldest = e->newer;
}

static void
drop(struct cache *cache, struct cached *e)
{
	(void)tdelete(e, &cache->tree, compare);
	list_remove(cache, e);
	cache->unref(e->value);
	free(e);
	cache->stats.entries--;
}

void
cache_free(struct cache *cache)
{
	if (cache == NULL)
		return;
	while (cache->oldest != NULL)
		drop(cache, cache->oldest);
	pthread_mutex_destroy(&cache->lock);
	free(cache);
}

/* Called with the lock held. */
static struct cached *
find(struct cache *cache, const char *key)
{
	struct cached wanted = { .key = key };
	void *node = tfind(&wanted, &cache->tree, compare);

	return node != NULL ? *(struct cached **)node : NULL;
}

static struct cached *
entry_new(const char *key, void *value, int64_t expires_ms)
{
	size_t size = strlen(key) + 1;
	struct cached *e = malloc(sizeof(*e) + size);

	if (e == NULL)
		return NULL;
	memcpy(e->text, key, size);
	e->key = e->text;
	e->value = value;
	e->expires_ms = expires_ms;
	return e;
}

void
cache_put(struct cache *cache, const char *key, void *value, int64_t expires_ms)
{
	struct cached *e, *old;

	pthread_mutex_lock(&cache->lock);
	old = find(cache, key);
	if (old != NULL)
		drop(cache, old);
	else if (cache->stats.entries >= cache->max)
		drop(cache, cache->oldest);
	e = entry_new(key, value, expires_ms);
	if (e == NULL)
		goto out;
	if (tsearch(e, &cache->tree, compare) == NULL) {
		free(e);
		goto out;
	}
	(void)cache->ref(value);
	list_push(cache, e);
	cache->stats.entries++;
out:
	pthread_mutex_unlock(&cache->lock);
}

void *
cache_get(struct cache *cache, const char *key, int64_t now_ms)
{
	struct cached *e;
	void *value = NULL;

	pthread_mutex_lock(&cache->lock);
	e = find(cache, key);
	if (e != NULL && e->expires_ms > now_ms) {
		list_remove(cache, e);
		list_push(cache, e);
		value = cache->ref(e->value);
		cache->stats.hits++;
	} else {
		cache->stats.misses++;
	}
	pthread_mutex_unlock(&cache->lock);
	return value;
}

void *
cache_get_stale(struct cache *cache, const char *key)
{
	struct cached *e;
	void *value = NULL;

	pthread_mutex_lock(&cache->lock);
	e = find(cache, key);
	if (e != NULL)
		value = cache->ref(e->value);
	pthread_mutex_unlock(&cache->lock);
	return value;
}

void
cache_stats(struct cache *cache, struct cache_stats *out)
{
	pthread_mutex_lock(&cache->lock);
	*out = cache->stats;
	pthread_mutex_unlock(&cache->lock);
}
