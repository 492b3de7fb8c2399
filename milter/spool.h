/*
 * spool: a message's bytes, kept so that they can be read again from anywhere: in memory up to a size, then in a file without
 * a name in a folder that must be a tmpfs, since message text never touches a disk. Bounded for each message and in all;
 * over a bound, or when the tmpfs is full, is transient: the message is deferred, never half looked at.
 *
 * spools: shared by all sessions, any thread. spool: one thread at a time.
 * Errors: BS_ERR_LIMIT (this message is larger than one may be), BS_ERR_BUSY (all are together, or the tmpfs is full: later),
 * BS_ERR_NOMEM, BS_ERR_IO. After a failed append nothing more may be appended.
 *
 *     err = spools_new(&settings, why, sizeof(why), &spools);
 *     spool = spool_new(spools);
 *     err = spool_append(spool, data, len);
 *     err = spool_read(spool, offset, buf, sizeof(buf), &n);     // n 0: behind the end
 *     spool_free(spool);
 */
#ifndef MILTER_SPOOL_H
#define MILTER_SPOOL_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct spools;
struct spool;

struct spools_settings {
	const char *folder; /* "": none, then what does not fit into memory is BS_ERR_LIMIT */
	uint64_t memory_max;  /* bytes of one message in memory */
	uint64_t message_max; /* bytes of one message */
	uint64_t total_max;   /* bytes of all messages, in memory and in files */
};

/* BS_ERR_CONF: the folder cannot serve; why says what is wrong with it and how to mend it. */
enum bs_err spools_new(const struct spools_settings *settings, char *why, size_t why_size, struct spools **out) BS_MUST_USE;
/* When no spool is left. NULL is legal. */
void spools_free(struct spools *spools);
/* Bytes that all spools hold now. */
uint64_t spools_used(struct spools *spools);

/* NULL when out of memory. */
struct spool *spool_new(struct spools *spools);
/* Forgets all of it; the bytes in memory are wiped. NULL is legal. */
void spool_free(struct spool *spool);
enum bs_err spool_append(struct spool *spool, const void *data, size_t len) BS_MUST_USE;
uint64_t spool_len(const struct spool *spool);
/* *n: bytes read from offset on; fewer than len only at the end. */
enum bs_err spool_read(const struct spool *spool, uint64_t offset, void *out, size_t len, size_t *n) BS_MUST_USE;

#endif
