#include "expand.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sock.h"

/* A list of addresses, bounded. */
struct list {
	char **items;
	size_t n, size, max;
};

struct visit {
	char address[BS_ADDRESS_MAX + 1];
	bool open; /* on the way from the first address to here */
};

struct walk {
	struct bs_store_policy *store;
	int64_t deadline_ms;
	struct list targets;
	struct list missing; /* addresses of ours behind an alias that are no account */
	struct list logins;  /* the accounts among the targets, without extension */
	struct visit *visits;
	size_t n_visits;
	size_t disabled;
	bool alias;   /* the first address is one */
	bool account; /* and an account, too: the only one that sends as it */
	bool foreign; /* the first address's domain is not ours */
	const char *broken;
};

static enum bs_err walk_address(struct walk *walk, const char *address, const char *parent, unsigned depth);

static void
list_clear(struct list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct list){ .max = list->max };
}

/* Adds a copy, once. */
static enum bs_err
list_add(struct list *list, const char *address)
{
	size_t size = list->size == 0 ? 4 : list->size * 2;
	char **items, *copy;

	for (size_t i = 0; i < list->n; i++)
		if (strcmp(list->items[i], address) == 0)
			return BS_OK;
	if (list->n >= list->max)
		return BS_ERR_LIMIT;
	if (list->n == list->size) {
		items = realloc(list->items, size * sizeof(*items));
		if (items == NULL)
			return BS_ERR_NOMEM;
		list->items = items;
		list->size = size;
	}
	copy = strdup(address);
	if (copy == NULL)
		return BS_ERR_NOMEM;
	list->items[list->n++] = copy;
	return BS_OK;
}

static enum bs_err
alias_cb(void *ctx, const char *alias, const char *target)
{
	(void)alias;
	return list_add(ctx, target);
}

/* Puts address with extension ("+x" or "") before its '@' into out; one that would be too long stays as it is. */
static void
with_extension(const char *address, const char *extension, char out[BS_ADDRESS_MAX + 1])
{
	const char *at = strrchr(address, '@');
	int n = -1;

	if (at != NULL)
		n = snprintf(out, BS_ADDRESS_MAX + 1, "%.*s%s%s", (int)(at - address), address, extension, at);
	if (n < 0 || n > BS_ADDRESS_MAX)
		(void)snprintf(out, BS_ADDRESS_MAX + 1, "%s", address);
}

/* The "+x" of address, or "". base is address without it. */
static void
extension_of(const char *address, const char *base, char out[BS_ADDRESS_MAX + 1])
{
	const char *at = strrchr(address, '@'), *base_at = strrchr(base, '@');
	size_t skip = base_at != NULL ? (size_t)(base_at - base) : 0;
	size_t len = at != NULL ? (size_t)(at - address) : 0;

	(void)snprintf(out, BS_ADDRESS_MAX + 1, "%.*s", len > skip ? (int)(len - skip) : 0, address + skip);
}

/* The targets of the alias base, each with the extension of address (as Postfix propagates it); no alias: empty. */
static enum bs_err
alias_targets(struct walk *walk, const char *address, const char *base, struct list *out)
{
	struct list plain = { .max = out->max };
	char extension[BS_ADDRESS_MAX + 1], target[BS_ADDRESS_MAX + 1];
	enum bs_err err;

	extension_of(address, base, extension);
	err = bs_alias_list(walk->store, base, alias_cb, &plain);
	if (err == BS_ERR_NOENT)
		err = BS_OK;
	for (size_t i = 0; err == BS_OK && i < plain.n; i++) {
		with_extension(plain.items[i], extension, target);
		err = list_add(out, target);
	}
	list_clear(&plain);
	return err;
}

static enum bs_err
walk_account(struct walk *walk, const char *address, const char *base)
{
	struct bs_account account;
	enum bs_err err = bs_account_get(walk->store, base, &account);

	if (err == BS_ERR_NOENT)
		return list_add(&walk->missing, address);
	if (err != BS_OK)
		return err;
	if (!account.enabled) {
		walk->disabled++;
		return BS_OK;
	}
	err = list_add(&walk->targets, address);
	return err == BS_OK && !walk->account ? list_add(&walk->logins, base) : err;
}

/* The first address is an alias: is base an account, too? */
static enum bs_err
find_own_account(struct walk *walk, const char *base)
{
	struct bs_account account;
	enum bs_err err = bs_account_get(walk->store, base, &account);

	if (err != BS_OK)
		return err == BS_ERR_NOENT ? BS_OK : err;
	walk->account = true;
	return account.enabled ? list_add(&walk->logins, base) : BS_OK;
}

/* Notes that address is being looked at. *skip: it was before (a loop if it still is). */
static enum bs_err
visit(struct walk *walk, const char *address, size_t *index, bool *skip)
{
	struct visit *visits;

	*skip = true;
	for (size_t i = 0; i < walk->n_visits; i++) {
		if (strcmp(walk->visits[i].address, address) != 0)
			continue;
		if (walk->visits[i].open)
			walk->broken = "alias loop";
		return BS_OK;
	}
	if (walk->n_visits >= RESOLVE_VISITS_MAX)
		return BS_ERR_LIMIT;
	if ((walk->n_visits & 15) == 0) {
		visits = realloc(walk->visits, (walk->n_visits + 16) * sizeof(*visits));
		if (visits == NULL)
			return BS_ERR_NOMEM;
		walk->visits = visits;
	}
	*skip = false;
	*index = walk->n_visits++;
	walk->visits[*index].open = true;
	(void)snprintf(walk->visits[*index].address, BS_ADDRESS_MAX + 1, "%s", address);
	return BS_OK;
}

static enum bs_err
walk_local(struct walk *walk, const char *address, unsigned depth)
{
	struct list next = { .max = RESOLVE_TARGETS_MAX };
	char base[BS_ADDRESS_MAX + 1];
	enum bs_err err;

	bs_address_base(address, base);
	err = alias_targets(walk, address, base, &next);
	if (err != BS_OK)
		goto out;
	if (next.n == 0) {
		err = walk_account(walk, address, base);
		goto out;
	}
	if (depth == 0) {
		walk->alias = true;
		err = find_own_account(walk, base);
	}
	for (size_t i = 0; i < next.n && err == BS_OK && walk->broken == NULL; i++)
		err = walk_address(walk, next.items[i], address, depth + 1);
out:
	list_clear(&next);
	return err;
}

/* parent: the alias that named address, or NULL. */
static enum bs_err
walk_address(struct walk *walk, const char *address, const char *parent, unsigned depth)
{
	char base[BS_ADDRESS_MAX + 1];
	const char *at = strrchr(address, '@');
	size_t index = 0;
	bool skip = false;
	enum bs_err err;

	if (bs_now_ms() >= walk->deadline_ms)
		return BS_ERR_TIMEOUT;
	if (parent != NULL && strcmp(parent, address) == 0) {
		bs_address_base(address, base);
		return walk_account(walk, address, base);
	}
	err = bs_domain_exists(walk->store, at != NULL ? at + 1 : address);
	if (err == BS_ERR_NOENT) {
		walk->foreign = depth == 0;
		return depth == 0 ? BS_OK : list_add(&walk->targets, address);
	}
	if (err != BS_OK)
		return err;
	if (depth > RESOLVE_DEPTH_MAX) {
		walk->broken = "aliases nested too deeply";
		return BS_OK;
	}
	err = visit(walk, address, &index, &skip);
	if (err != BS_OK || skip)
		return err;
	err = walk_local(walk, address, depth);
	walk->visits[index].open = false;
	return err;
}

struct resolution *
resolution_new(enum resolve_state state, const char *why)
{
	struct resolution *res = calloc(1, sizeof(*res));

	if (res == NULL)
		return NULL;
	atomic_init(&res->refs, 1);
	res->state = state;
	res->why = why;
	bs_policy_defaults(&res->policy);
	return res;
}

static enum resolve_state
walk_state(const struct walk *walk)
{
	if (walk->broken != NULL)
		return RESOLVE_BROKEN;
	if (walk->foreign)
		return RESOLVE_FOREIGN;
	if (walk->targets.n > 0)
		return walk->alias ? RESOLVE_ALIAS : RESOLVE_ACCOUNT;
	return walk->disabled > 0 ? RESOLVE_DISABLED : RESOLVE_UNKNOWN;
}

/* The items with ", " between them, for the caller to free; NULL when out of memory. */
static char *
list_join(const struct list *list)
{
	size_t size = list->n * (BS_ADDRESS_MAX + 2) + 1, len = 0;
	char *text = calloc(1, size);

	for (size_t i = 0; text != NULL && i < list->n; i++)
		len += (size_t)snprintf(text + len, size - len, "%s%s", i > 0 ? ", " : "", list->items[i]);
	return text;
}

/*
 * A target that is no account keeps its copy of the mail: it waits in Postfix's queue until the admin has mended the alias,
 * or comes back to its sender. Left out, it would vanish unseen.
 */
static enum bs_err
keep_missing(struct walk *walk)
{
	enum bs_err err = BS_OK;

	for (size_t i = 0; walk->targets.n > 0 && i < walk->missing.n && err == BS_OK; i++)
		err = list_add(&walk->targets, walk->missing.items[i]);
	return err;
}

/* The walk's outcome; takes its targets. */
static struct resolution *
walk_result(struct walk *walk)
{
	enum resolve_state state = walk_state(walk);
	size_t n = state == RESOLVE_ACCOUNT || state == RESOLVE_ALIAS ? walk->targets.n : 0;
	struct resolution *res = calloc(1, sizeof(*res) + n * sizeof(res->targets[0]));

	if (res == NULL)
		return NULL;
	if (state != RESOLVE_BROKEN && walk->logins.n > 0) {
		res->logins = list_join(&walk->logins);
		if (res->logins == NULL) {
			free(res);
			return NULL;
		}
	}
	atomic_init(&res->refs, 1);
	res->state = state;
	res->why = walk->broken;
	bs_policy_defaults(&res->policy);
	for (; res->n < n; res->n++) {
		res->targets[res->n].address = walk->targets.items[res->n];
		res->targets[res->n].ours = true;
		bs_policy_defaults(&res->targets[res->n].policy);
		walk->targets.items[res->n] = NULL;
	}
	return res;
}

/* What bs_address_parse() refuses: ours to refuse if the domain is ours. */
static enum bs_err
expand_odd(struct bs_store_policy *store, const char *address, struct resolution **out)
{
	char domain[BS_ADDRESS_MAX + 1];
	const char *at = strrchr(address, '@');
	enum bs_err err = BS_ERR_NOENT;

	if (at != NULL && bs_domain_parse(at + 1, domain) == BS_OK)
		err = bs_domain_exists(store, domain);
	if (err != BS_OK && err != BS_ERR_NOENT)
		return err;
	*out = resolution_new(err == BS_OK ? RESOLVE_UNKNOWN : RESOLVE_FOREIGN, NULL);
	return *out != NULL ? BS_OK : BS_ERR_NOMEM;
}

enum bs_err
expand_address(struct bs_store_policy *store, const char *address, int64_t deadline_ms, struct resolution **out)
{
	struct walk walk = { .store = store, .deadline_ms = deadline_ms, .targets = { .max = RESOLVE_TARGETS_MAX },
		.missing = { .max = RESOLVE_TARGETS_MAX }, .logins = { .max = RESOLVE_TARGETS_MAX } };
	char clean[BS_ADDRESS_MAX + 1];
	struct resolution *res;
	enum bs_err err;

	if (bs_address_parse(address, clean) != BS_OK)
		return expand_odd(store, address, out);
	err = walk_address(&walk, clean, NULL, 0);
	if (err == BS_OK)
		err = keep_missing(&walk);
	if (err == BS_ERR_LIMIT) {
		walk.broken = "alias with too many targets";
		err = BS_OK;
	}
	if (err != BS_OK)
		goto out;
	res = walk_result(&walk);
	if (res == NULL)
		err = BS_ERR_NOMEM;
	else
		*out = res;
out:
	list_clear(&walk.targets);
	list_clear(&walk.missing);
	list_clear(&walk.logins);
	free(walk.visits);
	return err;
}

enum bs_err
expand_domain(struct bs_store_policy *store, const char *domain, struct resolution **out)
{
	char clean[BS_ADDRESS_MAX + 1];
	enum bs_err err = BS_ERR_NOENT;

	if (bs_domain_parse(domain, clean) == BS_OK)
		err = bs_domain_exists(store, clean);
	if (err != BS_OK && err != BS_ERR_NOENT)
		return err;
	*out = resolution_new(err == BS_OK ? RESOLVE_DOMAIN : RESOLVE_FOREIGN, NULL);
	return *out != NULL ? BS_OK : BS_ERR_NOMEM;
}
