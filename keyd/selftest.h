/*
 * selftest: what keyd proves to itself before it serves anybody: known answers of every primitive, and one keyset made,
 * opened, and refused when a bit of it is turned.
 *
 *     err = selftest_run(errbuf, sizeof(errbuf));     // BS_ERR_CRYPTO: do not start
 */
#ifndef KEYD_SELFTEST_H
#define KEYD_SELFTEST_H

#include <stddef.h>

#include "err.h"

enum bs_err selftest_run(char *errbuf, size_t errbuf_size) BS_MUST_USE;
/* The second half alone. */
enum bs_err selftest_keyset(void) BS_MUST_USE;

#endif
