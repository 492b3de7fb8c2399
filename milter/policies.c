#include "policies.h"

#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

struct policies {
	pthread_mutex_t lock;
	void *tree; /* of struct kept */
	size_t n;
	bool orphan; /* its owner has gone */
};

struct kept {
	struct policies *table; /* NULL: nobody shares it */
	size_t refs;
	struct bs_policy policy;
};

/* By their bytes: two that differ in what no item reads are kept twice, which does no harm. */
static int
compare(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;

	return memcmp(&x->policy, &y->policy, sizeof(x->policy));
}

struct policies *
policies_new(void)
{
	struct policies *table = calloc(1, sizeof(*table));

	if (table != NULL)
		pthread_mutex_init(&table->lock, NULL);
	return table;
}

static void
destroy(struct policies *table)
{
	pthread_mutex_destroy(&table->lock);
	free(table);
}

void
policies_free(struct policies *table)
{
	bool last;

	if (table == NULL)
		return;
	pthread_mutex_lock(&table->lock);
	table->orphan = true;
	last = table->n == 0;
	pthread_mutex_unlock(&table->lock);
	if (last)
		destroy(table);
}

static struct kept *
kept_new(struct policies *table, const struct bs_policy *policy)
{
	struct kept *kept = calloc(1, sizeof(*kept));

	if (kept == NULL)
		return NULL;
	kept->table = table;
	kept->refs = 1;
	memcpy(&kept->policy, policy, sizeof(*policy));
	return kept;
}

const struct bs_policy *
policies_take(struct policies *table, const struct bs_policy *policy)
{
	struct kept *kept = kept_new(table, policy), **place;

	if (kept == NULL || table == NULL)
		return kept != NULL ? &kept->policy : NULL;
	pthread_mutex_lock(&table->lock);
	place = tsearch(kept, &table->tree, compare);
	if (place == NULL || *place != kept) {
		free(kept);
		kept = place != NULL ? *place : NULL;
		if (kept != NULL)
			kept->refs++;
	} else {
		table->n++;
	}
	pthread_mutex_unlock(&table->lock);
	return kept != NULL ? &kept->policy : NULL;
}

void
policies_give(const struct bs_policy *policy)
{
	struct kept *kept;
	struct policies *table;
	bool gone = false, last = false;

	if (policy == NULL)
		return;
	kept = (struct kept *)((uintptr_t)policy - offsetof(struct kept, policy)); /* NOLINT(performance-no-int-to-ptr): what lies around it */
	table = kept->table;
	if (table == NULL) {
		free(kept);
		return;
	}
	pthread_mutex_lock(&table->lock);
	if (--kept->refs == 0) {
		(void)tdelete(kept, &table->tree, compare);
		table->n--;
		gone = true;
		last = table->orphan && table->n == 0;
	}
	pthread_mutex_unlock(&table->lock);
	if (gone)
		free(kept);
	if (last)
		destroy(table);
}

size_t
policies_count(struct policies *table)
{
	size_t n;

	pthread_mutex_lock(&table->lock);
	n = table->n;
	pthread_mutex_unlock(&table->lock);
	return n;
}
