/*
 * cache: a bounded table from a string to a reference-counted value, with a time to live; the oldest used goes first.
 *
 * The table is a balanced tree, so no key that a stranger chooses makes it slow. The value's references are counted by
 * the two callbacks, which must not call the cache. Any thread.
 *
 *     struct cache *c = cache_new(4096, ref, unref);
 *     cache_put(c, "alice@example.org", value, bs_now_ms() + 30000);
 *     value = cache_get(c, "alice@example.org", bs_now_ms());     // with a reference of the caller's own, or NULL
 */
#ifndef MILTER_CACHE_H
#define MILTER_CACHE_H

#include <stddef.h>
#include <stdint.h>

struct cache;

struct cache_stats {
	uint64_t hits;
	uint64_t misses;
	size_t entries;
};

/* ref returns its argument. NULL when out of memory. */
struct cache *cache_new(size_t max, void *(*ref)(void *), void (*unref)(void *));
void cache_free(struct cache *cache);
/* Takes a reference of its own; replaces what is there. Out of memory: keeps nothing, which is no error of a cache. */
void cache_put(struct cache *cache, const char *key, void *value, int64_t expires_ms);
void *cache_get(struct cache *cache, const char *key, int64_t now_ms);
/* The same, however old it is: what expired stays until its place is needed. Not counted as a hit or miss. */
void *cache_get_stale(struct cache *cache, const char *key);
void cache_stats(struct cache *cache, struct cache_stats *out);

#endif
