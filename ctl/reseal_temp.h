/*
 * reseal_temp: names of the files that are written beside a mail to take its place, and which of those that a killed run left may go.
 *
 * While it is written, a file's name says whose it is: PREFIX PID.SERIAL. Before it is exchanged for the mail it gets a name that says
 * what it stands for, too: PID.SERIAL.OLD-NEW-SEC-NSEC, the two inodes and the time that both bear. After that the old mail may lie
 * under it, or the new one; or what somebody else had put in the mail's place at that moment: that is the only copy, and stays.
 *
 *     reseal_temp_name(++serial, name, sizeof(name));                   // write it
 *     err = reseal_temp_exchange(fd, temp, path, &old, stranded);       // BS_ERR_CONFLICT: path is another file by now
 *     what = reseal_temp_remove(path_of_a_temp);                        // of a killed run
 */
#ifndef CTL_RESEAL_TEMP_H
#define CTL_RESEAL_TEMP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "err.h"

#define RESEAL_TEMP_NAME "temp.basalt-reseal." /* dbox's way of naming what is not finished */
#define RESEAL_TEMP_PATH_MAX 4096

enum reseal_temp {
	RESEAL_TEMP_GONE,
	RESEAL_TEMP_IN_USE, /* another run's, of this machine */
	RESEAL_TEMP_FOREIGN, /* somebody else's file; or it can't be said */
};

/* The name, without the folder, for this process's file number serial. */
void reseal_temp_name(unsigned serial, char *out, size_t size);
/*
 * temp, which is fd and whole, takes the place of path, which is old; old is gone afterwards. BS_ERR_CONFLICT: path was renamed, removed
 * or changed meanwhile, and stays as it is; temp is gone. Then stranded, if not "", is where somebody else's file lies that found no way
 * back to its name. BS_ERR_IO: errno; temp may be left.
 */
enum bs_err reseal_temp_exchange(int fd, const char *temp, const char *path, const struct stat *old, char stranded[RESEAL_TEMP_PATH_MAX])
    BS_MUST_USE;
bool reseal_temp_is(const char *name);
/* Takes one of ours away that nobody works at. */
enum reseal_temp reseal_temp_remove(const char *path);

#endif
