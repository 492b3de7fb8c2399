#include "gzip.h"

#include <limits.h>
#include <unistd.h>
#include <zlib.h>

enum bs_err
gzip_write(const char *path, const void *data, size_t len)
{
	gzFile file = len <= INT_MAX ? gzopen(path, "wb9") : NULL;
	int written;

	if (file == NULL)
		return BS_ERR_IO;
	written = gzwrite(file, data, (unsigned)len);
	if (gzclose(file) == Z_OK && written == (int)len)
		return BS_OK;
	(void)unlink(path);
	return BS_ERR_IO;
}
