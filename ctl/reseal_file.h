/*
 * reseal_file: one mail file of a Maildir or sdbox, sealed anew for the account's active key: written beside the old one, read back
 * and compared, and put in its place by one exchange of names. At every moment the name stands for a whole mail, the old or the new.
 *
 * Size, owner, mode and times stay; a link to the old file elsewhere keeps the old one. A file that was renamed, removed or changed
 * meanwhile is left as it is, and where somebody put another one in its place, that one goes back there. What a killed run leaves
 * behind are names of reseal_temp, which the caller takes away when it meets them. One thread.
 *
 *     err = reseal_file(&reseal, path, temp, &done);
 */
#ifndef CTL_RESEAL_FILE_H
#define CTL_RESEAL_FILE_H

#include "keyclient.h"
#include "reseal_temp.h"

struct reseal {
	struct bs_keyclient *session; /* the account's */
	uint8_t account_id[BS_ID_LEN];
	uint8_t key_id[BS_ID_LEN], public_key[BS_KEY_LEN]; /* the active key */
	char stranded[RESEAL_TEMP_PATH_MAX]; /* after BS_ERR_CONFLICT, if not "": where somebody else's file lies that found no way back to its name */
};

enum reseal_done {
	RESEAL_NOTHING, /* not sealed, or sealed to the active key already */
	RESEAL_MOVED,
};

/*
 * temp: a path on the same file system that is free, by reseal_temp_name(). BS_ERR_CONFLICT: it was changed meanwhile. BS_ERR_AUTH, _FORMAT, _SHORT,
 * _VERSION: damaged, or not a file that we know. BS_ERR_NOKEY, _ACCOUNT: not to be opened with this account's keys.
 * BS_ERR_ARG: an mdbox file. BS_ERR_IO: errno; EINVAL, ENOSYS, EOPNOTSUPP: the file system can't exchange names. Others:
 * keyd's, bs_keyclient_is_dead() says whether the session is over.
 */
enum bs_err reseal_file(struct reseal *reseal, const char *path, const char *temp, enum reseal_done *done) BS_MUST_USE;

#endif
