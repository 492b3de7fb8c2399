/*
 * inuse: does another process have a file of a folder open? The kernel grants a write lease only where none has, in whatever container it lives;
 * the lease is given back at once. As the files' owner. Where the folder can't be found by name any more, what is free stays free.
 *
 *     err = inuse_look(folder, &held);
 */
#ifndef CTL_INUSE_H
#define CTL_INUSE_H

#include <stdbool.h>

#include "err.h"

/* BS_ERR_IO: errno; it can't be told, on a file system without leases for one. */
enum bs_err inuse_look(char *folder, bool *held) BS_MUST_USE;

#endif
