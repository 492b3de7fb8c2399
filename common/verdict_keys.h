/*
 * verdict_keys: the keys of verdict headers as a running program has them: read at its start, read anew when the file changes.
 *
 * The file is looked at once a second at most, by whoever needs a key then. A new file that can't be read, or is no key file,
 * changes nothing: the keys stay, and complain() is told once. It is told of keys that are retired, too. The file must be
 * readable by the user that the program becomes: as a member of its group (bs_verdict_keys_group()).
 * Any thread; complain() is called with a lock held, so it may log and nothing else.
 *
 *     err = bs_verdict_keys_open("/etc/basalt/verdict.keys", BS_VERDICT_LIFETIME_S, complain, NULL, &keys, errbuf, sizeof(errbuf));
 *     err = bs_verdict_keys_writing(keys, now_s, &key);      // then bs_wipe(&key, sizeof(key))
 */
#ifndef BS_VERDICT_KEYS_H
#define BS_VERDICT_KEYS_H

#include "verdict_keyfile.h"

struct bs_verdict_keys;

/* BS_ERR_CONF: errbuf says what is wrong with the file. complain's text names the file. */
enum bs_err bs_verdict_keys_open(const char *path, int64_t lifetime_s, void (*complain)(void *ctx, const char *text), void *ctx,
    struct bs_verdict_keys **out, char *errbuf, size_t errbuf_size) BS_MUST_USE;
void bs_verdict_keys_free(struct bs_verdict_keys *keys);

/* The newest key whose time has come. BS_ERR_NOENT: none has. */
enum bs_err bs_verdict_keys_writing(struct bs_verdict_keys *keys, int64_t now_s, struct bs_verdict_key *out) BS_MUST_USE;
/* The key of this id, one that is to come too: another node's clock may be ahead. BS_ERR_NOENT: unknown or retired. */
enum bs_err bs_verdict_keys_find(struct bs_verdict_keys *keys, const uint8_t id[BS_VERDICT_KEY_ID_LEN], int64_t now_s,
    struct bs_verdict_key *out) BS_MUST_USE;
int64_t bs_verdict_keys_lifetime(const struct bs_verdict_keys *keys);

/* The file's group, for a program that gives up root: it must stay in it. -1: no file, or its group may not read it. */
gid_t bs_verdict_keys_group(const char *path);

#endif
