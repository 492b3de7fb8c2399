/*
 * store_keys: the keys database, which keyd's keystore process alone opens: keyset blobs, one row a generation.
 *
 * Rows are never overwritten. A new generation is one INSERT whose primary key (account, generation) makes two writers
 * conflict; superseded ones are deleted only when the caller says so. The store believes nothing and verifies nothing:
 * the vault does. One thread at a time.
 *
 *     err = bs_store_keys_open(url, password_file, 2000, &store);     // migrates
 *     err = bs_store_keys_get(store, "alice@example.org", &blob, &len, &generation);
 */
#ifndef BS_STORE_KEYS_H
#define BS_STORE_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct bs_store_keys;

enum bs_err bs_store_keys_open(const char *url, const char *password_file, int timeout_ms,
    struct bs_store_keys **out) BS_MUST_USE;
/* Whether url has a form that open understands; opens nothing. BS_ERR_FORMAT. */
enum bs_err bs_store_keys_check_url(const char *url) BS_MUST_USE;
void bs_store_keys_close(struct bs_store_keys *store);
/* For a log line. NULL: about this thread's last open that failed. */
const char *bs_store_keys_errmsg(const struct bs_store_keys *store);
/* The newest generation. *blob is malloced, the caller frees. BS_ERR_NOENT. */
enum bs_err bs_store_keys_get(struct bs_store_keys *store, const char *account, uint8_t **blob, size_t *len,
    uint64_t *generation) BS_MUST_USE;
/* Adds a generation and reads it back over a fresh connection. BS_ERR_CONFLICT: it exists, or is not newest + 1.
 * After another error it may be stored all the same: get again before the next put. */
enum bs_err bs_store_keys_put(struct bs_store_keys *store, const char *account, uint64_t generation, const void *blob,
    size_t len) BS_MUST_USE;
/* The same, but generation is only newer than the newest: the ones between were lost, or lie elsewhere. */
enum bs_err bs_store_keys_put_past(struct bs_store_keys *store, const char *account, uint64_t generation,
    const void *blob, size_t len) BS_MUST_USE;
/* Deletes what is older than keep_from, never the newest. */
enum bs_err bs_store_keys_prune(struct bs_store_keys *store, const char *account, uint64_t keep_from) BS_MUST_USE;
/* All generations. BS_ERR_NOENT. */
enum bs_err bs_store_keys_remove(struct bs_store_keys *store, const char *account) BS_MUST_USE;
enum bs_err bs_store_keys_count(struct bs_store_keys *store, uint64_t *accounts) BS_MUST_USE;

#endif
