#include "recent.h"

#include <stdlib.h>
#include <string.h>

struct place {
	char name[BS_ACCOUNT_NAME_MAX + 1];
	uint8_t bytes[BS_RECORD_MAX];
	size_t len; /* 0: free */
	int64_t until_ms;
};

struct bs_recent {
	uint8_t key[BS_KEY_LEN];
	struct place places[BS_RECENT_PLACES];
};

struct bs_recent *
bs_recent_new(const uint8_t key[BS_KEY_LEN])
{
	struct bs_recent *recent = calloc(1, sizeof(*recent));

	if (recent != NULL)
		memcpy(recent->key, key, BS_KEY_LEN);
	return recent;
}

void
bs_recent_free(struct bs_recent *recent)
{
	if (recent == NULL)
		return;
	bs_wipe(recent->key, sizeof(recent->key));
	free(recent);
}

/* The one place that a name can have. */
static size_t
place_of(const struct bs_recent *recent, const char *name)
{
	uint8_t mac[BS_HASH_LEN];

	if (bs_hmac(recent->key, name, strlen(name), mac) != BS_OK)
		return 0;
	return ((size_t)mac[0] << 8 | mac[1]) % BS_RECENT_PLACES;
}

void
bs_recent_put(struct bs_recent *recent, const char *name, const uint8_t *bytes, size_t len, int64_t now_ms)
{
	struct place *p = &recent->places[place_of(recent, name)];
	size_t name_len = strlen(name);

	if (len > sizeof(p->bytes) || name_len >= sizeof(p->name))
		return;
	memcpy(p->name, name, name_len + 1);
	memcpy(p->bytes, bytes, len);
	p->len = len;
	p->until_ms = now_ms + BS_RECENT_MS;
}

size_t
bs_recent_get(const struct bs_recent *recent, const char *name, int64_t now_ms, uint8_t out[BS_RECORD_MAX])
{
	const struct place *p = &recent->places[place_of(recent, name)];

	if (p->len == 0 || now_ms >= p->until_ms || strcmp(p->name, name) != 0)
		return 0;
	memcpy(out, p->bytes, p->len);
	return p->len;
}

void
bs_recent_forget(struct bs_recent *recent, const char *name)
{
	struct place *p = &recent->places[place_of(recent, name)];

	if (strcmp(p->name, name) == 0)
		p->len = 0;
}
