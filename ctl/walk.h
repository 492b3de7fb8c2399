/*
 * walk: every regular file below some paths, in an order that is the same each time (names by their bytes, folders where
 * their name stands), so that a walk can go on behind the file at which another one ended.
 *
 * Memory is bounded, however many files a folder holds: names are read in portions, by reading the folder again. Symbolic
 * links are not followed, but for the paths themselves. What vanishes meanwhile is passed over in silence. One thread.
 *
 *     static bool on_file(void *ctx, const char *path) { ...; return true; }
 *     struct ctl_walk_ops ops = { .ctx = &mine, .enter = enter, .file = on_file, .failed = failed };
 *     err = ctl_walk(paths, n, 0, NULL, &ops);      // BS_ERR_BUSY: on_file() said stop; BS_ERR_NOMEM
 */
#ifndef CTL_WALK_H
#define CTL_WALK_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

#define CTL_WALK_DEPTH 64

struct ctl_walk_ops {
	void *ctx;
	/* Whether to go into this folder; name is the last part of path. NULL: into all. */
	bool (*enter)(void *ctx, const char *path, const char *name);
	/* False ends the walk. root is the number of the path that led here. */
	bool (*file)(void *ctx, size_t root, const char *path, const char *name);
	/* What was there when its folder was read, and is not any more; it may have another name now. NULL: nobody cares. */
	void (*gone)(void *ctx, const char *path, const char *name);
	/* Neither folder nor regular file: a link, a pipe. NULL: nobody cares. */
	void (*other)(void *ctx, const char *path, const char *name);
	/* It could not be looked at; errno. NULL: nobody cares. */
	void (*failed)(void *ctx, const char *path, int error);
};

/* Begins behind the file after (a path that was given to file() before) of root number first; NULL: at its beginning. */
enum bs_err ctl_walk(char *const *roots, size_t n, size_t first, const char *after, const struct ctl_walk_ops *ops)
    BS_MUST_USE;
/* Is the folder that path names a file in called so? name is the last part of path. */
bool ctl_walk_lies_in(const char *path, const char *name, const char *folder);

#endif
