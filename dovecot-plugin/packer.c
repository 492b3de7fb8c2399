#include "compat.h"

#include "packer.h"

static struct bs_zstd *packer;

struct bs_zstd *
basalt_packer(void)
{
	if (packer == NULL)
		packer = bs_zstd_new();
	return packer;
}

void
basalt_packer_deinit(void)
{
	bs_zstd_free(packer);
	packer = NULL;
}
