#include "compat.h"

#include "keymem.h"
#include "plugin.h"

struct entry {
	const struct basalt_user *owner; /* NULL: free */
	uint64_t used;                   /* the table's clock when it was put or found last */
	uint8_t message_id[BS_ID_LEN];
	uint8_t data_key[BS_KEY_LEN];
};

/* Process-wide on purpose (see the header); NULL until the first key. */
static struct entry *table;
static uint64_t table_clock;

/* By account: two mail users of one account, in lmtp, see each other's keys. */
static struct entry *
keymem_find(const struct basalt_user *reader, const uint8_t message_id[BS_ID_LEN])
{
	if (table == NULL)
		return NULL;
	for (size_t i = 0; i < BASALT_KEYMEM_MAX; i++) {
		if (table[i].owner != NULL && memcmp(table[i].message_id, message_id, BS_ID_LEN) == 0 &&
		    strcmp(table[i].owner->account, reader->account) == 0)
			return &table[i];
	}
	return NULL;
}

static struct entry *
keymem_oldest(void)
{
	struct entry *oldest = &table[0];

	for (size_t i = 0; i < BASALT_KEYMEM_MAX; i++) {
		if (table[i].owner == NULL)
			return &table[i];
		if (table[i].used < oldest->used)
			oldest = &table[i];
	}
	return oldest;
}

void
basalt_keymem_put(const struct basalt_user *owner, const uint8_t message_id[BS_ID_LEN],
    const uint8_t data_key[BS_KEY_LEN])
{
	struct entry *e = keymem_find(owner, message_id);

	if (table == NULL) {
		table = bs_secret_new(BASALT_KEYMEM_MAX * sizeof(*table));
		if (table == NULL)
			return;
		memset(table, 0, BASALT_KEYMEM_MAX * sizeof(*table));
	}
	if (e == NULL) {
		e = keymem_oldest();
		e->owner = owner;
	}
	e->used = ++table_clock;
	memcpy(e->message_id, message_id, BS_ID_LEN);
	memcpy(e->data_key, data_key, BS_KEY_LEN);
}

bool
basalt_keymem_get(const struct basalt_user *reader, const uint8_t message_id[BS_ID_LEN], uint8_t data_key[BS_KEY_LEN])
{
	struct entry *e = keymem_find(reader, message_id);

	if (e == NULL)
		return false;
	e->used = ++table_clock;
	memcpy(data_key, e->data_key, BS_KEY_LEN);
	return true;
}

void
basalt_keymem_drop(const struct basalt_user *reader, const uint8_t message_id[BS_ID_LEN])
{
	struct entry *e = keymem_find(reader, message_id);

	if (e != NULL)
		bs_wipe(e, sizeof(*e));
}

void
basalt_keymem_forget(const struct basalt_user *owner)
{
	for (size_t i = 0; table != NULL && i < BASALT_KEYMEM_MAX; i++) {
		if (table[i].owner == owner)
			bs_wipe(&table[i], sizeof(table[i]));
	}
}

void
basalt_keymem_deinit(void)
{
	bs_secret_free(table);
	table = NULL;
}
