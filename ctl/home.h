/*
 * home: the copies of record and keyset that lie in an account's mail home, HOME/basalt. Who has the mail uid may write there: a record counts if
 * the site key signed it, and keyd verifies what is restored.
 *
 *     home_path(ctl, "alice@example.org", "keyset", path, sizeof(path));
 *     err = home_read_file(path, BS_KEYSET_MAX, &bytes, &len);
 */
#ifndef CTL_HOME_H
#define CTL_HOME_H

#include "ctl.h"
#include "keyset.h"

/* dovecot-plugin/home_keyset.c gives these names. */
#define HOME_OTHER "keyset.other."
#define HOME_JOINED "keyset.joined."
#define HOME_AHEAD "keyset.ahead."

/* The account's mail home, as ctl.mail_home says; what does not fit is cut off. */
void home_folder(const struct ctl *ctl, const char *address, char *out, size_t size);
/* HOME/basalt/NAME. */
void home_path(const struct ctl *ctl, const char *address, const char *name, char *out, size_t size);
/* A whole file of at most max bytes; *out is malloced. BS_ERR_NOENT, BS_ERR_LIMIT, BS_ERR_IO. */
enum bs_err home_read_file(const char *path, size_t max, uint8_t **out, size_t *len) BS_MUST_USE;
/*
 * May the keys that keyd has be changed? CTL_OTHER_KEYS, and it was said why and what to do: the mail home is known to hold newer keys than keyd's
 * database, keys of another line, or an earlier account's of this name; a change would go on from the older ones. --despite-home passes. What can't
 * be read stops nobody: whatever the home alone holds, the Dovecot plugin keeps.
 */
int home_guard(struct ctl *ctl, const char *address);
/*
 * What home_guard() says, a sentence without its end, or NULL: nothing. Transient errors: keyd does not answer. What the site key did not sign says
 * nothing, unless that key can't be told: keyd has no record of the account, or ctl.site_key is not what its record verifies by.
 * *forged (or NULL): a record lies there that the key which signed keyd's did not sign; deliveries are put off by it.
 */
enum bs_err home_finding(struct ctl *ctl, const char *address, const char **what, bool *forged) BS_MUST_USE;
/* The public half of the site key, from ctl.site_key. BS_ERR_NOENT, BS_ERR_IO; BS_ERR_FORMAT: no key is in that file. */
enum bs_err home_site_key(const struct ctl *ctl, uint8_t out[BS_SIGN_PUB_LEN]) BS_MUST_USE;
/*
 * The keysets there; malloced, and each path, too. Their number. First the copy and those that deliveries left since, the newest first: where the database is lost
 * the first one's slots are the account's. Then those that keyd's was known not to hold. Where there is none: the copy's path.
 */
size_t home_keysets(const struct ctl *ctl, const char *address, char ***out);
void home_keysets_free(char **paths, size_t n);
/* keyd holds what is in this one from now on. */
void home_mark_joined(const char *path);
/* The record there. BS_ERR_NOENT: none, none that can be read, or not of this account by ctl.site_key (where that can't be read, all are believed). */
enum bs_err home_record(const struct ctl *ctl, const char *address, struct bs_record *out) BS_MUST_USE;
/* Its generation, 0 where there is none. */
uint64_t home_generation(const struct ctl *ctl, const char *address);

#endif
