#include "chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct step {
	char address[BS_ADDRESS_MAX + 1]; /* without extension */
	size_t from;                      /* the step that named it */
	unsigned depth;
};

struct walk {
	const char *alias;
	struct step *steps;
	size_t n, at; /* at: whose targets are being read */
	bool loop, full;
};

static enum bs_err
take_target(void *ctx, const char *alias, const char *target)
{
	struct walk *walk = ctx;
	char base[BS_ADDRESS_MAX + 1];

	if (strcmp(alias, target) == 0)
		return BS_OK;
	bs_address_base(target, base);
	if (strcmp(base, walk->alias) == 0) {
		walk->loop = true;
		return BS_ERR_EXISTS;
	}
	for (size_t i = 0; i < walk->n; i++)
		if (strcmp(walk->steps[i].address, base) == 0)
			return BS_OK;
	if (walk->n == CTL_CHAIN_VISITS_MAX) {
		walk->full = true;
		return BS_ERR_LIMIT;
	}
	walk->steps[walk->n].from = walk->at;
	walk->steps[walk->n].depth = walk->steps[walk->at].depth + 1;
	(void)snprintf(walk->steps[walk->n++].address, sizeof(base), "%s", base);
	return BS_OK;
}

/* "alias -> first -> ... -> at -> alias" */
static void
tell_loop(const struct walk *walk, char *text, size_t size)
{
	size_t way[CTL_CHAIN_DEPTH_MAX + 2], n = 0, len, i = walk->at;

	while (n < sizeof(way) / sizeof(way[0])) {
		way[n++] = i;
		if (i == 0)
			break;
		i = walk->steps[i].from;
	}
	len = (size_t)snprintf(text, size, "%s", walk->alias);
	while (n-- > 0 && len < size)
		len += (size_t)snprintf(text + len, size - len, " -> %s", walk->steps[way[n]].address);
	if (len < size)
		(void)snprintf(text + len, size - len, " -> %s", walk->alias);
}

static enum bs_err
no_target(void *ctx, bool catch_all, const char *target)
{
	(void)ctx;
	(void)catch_all;
	(void)target;
	return BS_OK;
}

/* Reads the targets of the step at hand: of its alias, or of the catch-all where it is neither alias nor account. */
static enum bs_err
read_targets(struct bs_store_policy *store, struct walk *walk)
{
	const char *address = walk->steps[walk->at].address, *name = address;
	struct bs_address_facts facts = { 0 };
	enum bs_err err = bs_address_look(store, address, no_target, NULL, &facts);

	if (err != BS_OK)
		return err;
	if (!facts.alias && !facts.account)
		name = bs_address_domain(address) - 1;
	if (strcmp(name, walk->alias) == 0) {
		walk->loop = true;
		return BS_ERR_EXISTS;
	}
	return bs_alias_list(store, name, take_target, walk);
}

static enum bs_err
follow(struct bs_store_policy *store, struct walk *walk, char *text, size_t size)
{
	for (; walk->at < walk->n; walk->at++) {
		enum bs_err err;

		if (walk->steps[walk->at].depth > CTL_CHAIN_DEPTH_MAX) {
			(void)snprintf(text, size, "its chain of aliases is longer than %d", CTL_CHAIN_DEPTH_MAX);
			return BS_ERR_LIMIT;
		}
		err = read_targets(store, walk);
		if (walk->loop) {
			tell_loop(walk, text, size);
			return BS_ERR_EXISTS;
		}
		if (walk->full) {
			(void)snprintf(text, size, "it leads to more than %d addresses", CTL_CHAIN_VISITS_MAX);
			return BS_ERR_LIMIT;
		}
		if (err != BS_OK)
			return err;
	}
	return BS_OK;
}

enum bs_err
ctl_chain_check(struct bs_store_policy *store, const char *alias, const char *target, char *text, size_t size)
{
	struct walk walk = { .alias = alias, .steps = calloc(CTL_CHAIN_VISITS_MAX, sizeof(*walk.steps)), .n = 1 };
	enum bs_err err;

	if (walk.steps == NULL)
		return BS_ERR_NOMEM;
	walk.steps[0].depth = 1;
	bs_address_base(target, walk.steps[0].address);
	if (strcmp(walk.steps[0].address, alias) == 0) {
		(void)snprintf(text, size, "%s -> %s", alias, target);
		err = BS_ERR_EXISTS;
	} else {
		err = follow(store, &walk, text, size);
	}
	free(walk.steps);
	return err;
}
