#include "compat.h"

#include "cache_priv.h"

void
basalt_cache_save_allocated(struct mailbox *box ATTR_UNUSED, struct mailbox_vfuncs *v ATTR_UNUSED, struct cache_box *cbox ATTR_UNUSED)
{
}
