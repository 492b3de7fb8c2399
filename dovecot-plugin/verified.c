#include "compat.h"

#include "verified.h"

#define PLACES 64 /* accounts that get mail through one process at a time */

struct place {
	size_t len; /* 0: free */
	uint8_t bytes[BS_RECORD_MAX];
	uint8_t site_pub[BS_SIGN_PUB_LEN];
	struct bs_record rec;
};

/* Process-wide on purpose. Public data: all of it would be accepted again. */
static struct place places[PLACES];
static unsigned int next_place;

/* The signature covers all bytes but its own, and the name is among them: equal bytes mean an equal answer. */
static const struct place *
find(const uint8_t *bytes, size_t len, const uint8_t site_pub[BS_SIGN_PUB_LEN], const char *account)
{
	for (size_t i = 0; i < PLACES; i++) {
		const struct place *p = &places[i];
		if (p->len == len && len > 0 && memcmp(p->bytes, bytes, len) == 0 &&
		    memcmp(p->site_pub, site_pub, BS_SIGN_PUB_LEN) == 0 && strcmp(p->rec.name, account) == 0)
			return p;
	}
	return NULL;
}

static void
remember(const uint8_t *bytes, size_t len, const uint8_t site_pub[BS_SIGN_PUB_LEN], const struct bs_record *rec)
{
	struct place *p = &places[next_place++ % PLACES];

	if (len > sizeof(p->bytes))
		return;
	memcpy(p->bytes, bytes, len);
	memcpy(p->site_pub, site_pub, BS_SIGN_PUB_LEN);
	p->rec = *rec;
	p->len = len;
}

enum bs_err
basalt_verified_open(const uint8_t *bytes, size_t len, const uint8_t site_pub[BS_SIGN_PUB_LEN], const char *account,
    struct bs_record *out)
{
	const struct place *p = find(bytes, len, site_pub, account);
	struct bs_record rec;
	enum bs_err err;

	if (p != NULL) {
		*out = p->rec;
		return BS_OK;
	}
	err = bs_record_open(bytes, len, site_pub, account, &rec);
	if (err != BS_OK)
		return err;
	remember(bytes, len, site_pub, &rec);
	*out = rec;
	return BS_OK;
}
