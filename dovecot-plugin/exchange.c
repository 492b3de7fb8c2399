#include "compat.h"

#include <ioloop.h>

#include "exchange.h"
#include "sock.h"

struct entry {
	struct bs_kem kem;
	int64_t until_ms; /* 0: free */
};

/* In locked memory; NULL until the first one. */
static struct entry *table;
static struct timeout *to_wipe;

static void
wipe_old(void *context ATTR_UNUSED)
{
	int64_t now = bs_now_ms();
	bool any = false;

	for (size_t i = 0; i < BASALT_EXCHANGES_MAX; i++) {
		if (table[i].until_ms <= now)
			bs_wipe(&table[i], sizeof(table[i]));
		any |= table[i].until_ms != 0;
	}
	if (!any)
		timeout_remove(&to_wipe);
}

/* What serves this key, or else where to put what will: a free place or the oldest. */
static struct entry *
find(const uint8_t public_key[BS_KEY_LEN], int64_t now)
{
	struct entry *where = &table[0];

	for (size_t i = 0; i < BASALT_EXCHANGES_MAX; i++) {
		if (table[i].until_ms > now && memcmp(table[i].kem.pub, public_key, BS_KEY_LEN) == 0)
			return &table[i];
		if (table[i].until_ms < where->until_ms)
			where = &table[i];
	}
	bs_wipe(where, sizeof(*where));
	return where;
}

static bool
ready(void)
{
	/* Without an event loop nothing would wipe it. */
	if (io_loop_get_root() == NULL)
		return false;
	if (table == NULL) {
		table = bs_secret_new(BASALT_EXCHANGES_MAX * sizeof(*table));
		if (table != NULL)
			memset(table, 0, BASALT_EXCHANGES_MAX * sizeof(*table));
	}
	return table != NULL;
}

const struct bs_kem *
basalt_exchange(const uint8_t public_key[BS_KEY_LEN])
{
	int64_t now = bs_now_ms();
	struct entry *e;

	if (!ready())
		return NULL;
	e = find(public_key, now);
	if (e->kem.made)
		return &e->kem;
	if (bs_kem_start(public_key, &e->kem) != BS_OK)
		return NULL;
	e->until_ms = now + BASALT_EXCHANGE_MS;
	if (to_wipe == NULL)
		to_wipe = timeout_add_to(io_loop_get_root(), BASALT_EXCHANGE_MS, wipe_old, (void *)NULL);
	return &e->kem;
}

void
basalt_exchange_deinit(void)
{
	timeout_remove(&to_wipe);
	bs_secret_free(table);
	table = NULL;
}
