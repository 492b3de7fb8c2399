#include "compress.h"

#include <lzo/lzo1x.h>

_Static_assert(BS_COMPRESS_WORK_LEN >= LZO1X_1_MEM_COMPRESS, "working memory of lzo1x_1");

enum bs_err
bs_compress_init(void)
{
	return lzo_init() == LZO_E_OK ? BS_OK : BS_ERR_INTERNAL;
}

size_t
bs_compress(void *work, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_size)
{
	lzo_uint len = 0;

	if (out_size < BS_COMPRESS_BOUND(in_len) || lzo1x_1_compress(in, in_len, out, &len, work) != LZO_E_OK)
		return 0;
	return len;
}

enum bs_err
bs_decompress(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
	lzo_uint len = out_len;

	/* LZO_E_INPUT_NOT_CONSUMED is an error too: the end marker must be the last of the input. */
	if (lzo1x_decompress_safe(in, in_len, out, &len, NULL) != LZO_E_OK || len != out_len)
		return BS_ERR_FORMAT;
	return BS_OK;
}
