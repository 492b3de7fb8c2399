/*
 * gzip: a compressed file in one piece. All of zlib is here.
 *
 *     err = gzip_write("/tmp/report.xml.gz", text, len);
 */
#ifndef CTL_GZIP_H
#define CTL_GZIP_H

#include <stddef.h>

#include "err.h"

/* A new file, or an old one's new content. BS_ERR_IO: errno says why; nothing of the file is left. */
enum bs_err gzip_write(const char *path, const void *data, size_t len) BS_MUST_USE;

#endif
