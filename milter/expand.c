#include "expand.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sock.h"

/* A list of addresses, bounded; of targets it has the policies, too. */
struct list {
	struct resolution_target *items;
	size_t n, size, max;
};

struct visit {
	char address[BS_ADDRESS_MAX + 1];
	bool by_catch_all;
	bool open; /* on the way from the first address to here */
};

struct walk {
	struct bs_store_policy *store;
	struct policies *policies;
	int64_t deadline_ms;
	struct list targets;
	struct list missing; /* addresses of ours behind an alias that are no account */
	struct list logins;  /* the accounts among the targets, without extension */
	struct visit *visits;
	size_t n_visits;
	size_t disabled;
	unsigned ignored;
	struct bs_policy policy; /* the first address's */
	bool by_catch_all; /* what is looked at is behind one: nobody sends as any address of a domain */
	bool alias;        /* the first address is one */
	bool account;      /* and an account, too: the only one that sends as it */
	bool foreign;      /* the first address's domain is not ours */
	const char *broken;
};

/* One address on the way, and what there is of it. */
struct step {
	const char *address;
	char base[BS_ADDRESS_MAX + 1];      /* without its extension */
	char extension[BS_ADDRESS_MAX + 1]; /* "+x" or "" */
	struct bs_address_facts facts;
	struct list next;      /* the alias's targets, with the extension (as Postfix propagates it) */
	struct list catch_all; /* the targets of its domain's catch-all, without: of the address nothing was matched */
};

static enum bs_err walk_address(struct walk *walk, const char *address, unsigned depth);

static void
target_clear(struct resolution_target *target)
{
	free(target->address);
	policies_give(target->policy);
}

static void
list_clear(struct list *list)
{
	for (size_t i = 0; i < list->n; i++)
		target_clear(&list->items[i]);
	free(list->items);
	*list = (struct list){ .max = list->max };
}

static bool
list_has(const struct list *list, const char *address)
{
	for (size_t i = 0; i < list->n; i++)
		if (strcmp(list->items[i].address, address) == 0)
			return true;
	return false;
}

/* Takes policy, whatever happens. */
static enum bs_err
list_append(struct list *list, const char *address, bool ours, const struct bs_policy *policy)
{
	struct resolution_target item = { .address = strdup(address), .ours = ours, .policy = policy };
	size_t size = list->size == 0 ? 4 : list->size * 2;
	struct resolution_target *items = list->items;
	enum bs_err err = item.address == NULL ? BS_ERR_NOMEM : list->n >= list->max ? BS_ERR_LIMIT : BS_OK;

	if (err == BS_OK && list->n == list->size) {
		items = realloc(list->items, size * sizeof(*items));
		if (items == NULL)
			err = BS_ERR_NOMEM;
	}
	if (err != BS_OK) {
		target_clear(&item);
		return err;
	}
	if (list->n == list->size)
		list->size = size;
	list->items = items;
	list->items[list->n++] = item;
	return BS_OK;
}

/* Adds a copy, once. */
static enum bs_err
list_add(struct list *list, const char *address)
{
	return list_has(list, address) ? BS_OK : list_append(list, address, false, NULL);
}

static enum bs_err
list_add_target(struct walk *walk, struct list *list, const char *address, bool ours, const struct bs_policy *policy)
{
	const struct bs_policy *kept;

	if (list_has(list, address))
		return BS_OK;
	kept = policies_take(walk->policies, policy);
	return kept != NULL ? list_append(list, address, ours, kept) : BS_ERR_NOMEM;
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

static enum bs_err
target_cb(void *ctx, bool catch_all, const char *target)
{
	struct step *step = ctx;
	char extended[BS_ADDRESS_MAX + 1];

	if (catch_all)
		return list_add(&step->catch_all, target);
	with_extension(target, step->extension, extended);
	return list_add(&step->next, extended);
}

/* All that there is of address, by one statement. */
static enum bs_err
look(struct walk *walk, const char *address, struct step *step)
{
	enum bs_err err;

	step->address = address;
	bs_address_base(address, step->base);
	extension_of(address, step->base, step->extension);
	step->next.max = step->catch_all.max = RESOLVE_TARGETS_MAX;
	err = bs_address_look(walk->store, step->base, target_cb, step, &step->facts);
	if (err == BS_OK)
		walk->ignored += step->facts.ignored;
	return err;
}

static enum bs_err
take_account(struct walk *walk, const struct step *step)
{
	enum bs_err err;

	if (!step->facts.account)
		return list_add_target(walk, &walk->missing, step->address, false, &step->facts.policy);
	if (!step->facts.enabled) {
		walk->disabled++;
		return BS_OK;
	}
	err = list_add_target(walk, &walk->targets, step->address, true, &step->facts.policy);
	return err == BS_OK && !walk->account && !walk->by_catch_all ? list_add(&walk->logins, step->base) : err;
}

/* The first address is an alias: is it an account, too? */
static enum bs_err
find_own_account(struct walk *walk, const struct step *step)
{
	walk->alias = true;
	walk->account = step->facts.account;
	return step->facts.account && step->facts.enabled ? list_add(&walk->logins, step->base) : BS_OK;
}

/* Notes that address is being looked at. *skip: it was before (a loop if it still is). */
static enum bs_err
visit(struct walk *walk, const char *address, size_t *index, bool *skip)
{
	struct visit *visits;

	*skip = true;
	for (size_t i = 0; i < walk->n_visits; i++) {
		if (walk->visits[i].by_catch_all != walk->by_catch_all || strcmp(walk->visits[i].address, address) != 0)
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
	walk->visits[*index].by_catch_all = walk->by_catch_all;
	(void)snprintf(walk->visits[*index].address, BS_ADDRESS_MAX + 1, "%s", address);
	return BS_OK;
}

static enum bs_err
walk_targets(struct walk *walk, const struct step *step, const struct list *next, unsigned depth)
{
	enum bs_err err = depth == 0 ? find_own_account(walk, step) : BS_OK;

	for (size_t i = 0; i < next->n && err == BS_OK && walk->broken == NULL; i++) {
		if (strcmp(next->items[i].address, step->address) == 0)
			err = take_account(walk, step); /* "and the account of this name" */
		else
			err = walk_address(walk, next->items[i].address, depth + 1);
	}
	return err;
}

/* An alias before an account, an account before its domain's catch-all. */
static enum bs_err
walk_local(struct walk *walk, const struct step *step, unsigned depth)
{
	bool before = walk->by_catch_all;
	enum bs_err err;

	if (step->next.n > 0)
		return walk_targets(walk, step, &step->next, depth);
	if (step->facts.account || step->catch_all.n == 0)
		return take_account(walk, step);
	walk->by_catch_all = true;
	err = walk_targets(walk, step, &step->catch_all, depth);
	walk->by_catch_all = before;
	return err;
}

static enum bs_err
walk_step(struct walk *walk, const struct step *step, unsigned depth)
{
	if (depth == 0)
		walk->policy = step->facts.policy;
	if (!step->facts.domain) {
		walk->foreign = depth == 0;
		return depth == 0 ? BS_OK
		                  : list_add_target(walk, &walk->targets, step->address, false, &step->facts.policy);
	}
	if (depth > RESOLVE_DEPTH_MAX) {
		walk->broken = "aliases nested too deeply";
		return BS_OK;
	}
	return walk_local(walk, step, depth);
}

static enum bs_err
walk_address(struct walk *walk, const char *address, unsigned depth)
{
	struct step step = { 0 };
	size_t index = 0;
	bool skip = false;
	enum bs_err err;

	if (bs_now_ms() >= walk->deadline_ms)
		return BS_ERR_TIMEOUT;
	err = visit(walk, address, &index, &skip);
	if (err != BS_OK || skip)
		return err;
	err = look(walk, address, &step);
	if (err == BS_OK)
		err = walk_step(walk, &step, depth);
	list_clear(&step.next);
	list_clear(&step.catch_all);
	walk->visits[index].open = false;
	return err;
}

/* Without targets, with the policy given, which may be NULL: the defaults. */
static struct resolution *
bare(enum resolve_state state, const char *why, struct policies *policies, const struct bs_policy *policy)
{
	struct resolution *res = calloc(1, sizeof(*res));
	struct bs_policy defaults;

	if (res == NULL)
		return NULL;
	bs_policy_defaults(&defaults);
	atomic_init(&res->refs, 1);
	res->state = state;
	res->why = why;
	res->policy = policies_take(policies, policy != NULL ? policy : &defaults);
	if (res->policy != NULL)
		return res;
	free(res);
	return NULL;
}

struct resolution *
resolution_new(enum resolve_state state, const char *why)
{
	return bare(state, why, NULL, NULL);
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

/* The items with ", " between them, for the caller to free; NULL when out of memory. It is kept long: no byte too large. */
static char *
list_join(const struct list *list)
{
	size_t size = 1, len = 0;
	char *text;

	for (size_t i = 0; i < list->n; i++)
		size += strlen(list->items[i].address) + 2;
	text = calloc(1, size);
	for (size_t i = 0; text != NULL && i < list->n; i++)
		len += (size_t)snprintf(text + len, size - len, "%s%s", i > 0 ? ", " : "", list->items[i].address);
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
		err = list_add_target(walk, &walk->targets, walk->missing.items[i].address, false, walk->missing.items[i].policy);
	return err;
}

/* The walk's outcome; takes its targets. */
static struct resolution *
walk_result(struct walk *walk)
{
	enum resolve_state state = walk_state(walk);
	size_t n = state == RESOLVE_ACCOUNT || state == RESOLVE_ALIAS ? walk->targets.n : 0;
	struct resolution *res = bare(state, walk->broken, walk->policies, &walk->policy), *more;

	if (res == NULL)
		return NULL;
	more = realloc(res, sizeof(*res) + n * sizeof(res->targets[0]));
	if (more == NULL)
		goto failed;
	res = more;
	if (state != RESOLVE_BROKEN && walk->logins.n > 0) {
		res->logins = list_join(&walk->logins);
		if (res->logins == NULL)
			goto failed;
	}
	res->ignored = walk->ignored;
	res->n = n;
	for (size_t i = 0; i < n; i++) {
		res->targets[i] = walk->targets.items[i];
		walk->targets.items[i] = (struct resolution_target){ 0 };
	}
	return res;
failed:
	resolution_unref(res);
	return NULL;
}

static enum bs_err
no_targets(void *ctx, bool catch_all, const char *target)
{
	(void)ctx;
	(void)catch_all;
	(void)target;
	return BS_OK;
}

/* A resolution of a domain: state if it is ours, else foreign. */
static enum bs_err
resolve_domain(struct bs_store_policy *store, struct policies *policies, const char *domain, enum resolve_state state,
    struct resolution **out)
{
	struct bs_address_facts facts = { 0 };
	char name[BS_DOMAIN_MAX + 2];
	enum bs_err err;

	name[0] = '@';
	bs_policy_defaults(&facts.policy);
	if (bs_domain_parse(domain, name + 1) == BS_OK) {
		err = bs_address_look(store, name, no_targets, NULL, &facts);
		if (err != BS_OK)
			return err;
	}
	*out = bare(facts.domain ? state : RESOLVE_FOREIGN, NULL, policies, &facts.policy);
	if (*out == NULL)
		return BS_ERR_NOMEM;
	(*out)->ignored = facts.ignored;
	return BS_OK;
}

enum bs_err
expand_address(struct bs_store_policy *store, struct policies *policies, const char *address, int64_t deadline_ms,
    struct resolution **out)
{
	struct walk walk = { .store = store, .policies = policies, .deadline_ms = deadline_ms,
		.targets = { .max = RESOLVE_TARGETS_MAX }, .missing = { .max = RESOLVE_TARGETS_MAX },
		.logins = { .max = RESOLVE_TARGETS_MAX } };
	const char *at = strrchr(address, '@');
	char clean[BS_ADDRESS_MAX + 1];
	struct resolution *res;
	enum bs_err err;

	/* What bs_address_parse() refuses is ours to refuse if the domain is ours. */
	if (bs_address_parse(address, clean) != BS_OK)
		return resolve_domain(store, policies, at != NULL ? at + 1 : "", RESOLVE_UNKNOWN, out);
	bs_policy_defaults(&walk.policy);
	err = walk_address(&walk, clean, 0);
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
expand_domain(struct bs_store_policy *store, struct policies *policies, const char *domain, struct resolution **out)
{
	return resolve_domain(store, policies, domain, RESOLVE_DOMAIN, out);
}
