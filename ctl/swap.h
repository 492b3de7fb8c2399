/*
 * swap: a mail file's place is taken by another file that is written beside it: read back before it counts, put there by one exchange
 * of names. At every moment the name stands for a whole mail, the old or the new.
 *
 * Owner, mode and times stay; a link to the old file elsewhere keeps the old one. A file that was renamed, removed or changed
 * meanwhile is left as it is, and where somebody put another one in its place, that one goes back there.
 *
 * While it is written, a file's name says whose it is: PREFIX PID.SERIAL. Before it is exchanged for the mail it gets a name that says
 * what it stands for, too: PID.SERIAL.OLD-NEW-SEC-NSEC, the two inodes and the time that both bear. After that the old mail may lie
 * under it, or the new one; or what somebody else had put in the mail's place at that moment: that is the only copy, and stays.
 * The caller takes away what a killed run left, when it meets such a name. One thread.
 *
 *     swap_temp_name(++serial, name, sizeof(name));
 *     err = swap_file(fd, &file, &ops);                // BS_ERR_CONFLICT: file.path is another file by now
 *     what = swap_temp_remove(path_of_a_temp);         // of a killed run
 */
#ifndef CTL_SWAP_TEMP_H
#define CTL_SWAP_TEMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "err.h"

#define SWAP_TEMP_NAME "temp.basalt-swap." /* dbox's way of naming what is not finished */
#define SWAP_PATH_MAX 4096

enum swap_temp {
	SWAP_TEMP_GONE,
	SWAP_TEMP_IN_USE, /* another run's, of this machine */
	SWAP_TEMP_FOREIGN, /* somebody else's file; or it can't be said */
};

struct swap_file {
	const char *path;
	char temp[SWAP_PATH_MAX];     /* free, on the same file system, by swap_temp_name() */
	char stranded[SWAP_PATH_MAX]; /* after BS_ERR_CONFLICT, if not "": where somebody else's file lies that found no way back to its name */
	bool done;                    /* a new file is in its place; false after BS_OK: it needed nothing */
	const char *left;             /* after BS_ERR_ARG: why it is left as it is; static */
};

/* What the new file is. It is open for reading and writing. */
struct swap_ops {
	void *ctx;
	enum bs_err (*write)(void *ctx, int fd);
	enum bs_err (*check)(void *ctx, int fd); /* reads it back: what is not BS_OK is not put in place */
};

/* The name, without the folder, for this process's file number serial. */
void swap_temp_name(unsigned serial, char *out, size_t size);
/*
 * A new file takes the place of file->path, which old_fd has open and which is gone afterwards. BS_ERR_CONFLICT: that was renamed, removed
 * or changed meanwhile, and stays as it is. BS_ERR_IO: errno; EINVAL, ENOSYS, EOPNOTSUPP: the file system can't exchange names. Others: ops'.
 */
enum bs_err swap_file(int old_fd, struct swap_file *file, const struct swap_ops *ops) BS_MUST_USE;
/* len bytes to fd; end - off bytes of from, at off. */
enum bs_err swap_write(int fd, const void *data, size_t len) BS_MUST_USE;
enum bs_err swap_copy(int from, int to, uint64_t off, uint64_t end) BS_MUST_USE;
bool swap_temp_is(const char *name);
/* Takes one of ours away that nobody works at. */
enum swap_temp swap_temp_remove(const char *path);

#endif
