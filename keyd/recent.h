/*
 * recent: the public records that the vault verified within the last second, for deliveries: a burst of mail to one account
 * asks the database once.
 *
 * Public data, each verified when it was put. Bounded: a name that meets another one's place takes it. What this keyd changes
 * is forgotten at once; what another node or somebody with access to the database changes is noticed a second later.
 * Belongs to the vault's one thread.
 *
 *     recent_put(recent, name, bytes, len, now_ms);
 *     if ((len = recent_get(recent, name, now_ms, bytes)) > 0) ...
 */
#ifndef KEYD_RECENT_H
#define KEYD_RECENT_H

#include "record.h"

#define RECENT_MS 1000
#define RECENT_PLACES 1024

struct recent;

/* key keeps others from choosing who shares a place. NULL: no memory. */
struct recent *recent_new(const uint8_t key[BS_KEY_LEN]);
void recent_free(struct recent *recent);
/* len is at most BS_RECORD_MAX, or nothing is kept. */
void recent_put(struct recent *recent, const char *name, const uint8_t *bytes, size_t len, int64_t now_ms);
/* Copies the record to out and returns its length; 0: there is none that is young enough. */
size_t recent_get(const struct recent *recent, const char *name, int64_t now_ms, uint8_t out[BS_RECORD_MAX]);
void recent_forget(struct recent *recent, const char *name);

#endif
