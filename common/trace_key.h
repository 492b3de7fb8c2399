/*
 * trace_key: the site-wide key under which the milters hash what they remember of who writes to whom. One line, "HEX32", in a file
 * that is the same on all nodes; another key makes all that was remembered mean nothing, which is how it is forgotten.
 *
 * The file belongs to root or to who reads it; others may not read it, and its group may not write it. One thread.
 *
 *     err = bs_trace_key_read("/etc/basalt/trace.key", key, errbuf, sizeof(errbuf));
 */
#ifndef BS_TRACE_KEY_H
#define BS_TRACE_KEY_H

#include <sys/types.h>

#include "crypto.h"

/*
 * Makes the file with a random key: mode 0640 and of group, or 0600 for (gid_t)-1. BS_ERR_EXISTS, BS_ERR_IO: errbuf says so, and there
 * is no file that was not there before.
 */
enum bs_err bs_trace_key_new(const char *path, gid_t group, char *errbuf, size_t errbuf_size) BS_MUST_USE;
/* BS_ERR_CONF: errbuf says what is wrong with it. */
enum bs_err bs_trace_key_read(const char *path, uint8_t key[BS_KEY_LEN], char *errbuf, size_t errbuf_size) BS_MUST_USE;


#define BS_TRACE_HASH_LEN 16

/*
 * What stands for something in the database: a keyed hash of what kind of thing it is and up to three texts, "" where there
 * are fewer. BS_ERR_LIMIT: they are too long together (1 KiB).
 */
enum bs_err bs_trace_hash(const uint8_t key[BS_KEY_LEN], const char *kind, const char *a, const char *b, const char *c,
    uint8_t out[BS_TRACE_HASH_LEN]) BS_MUST_USE;

#endif
