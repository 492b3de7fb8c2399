/*
 * recent: the public records that were fetched a moment ago, for deliveries: a burst of mail to one account asks once. keyd's
 * vault keeps so what it verified, Dovecot's auth process what the vault answered; each for BS_RECENT_MS, a second together.
 *
 * Public data. Bounded: a name that meets another one's place takes it. Belongs to one thread.
 *
 *     bs_recent_put(recent, name, bytes, len, now_ms);
 *     if ((len = bs_recent_get(recent, name, now_ms, bytes)) > 0) ...
 */
#ifndef BS_RECENT_H
#define BS_RECENT_H

#include "record.h"

#define BS_RECENT_MS 500
#define BS_RECENT_PLACES 1024

struct bs_recent;

/* key keeps others from choosing who shares a place. NULL: no memory. */
struct bs_recent *bs_recent_new(const uint8_t key[BS_KEY_LEN]);
void bs_recent_free(struct bs_recent *recent);
/* len is at most BS_RECORD_MAX, or nothing is kept. now_ms: when it was asked for. */
void bs_recent_put(struct bs_recent *recent, const char *name, const uint8_t *bytes, size_t len, int64_t now_ms);
/* Copies the record to out and returns its length; 0: there is none that is young enough. */
size_t bs_recent_get(const struct bs_recent *recent, const char *name, int64_t now_ms, uint8_t out[BS_RECORD_MAX]);
void bs_recent_forget(struct bs_recent *recent, const char *name);

#endif
