/*
 * packer: the compressor's contexts, one set for the process: making them anew for each mail would cost a third of its
 * compression and half of its decompression. They hold pieces of what they did last; so does Dovecot's own memory.
 *
 *     opts.zstd = basalt_packer();     // NULL: no memory; the encoder then makes its own
 */
#ifndef BASALT_PACKER_H
#define BASALT_PACKER_H

#include "compress.h"

struct bs_zstd *basalt_packer(void);
/* When the plugin is unloaded. */
void basalt_packer_deinit(void);

#endif
