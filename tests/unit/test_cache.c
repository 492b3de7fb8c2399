/* milter/cache: bounds, order, expiry, references, threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "milter/cache.h"

/* A value that counts who holds it. */
static atomic_int held[2000];

static void *
ref(void *value)
{
	atomic_fetch_add((atomic_int *)value, 1);
	return value;
}

static void
unref(void *value)
{
	atomic_fetch_sub((atomic_int *)value, 1);
}

static void
put(struct cache *cache, int n, int64_t expires)
{
	char key[20];

	snprintf(key, sizeof(key), "key %d", n);
	cache_put(cache, key, &held[n], expires);
}

static bool
has(struct cache *cache, int n, int64_t now)
{
	char key[20];
	void *value;

	snprintf(key, sizeof(key), "key %d", n);
	value = cache_get(cache, key, now);
	if (value == NULL)
		return false;
	assert_ptr_equal(value, &held[n]);
	unref(value);
	return true;
}

static void
test_expiry(void **state)
{
	struct cache *cache = cache_new(10, ref, unref);
	struct cache_stats stats;
	void *value;

	(void)state;
	put(cache, 1, 100);
	assert_true(has(cache, 1, 99));
	assert_false(has(cache, 1, 100));
	assert_false(has(cache, 2, 0));
	value = cache_get_stale(cache, "key 1");
	assert_ptr_equal(value, &held[1]);
	unref(value);
	assert_null(cache_get_stale(cache, "key 2"));
	put(cache, 1, 200);
	assert_true(has(cache, 1, 150));
	cache_stats(cache, &stats);
	assert_int_equal(stats.entries, 1);
	assert_int_equal(stats.hits, 2);
	assert_int_equal(stats.misses, 2);
	cache_free(cache);
	assert_int_equal(held[1], 0);
}

static void
test_the_oldest_used_goes_first(void **state)
{
	struct cache *cache = cache_new(3, ref, unref);

	(void)state;
	for (int i = 0; i < 3; i++)
		put(cache, i, 100);
	assert_true(has(cache, 0, 0));
	put(cache, 3, 100);
	assert_true(has(cache, 0, 0) && has(cache, 2, 0) && has(cache, 3, 0));
	assert_false(has(cache, 1, 0));
	assert_int_equal(held[1], 0);
	for (int i = 100; i < 1100; i++)
		put(cache, i, 100);
	for (int i = 0; i < 1097; i++)
		assert_int_equal(held[i], 0);
	cache_free(cache);
}

struct worker {
	struct cache *cache;
	unsigned seed;
};

static void *
work(void *arg)
{
	struct worker *w = arg;

	for (int i = 0; i < 20000; i++) {
		int n = rand_r(&w->seed) % 200;

		if (rand_r(&w->seed) % 2)
			put(w->cache, n, rand_r(&w->seed) % 3);
		else
			(void)has(w->cache, n, 1);
	}
	return NULL;
}

static void
test_threads(void **state)
{
	struct cache *cache = cache_new(100, ref, unref);
	struct worker workers[4];
	pthread_t threads[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		workers[i] = (struct worker){ cache, i };
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	cache_free(cache);
	for (int i = 0; i < 200; i++)
		assert_int_equal(held[i], 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_the_oldest_used_goes_first),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
